from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from shared.store import alarms as store
from shared.store import lease as leases
from shared.store.alarms import AlarmKind
from shared.store.database import Database, Role
from worker.alarms import Alarms
from worker.guard import Guard
from worker.metrics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def guard(database_url: str) -> AsyncIterator[Guard]:
    database = await Database.connect(database_url, role=Role.WORKER, application_name="test")
    async with database.transaction() as conn:
        lease = await leases.acquire(conn, "wallet", "test", 60)
    assert lease is not None
    yield Guard(database, lease)
    await database.close()


@pytest.fixture(autouse=True)
def _provoked(expected_errors: set[str]) -> None:
    expected_errors |= {"deadline_near", "wallet_low", "hub_away"}


async def standing(guard: Guard) -> list[tuple[str, str, dict[str, object]]]:
    async with guard.reading() as conn:
        return [(alarm.kind.value, alarm.subject, alarm.facts) for alarm in await store.active(conn)]


async def test_an_alarm_stands_in_the_database_as_long_as_its_reason(guard: Guard) -> None:
    alarms = Alarms(guard)
    alarms.raise_(AlarmKind.FEE_HIGH, fee=5)
    alarms.raise_(AlarmKind.DEADLINE_NEAR, "A" * 32, left_s=10)
    await alarms.write()
    alarms.raise_(AlarmKind.FEE_HIGH, fee=7)
    alarms.clear(AlarmKind.DEADLINE_NEAR, "A" * 32)
    await alarms.write()
    assert await standing(guard) == [("fee_high", "", {"fee": 7})]


async def test_an_alarm_of_an_earlier_term_is_not_announced_again(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    first = Alarms(guard)
    first.raise_(AlarmKind.WALLET_LOW, missing=1)
    await first.write()
    assert "alarm_raised" in caplog.text
    caplog.clear()
    second = Alarms(guard)
    await second.load()
    second.raise_(AlarmKind.WALLET_LOW, missing=1)
    assert "alarm_raised" not in caplog.text
    second.clear(AlarmKind.WALLET_LOW)
    await second.write()
    assert await standing(guard) == []


async def test_an_alarm_that_went_and_came_back_before_it_was_written_stands(guard: Guard) -> None:
    alarms = Alarms(guard)
    for _ in range(2):
        alarms.raise_(AlarmKind.HUB_AWAY)
        await alarms.write()
        alarms.clear(AlarmKind.HUB_AWAY)
    alarms.raise_(AlarmKind.HUB_AWAY)
    await alarms.write()
    assert await standing(guard) == [("hub_away", "", {})]


async def test_changes_are_written_by_themselves(guard: Guard) -> None:
    alarms = Alarms(guard)
    writing = asyncio.create_task(alarms.run())
    alarms.raise_(AlarmKind.HUB_LIES, "wss://hub.example.org/bb", reason="unit_hash")
    async with asyncio.timeout(10):
        while not await standing(guard):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_the_metric_counts_alarms_by_kind(guard: Guard) -> None:
    alarms = Alarms(guard)
    for channel in ("A" * 32, "B" * 32):
        alarms.raise_(AlarmKind.DEADLINE_NEAR, channel, left_s=10)
    alarms.clear(AlarmKind.DEADLINE_NEAR, "A" * 32)
    labels = {"kind": "deadline_near", "severity": "critical"}
    assert REGISTRY.get_sample_value("sluice_alarms", labels) == 1


def test_every_kind_says_what_to_do() -> None:
    assert all(kind.advice.endswith(".") for kind in AlarmKind)


async def test_alarms_of_a_later_release_are_left_to_it(guard: Guard) -> None:
    async with guard.transaction() as conn:
        await conn.execute(
            "INSERT INTO alarms (kind, severity, facts) VALUES ('of_tomorrow', 'warning', $1)", json.dumps({})
        )
    assert await standing(guard) == []
