# ruff: noqa: PT012 - a transaction is a block

"""Who may act: with real connections that wait for each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.store import instance, lease
from shared.store.database import Database, Limits, Role
from shared.store.errors import DatabaseUnavailableError, LeaseLostError
from tests.integration.store.waiting import blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.database import Connection
    from shared.store.lease import Lease

OWN = "O" * 32


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Database]:
    """Another worker, which waits for a lock only briefly."""
    database = await Database.connect(database_url, role=Role.WORKER, limits=Limits(lock_s=0.2))
    yield database
    await database.close()


async def acquire(database: Database, holder: str = "first", ttl_s: float = 60) -> Lease | None:
    async with database.transaction() as conn:
        return await lease.acquire(conn, "wallet", holder, ttl_s)


async def held(database: Database, holder: str = "first", ttl_s: float = 60) -> Lease:
    taken = await acquire(database, holder, ttl_s)
    assert taken is not None
    return taken


async def expire(owner: Connection) -> None:
    await owner.execute("UPDATE lease SET expires_at = clock_timestamp()")


async def test_only_one_of_many_gets_the_lease(worker: Database) -> None:
    taken = await asyncio.gather(*(acquire(worker, f"worker {number}") for number in range(8)))
    [lease_of_one] = [found for found in taken if found is not None]
    assert lease_of_one.term == 1


async def test_a_stand_by_gets_it_when_it_expires_under_a_greater_term(worker: Database, owner: Connection) -> None:
    first = await held(worker)
    assert await acquire(worker, "second") is None
    await expire(owner)
    second = await held(worker, "second")
    assert (second.term, second.holder) == (first.term + 1, "second")
    assert second.expires_at > first.expires_at


async def test_a_stand_by_gets_it_at_once_when_it_is_given_up(worker: Database) -> None:
    first = await held(worker)
    async with worker.transaction() as conn:
        assert await lease.release(conn, first)
    assert (await held(worker, "second")).term == first.term + 1
    async with worker.transaction() as conn:
        assert not await lease.release(conn, first)


async def test_leases_of_other_names_are_others(worker: Database) -> None:
    await held(worker)
    async with worker.transaction() as conn:
        other = await lease.acquire(conn, "another", "second", 60)
    assert other is not None
    assert other.term == 1


async def test_the_same_holder_may_take_it_again_and_ends_its_earlier_term(worker: Database) -> None:
    first = await held(worker)
    again = await held(worker)
    assert again.term == first.term + 1
    with pytest.raises(LeaseLostError):
        async with worker.transaction() as conn:
            await lease.assert_held(conn, first)


async def test_renewing_extends_the_term(worker: Database, owner: Connection) -> None:
    first = await held(worker, ttl_s=30)
    async with worker.transaction() as conn:
        renewed = await lease.renew(conn, first, 60)
    assert renewed.term == first.term
    assert renewed.expires_at > first.expires_at
    await expire(owner)
    with pytest.raises(LeaseLostError):
        async with worker.transaction() as conn:
            await lease.renew(conn, renewed, 60)


async def test_a_holder_may_write(worker: Database) -> None:
    mine = await held(worker)
    async with worker.transaction() as conn:
        await lease.assert_held(conn, mine)
        await instance.declare(conn, network="devnet", own_address=OWN)
    async with worker.connection() as conn:
        assert await instance.read(conn) is not None


@pytest.mark.parametrize("taken_over", [False, True])
async def test_an_expired_holder_writes_nothing(worker: Database, owner: Connection, *, taken_over: bool) -> None:
    mine = await held(worker)
    await expire(owner)
    if taken_over:
        await held(worker, "second")
    with pytest.raises(LeaseLostError, match="term 1"):
        async with worker.transaction() as conn:
            await instance.declare(conn, network="devnet", own_address=OWN)
            await lease.assert_held(conn, mine)
    async with worker.connection() as conn:
        assert await instance.read(conn) is None


async def test_a_take_over_waits_for_the_commit_of_the_holder(worker: Database, owner: Connection) -> None:
    mine = await held(worker)
    async with worker.transaction() as conn:
        await lease.assert_held(conn, mine)
        await expire(owner)
        take_over = asyncio.create_task(held(worker, "second"))
        await blocked(owner)
        await instance.declare(conn, network="devnet", own_address=OWN)
        assert not take_over.done()
    assert (await take_over).term == mine.term + 1
    async with worker.connection() as conn:
        assert await instance.read(conn) is not None


async def test_a_renewal_waits_for_no_write(worker: Database, second: Database) -> None:
    mine = await held(worker)
    async with worker.transaction() as conn:
        await lease.assert_held(conn, mine)
        async with second.transaction() as heart:
            renewed = await lease.renew(heart, mine, 120)
        assert renewed.expires_at > mine.expires_at
        await lease.assert_held(conn, mine)


async def test_writes_of_one_holder_do_not_wait_for_each_other(worker: Database, second: Database) -> None:
    mine = await held(worker)
    async with worker.transaction() as one, second.transaction() as two:
        await lease.assert_held(one, mine)
        await lease.assert_held(two, mine)


async def test_a_write_that_begins_during_a_take_over_is_refused(worker: Database, owner: Connection) -> None:
    mine = await held(worker)

    async def late_write() -> None:
        async with worker.transaction() as conn:
            await lease.assert_held(conn, mine)

    async with worker.transaction() as conn:
        assert await lease.acquire(conn, "wallet", mine.holder, 60) is not None
        late = asyncio.create_task(late_write())
        await blocked(owner)
    with pytest.raises(LeaseLostError):
        await late


async def test_a_write_that_begins_during_a_renewal_is_waited_for_too(worker: Database, owner: Connection) -> None:
    mine = await held(worker)
    async with worker.transaction() as conn:
        async with worker.transaction() as heart:
            await lease.renew(heart, mine, 120)
            await lease.assert_held(conn, mine)
        await expire(owner)
        take_over = asyncio.create_task(held(worker, "second"))
        await blocked(owner)
    assert (await take_over).term == mine.term + 1


@pytest.mark.chaos
async def test_a_holder_frozen_inside_a_write_loses_it_and_the_stand_by_goes_on(
    database_url: str, worker: Database, owner: Connection
) -> None:
    frozen = await Database.connect(database_url, role=Role.WORKER, limits=Limits(idle_in_transaction_s=0.3))
    mine = await held(frozen)
    with pytest.raises(DatabaseUnavailableError):
        async with frozen.transaction() as conn:
            await lease.assert_held(conn, mine)
            await instance.declare(conn, network="devnet", own_address=OWN)
            await expire(owner)
            assert (await held(worker, "second")).term == mine.term + 1
    async with worker.connection() as conn:
        assert await instance.read(conn) is None
    await frozen.close()
