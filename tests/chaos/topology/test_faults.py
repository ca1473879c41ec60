"""Payments while parts of the production shape are taken away, and books that agree to the last unit afterwards.

The seed is printed when a test fails; `FAULTS_SEED=… make chaos ARGS="-k topology"` repeats its choices.
"""

from __future__ import annotations

import os
import random
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from infra.topology import Topology
from load_tests.faults.books import faults_of_audit, faults_of_payments, faults_of_payouts
from load_tests.faults.campaign import Effort, Scenario, play
from load_tests.faults.disks import SkippedError
from load_tests.faults.scenarios import scenarios
from load_tests.faults.stage import OVERRIDES, Stage, staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("needs_nginx")]

SEED = int(os.environ.get("FAULTS_SEED", secrets.randbelow(1_000_000)))
STABLE_AFTER_S = 0.2


@asynccontextmanager
async def stage_of(home: Path, *, payers: int, channels: int, fronts: int = 2) -> AsyncIterator[Stage]:
    print(f"FAULTS_SEED={SEED}")  # noqa: T201 - pytest shows it when the test fails
    async with (
        Topology(home, fronts=fronts, stabilise_after_s=STABLE_AFTER_S, overrides=OVERRIDES) as topology,
        staged(topology, payers=payers, channels=channels, chance=random.Random(SEED)) as stage,
    ):
        yield stage


async def one_of_each(stage: Stage, _number: int) -> None:
    topology = stage.topology
    killed = stage.chance.choice(topology.fronts), await topology.active_worker()
    for part in killed:
        part.kill()
    await topology.postgres.restart()
    for part in killed:
        await part.start(ready=False)
    for part in killed:
        await part.wait_ready()


@pytest.mark.timeout(300)
async def test_killed_processes_and_a_restarted_database_lose_no_receipt_and_credit_nothing_twice(
    tmp_path: Path,
) -> None:
    async with stage_of(tmp_path / "home", payers=4, channels=12) as stage:
        scenario = Scenario("short", "a front and the worker are killed, Postgres is restarted", one_of_each)
        outcome = await play(stage, scenario, Effort(payments=200, bound_s=90))
        assert outcome.faults == []
        assert outcome.tally.failed > 0, "nothing was noticed of the faults, so nothing was tested"
        assert outcome.tally.resent > 0
        await no_fault_is_overlooked(stage)


async def no_fault_is_overlooked(stage: Stage) -> None:
    """Break the books in one way after the other: each is told."""
    channel = next(channel for channel in stage.channels if len(channel.packages) > 1)
    last = channel.packages[-1]
    assert last.receipt is not None

    kept, last.receipt = last.receipt, {**last.receipt, "payment_id": last.receipt["payment_id"] + 1}
    assert any("a receipt for" in fault for fault in await faults_of_payments(stage))
    last.receipt = kept

    forged = channel.sign(1)
    forged.receipt = {"payment_id": 1}
    assert any("without a payment" in fault for fault in await faults_of_payments(stage))
    assert any("the ledger paid" in fault for fault in await faults_of_payouts(stage))
    channel.packages.remove(forged)

    channel.packages.remove(last)
    assert any("nobody has signed" in fault for fault in await faults_of_payments(stage))
    channel.packages.append(last)
    assert await faults_of_payments(stage) == []

    with psycopg.connect(stage.topology.postgres.url(), autocommit=True) as administrator:
        administrator.execute("UPDATE payments SET asset = 'other' WHERE id = %s", [last.receipt["payment_id"]])
        assert any("payment_fits_its_channel" in fault for fault in await faults_of_audit(stage))
        administrator.execute("DELETE FROM payments WHERE id = %s", [last.receipt["payment_id"]])
    assert any("without a payment" in fault for fault in await faults_of_payments(stage))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_whatever_happens_to_the_parts_every_receipt_is_kept_and_paid_by_the_ledger(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    async with stage_of(tmp_path / "home", payers=20, channels=60, fronts=3) as stage:
        for scenario in scenarios().values():
            try:
                outcome = await play(stage, scenario, Effort(payments=500, bound_s=400))
            except SkippedError as reason:
                print(f"{scenario.name} is left out: {reason}")  # noqa: T201
                continue
            found[scenario.name] = outcome.faults
    assert {name: faults for name, faults in found.items() if faults} == {}
