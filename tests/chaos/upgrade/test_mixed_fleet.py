"""A release is rolled out, and back, and out again while payments flow: both releases' fronts and workers run side by
side on the schema between the two, and nothing is lost or credited twice.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

import infra.topology.topology as topology_module
from infra.topology import EdgeError, Topology, nginx_program
from shared.audit import RULES, Audit
from shared.obyte.keys import payment_key
from shared.receiving.acceptance import AcceptanceRules
from shared.store import commands
from shared.store.audit.reading import snapshot
from shared.store.audit.rules import Limits
from shared.store.migrations import Revisions, current
from sluice.payer import Payer, PayerOptions
from sluice.payer.peers import RetryPolicy
from tests.chaos.upgrade.releases import ROOT, code_of, migrate, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from infra.topology import Part
    from sluice.payer import PayerChannel

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]

MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
BOUND_S = 90.0
_ENDED = "SELECT state FROM commands WHERE id = $1 AND finished_at IS NOT NULL"
PATIENT = PayerOptions(retry=RetryPolicy(attempts=40, first_pause_s=0.05, longest_pause_s=0.5, give_up_after_s=BOUND_S))


class Fleet:
    """The topology, of which each part runs the code of one release or the other."""

    def __init__(self, topology: Topology, older: Path) -> None:
        self.topology = topology
        self.older = older
        self.paid = 0

    async def restart(self, part: Part, tree: Path) -> None:
        assert await part.stop()
        with code_of(tree):
            await part.start()

    async def migrate(self, tree: Path, phase: str) -> Revisions:
        dsn = self.topology.postgres.url("sluice_migrator")
        await asyncio.to_thread(migrate, tree, dsn, phase)
        return await asyncio.to_thread(current, dsn)

    async def payments(self, count: int) -> None:
        """Return when so many more were paid."""
        wanted = self.paid + count
        async with asyncio.timeout(BOUND_S):
            while self.paid < wanted:  # noqa: ASYNC110 - payments are counted, no bell is rung for each
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def paying(self, channels: list[PayerChannel]) -> AsyncIterator[None]:
        """Pay through all of them all the time; a payment that fails fails the test."""
        ending = asyncio.Event()

        async def pay(channel: PayerChannel) -> None:
            while not ending.is_set():
                await channel.pay(10)
                self.paid += 1

        async with asyncio.TaskGroup() as tasks:
            for channel in channels:
                tasks.create_task(pay(channel))
            yield
            ending.set()

    async def close(self, channel: PayerChannel, key: str) -> None:
        """Have the worker close a channel, whatever its release."""
        async with self.books() as conn:
            command = await commands.insert(conn, "close", {}, idempotency_key=key, aa_address=channel.aa_address)
            async with asyncio.timeout(BOUND_S):
                while not (ended := await conn.fetch(_ENDED, command.id)):  # noqa: ASYNC110 - it is in a database
                    await asyncio.sleep(0.05)
        assert [row["state"] for row in ended] == ["succeeded"]

    @asynccontextmanager
    async def books(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        conn = await asyncpg.connect(self.topology.postgres.url())
        try:
            yield conn
        finally:
            await conn.close()


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """All parts of the previous release, on its schema."""
    try:
        nginx_program()
    except EdgeError as error:
        pytest.skip(str(error))
    older = unpack(tmp_path / "older")
    monkeypatch.setattr(topology_module, "migrate", lambda dsn: migrate(older, dsn, "all"))
    topology = Topology(tmp_path / "home", fronts=2, workers=2, stabilise_after_s=0.1, overrides={"lease_ttl_s": 3.0})
    with code_of(older):
        await topology.__aenter__()
    yield Fleet(topology, older)
    await topology.__aexit__()


async def test_releases_run_side_by_side_while_payments_flow(fleet: Fleet, tmp_path: Path) -> None:
    topology, older = fleet.topology, fleet.older
    await topology.fund(payment_key(MNEMONIC).address, 100_000_000)
    async with Payer.open(
        tmp_path / "payer", hub_url=topology.ledger.url, network="devnet", mnemonic=MNEMONIC, options=PATIENT
    ) as payer:
        channels = [await payer.open_channel(topology.url, 1_000_000) for _ in range(5)]
        for channel in channels:
            await channel.wait_open(BOUND_S)
        before = await asyncio.to_thread(current, topology.postgres.url())
        async with fleet.paying(channels[2:]):
            await fleet.payments(30)
            between = await fleet.migrate(ROOT, "pre")
            assert (between.pre or "") > (before.pre or "")
            assert between.post == before.post
            await fleet.payments(30)

            # Fronts: one of each, back again, and both.
            for front, tree in [(0, ROOT), (0, older), (0, ROOT)]:
                await fleet.restart(topology.fronts[front], tree)
                await fleet.payments(30)

            # Workers: one of each, the lease going from the older to the newer, back, and to the newer again.
            active = await topology.active_worker()
            [stand_by] = [worker for worker in topology.workers if worker is not active]
            await fleet.restart(stand_by, ROOT)
            await fleet.close(channels[0], "by the older worker")
            await fleet.restart(active, older)
            assert await topology.active_worker() is stand_by
            await fleet.close(channels[1], "by the newer worker")
            await fleet.restart(stand_by, ROOT)
            assert await topology.active_worker() is active
            await fleet.payments(30)
            await fleet.restart(active, ROOT)
            await fleet.restart(topology.fronts[1], ROOT)
            await fleet.payments(30)

            after = await fleet.migrate(ROOT, "post")
            assert (after.post or "") > (before.post or "")
            await fleet.payments(30)

        async with fleet.books() as conn:
            rows = await conn.fetch("SELECT count(*) AS count, sum(payment_amount) AS amount FROM payments")
            assert [(row["count"], row["amount"]) for row in rows] == [(fleet.paid, 10 * fleet.paid)]
        for number, channel in enumerate(channels[2:]):
            await fleet.close(channel, f"at the end {number}")

    settings = topology.settings
    accepting = AcceptanceRules.of(settings)
    audit = Audit(RULES, Limits(accepting.limits, accepting.exposure), default_network=settings.network)
    async with snapshot(topology.postgres.url(), statement_s=BOUND_S) as conn:
        report = await audit.run(conn)
    assert not report.broken
