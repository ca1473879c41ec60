"""Old events are forgotten, a bounded number at a time, under the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.store import events, lease
from shared.store.alarms import AlarmKind, put
from shared.store.errors import LeaseLostError
from worker.forgetting import Forgetting, Retention
from worker.guard import Guard

if TYPE_CHECKING:
    from shared.store.database import Database
    from tests.integration.worker.support import World


async def guard_of(database: Database) -> Guard:
    async with database.transaction() as conn:
        held = await lease.acquire(conn, "wallet", "me", ttl_s=60)
        assert held is not None
        for number in range(5):
            await put(conn, AlarmKind.HUB_LIES, str(number), {})
    return Guard(database, held)


async def kept(database: Database) -> int:
    async with database.connection() as conn:
        return len(await events.page(conn, after=0, until=await events.newest_id(conn)))


async def test_what_is_older_than_the_retention_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.forgetting.BATCH", 2)
    guard = await guard_of(world.database)
    await Forgetting(guard, Retention(kept_s=3_600))._round()
    assert await kept(world.database) == 5
    await Forgetting(guard, Retention(kept_s=-1))._round()
    assert await kept(world.database) == 0


async def test_who_has_lost_the_lease_forgets_nothing(world: World) -> None:
    guard = await guard_of(world.database)
    async with world.database.transaction() as conn:
        await conn.execute("UPDATE lease SET expires_at = now() - interval '1 s'")
    with pytest.raises(LeaseLostError):
        await Forgetting(guard, Retention(kept_s=-1))._round()
    assert await kept(world.database) == 5
