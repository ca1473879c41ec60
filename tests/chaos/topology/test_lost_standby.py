"""A stand-by that commits wait for is lost: what only the primary has is promised to nobody, however often he asks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from infra.topology import Hands, PostgresServer, StandbyServer
from shared.bus import Bus
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.errors import UnavailableError
from shared.receiving.outcomes import Receipt
from shared.receiving.verification import verify_payment_package
from shared.store.database import Database, Limits, Role
from shared.store.migrations import migrate
from sluice.home import socket_directory
from sluice.machine.account import Account
from tests.receiving_support import ROOMY, Payer, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from shared.receiving.outcomes import Refusal

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

IMPATIENT = Limits(statement_s=0.5)
BOUND_S = 60.0
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_IS_COMMITTED = "SELECT 1 FROM payments"


async def test_a_payment_that_only_the_primary_has_gets_no_receipt_however_often_it_is_sent(tmp_path: Path) -> None:
    account, hands, home = Account(), Hands(), tmp_path / "primary"
    home.mkdir(mode=0o711)
    sockets = socket_directory(home, account.owner)
    primary = PostgresServer(home / "postgres", sockets, home / "postgres.log", account, hands)
    standby = StandbyServer("standby", primary, tmp_path / "standby", account, hands)
    payer = Payer()
    try:
        await primary.start()
        await asyncio.to_thread(migrate, primary.url())
        await standby.start()
        await standby.require()
        pen = await Database.connect(primary.url(), role=Role.WORKER)
        worker = Worker(pen)
        await worker.initialise()
        await worker.open(payer)
        front = await Database.connect(primary.url(), role=Role.FRONT, limits=IMPATIENT)
        acceptor = Acceptor(front, AcceptanceRules({}, ROOMY, watcher_max_silence_s=600), Bus(None))

        async def pay() -> Receipt | Refusal:
            return await acceptor.submit(verify_payment_package(payer.package(100, 100), DEVNET))

        standby.kill()
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(pay(), BOUND_S)
            await asyncio.to_thread(_end_waiting, primary)
            assert await asyncio.to_thread(_payments, primary) == 1, "it is committed, and everybody can see it"

        await standby.start()
        receipt = await asyncio.wait_for(pay(), BOUND_S)
        assert isinstance(receipt, Receipt)
        assert receipt.duplicate
        primary.kill()
        await standby.promote()
        assert await asyncio.to_thread(_payments, standby) == 1
        await acceptor.close()
        await front.close()
        await pen.close()
    finally:
        await standby.stop()
        await primary.stop()
        hands.close()


def _end_waiting(server: PostgresServer) -> None:
    """Cancel whoever waits for the stand-by, as a driver or an operator may: what is committed here, stays so."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        deadline = time.monotonic() + BOUND_S
        while conn.execute(_CANCEL).fetchall() or not conn.execute(_IS_COMMITTED).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _payments(server: PostgresServer) -> int:
    with psycopg.connect(server.url()) as conn:
        [(count,)] = conn.execute("SELECT count(*) FROM payments").fetchall()
    return int(count)
