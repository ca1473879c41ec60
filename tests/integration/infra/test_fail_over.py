"""The primary loses its power, a stand-by takes over, and fronts find it by themselves."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest

from infra.topology import Hands, PostgresServer, StandbyServer
from shared.store.migrations import migrate
from sluice.home import socket_directory
from sluice.machine.account import Account
from tests.front_processes import front_processes

if TYPE_CHECKING:
    from pathlib import Path

    from load_tests.bench.payers import BenchPayer

pytestmark = pytest.mark.slow

BOUND_S = 60.0
"""On an idle machine it takes a few seconds."""


async def test_fronts_answer_503_and_then_the_new_primary_and_no_receipt_is_lost(tmp_path: Path) -> None:
    account, hands, home = Account(), Hands(), tmp_path / "primary"
    home.mkdir(mode=0o711)
    primary = PostgresServer(
        home / "postgres", socket_directory(home, account.owner), home / "postgres.log", account, hands
    )
    standby = StandbyServer("standby", primary, tmp_path / "standby", account, hands)
    try:
        await primary.start()
        await primary.make_roles()
        await asyncio.to_thread(migrate, primary.url("sluice_migrator"))
        await standby.start()
        await standby.require()
        both = primary.url_with(standby, login="sluice_front_login")
        async with front_processes(
            tmp_path / "home", both, count=1, payers=4, behind_nginx=False, channels_in=primary.url(), drain_wait_s=0
        ) as running:
            async with running.load(pause_s=0.02, answer_s=30) as load:
                await load.sent(40)
                primary.freeze()  # nothing is refused, nothing is answered: as a machine without power
                frozen_s = time.monotonic()
                await standby.promote()
                good = load.tally.good
                async with asyncio.timeout(BOUND_S):
                    while load.tally.good < good + 20:  # noqa: ASYNC110 - the front rings no bell
                        await asyncio.sleep(0.02)
                took_s = time.monotonic() - frozen_s
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(f"{running.fronts[0].url}readyz")).status_code == 200
            assert set(load.tally.failures) == {"503"}, (load.tally.examples, took_s)
            assert await _paid(standby, running.payers) >= load.tally.good
            primary.kill()
    finally:
        await standby.stop()
        await primary.stop()
        hands.close()


async def _paid(server: PostgresServer, payers: list[BenchPayer]) -> int:
    """What the server has on record: each payment is of one unit, so the sum counts those of all payers."""
    conn = await asyncpg.connect(server.url())
    try:
        channels = [payer.aa_address for payer in payers]
        return int(await conn.fetchval("SELECT count(*) FROM payments WHERE aa_address = ANY($1)", channels))
    finally:
        await conn.close()
