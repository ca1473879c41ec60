"""Many who open channels at the same time: they wait for each other, and nobody who pays waits for them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from shared.bus import Bus
from shared.receiving import opening
from shared.receiving.errors import UnavailableError
from shared.receiving.outcomes import Receipt
from shared.receiving.receiver import Receiver
from shared.settings import Settings
from shared.store.channels import OPENINGS_LOCK
from shared.store.database import Database, Limits, Role
from tests.receiving_support import Payer, administrator, worker

BOUND_S = 20.0
SHORT = Limits(acquire_s=1.0, lock_s=0.1)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, max_unfunded_channels_per_peer=1_000)


async def test_openings_outwait_a_slow_commit_and_leave_connections_to_payments(
    database_url: str, settings: Settings
) -> None:
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=2, limits=SHORT)
    receiver = Receiver(database, settings, Bus(None))
    async with worker(database_url) as pen, administrator(database_url) as admin:
        payer = Payer()
        await pen.open(payer)
        with psycopg.connect(database_url) as other:  # another front, whose commit takes its time
            other.execute("SELECT pg_advisory_xact_lock(%s)", [OPENINGS_LOCK])
            salts = [f"s{number}" for number in range(2, 8)]
            asked = [asyncio.create_task(receiver.create_channel(Payer(salt=salt).parameters)) for salt in salts]
            async with asyncio.timeout(BOUND_S):
                while not await admin.fetch("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):  # noqa: ASYNC110 - the database rings no bell
                    await asyncio.sleep(0.01)
                assert isinstance(await receiver.receive(payer.package(1, 1)), Receipt)
                await admin.fetch("SELECT pg_sleep(0.3)")  # longer than anybody waits for a row
            assert not any(task.done() for task in asked)
            other.commit()
            async with asyncio.timeout(BOUND_S):
                opened = await asyncio.gather(*asked)
    assert len({channel.aa_address for channel in opened}) == len(salts)
    await receiver.close()
    await database.close()


async def test_who_waits_for_too_long_is_told_to_come_back(
    database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "TURN_S", 0.05)
    database = await Database.connect(database_url, role=Role.FRONT)
    receiver = Receiver(database, settings, Bus(None))
    async with worker(database_url):
        with psycopg.connect(database_url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [OPENINGS_LOCK])
            asked = [
                asyncio.create_task(receiver.create_channel(Payer(salt=salt).parameters)) for salt in ("s2", "s3", "s4")
            ]
            async with asyncio.timeout(BOUND_S):
                while sum(task.done() for task in asked) < len(asked) - 1:  # noqa: ASYNC110 - for all but one
                    await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    assert [error.code for error in refused] == ["overloaded"] * 2
    await receiver.close()
    await database.close()
