# ruff: noqa: PT012 - a transaction is a block

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.channels.model import Status
from shared.store import assets, channels, payments
from shared.store.errors import StaleChannelError, StoreError
from tests.integration.store.builders import ASSET, address, insert_open, payment

if TYPE_CHECKING:
    from shared.store.database import Connection, Database


async def claims(owner: Connection) -> dict[str, str | None]:
    return {row["aa_address"]: row["claim"] for row in await owner.fetch("SELECT aa_address, claim FROM channels")}


async def test_a_batch_is_recorded_at_once(front: Database, worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        before = [await insert_open(conn, number) for number in range(3)]
    after = [
        replace(before[2], spent_by_peer=30, credit=5, claim="third"),
        replace(before[0], spent_by_peer=10, credit=0, claim="first"),
    ]
    new = [payment(10, 10, 0), payment(20, 10, 2, message='"hello"'), payment(30, 15, 2)]
    async with front.transaction() as conn:
        await channels.lock(conn, [address(0), address(2)])
        ids = await payments.record_batch(conn, after, new)
    assert ids == sorted(ids)
    recorded = await owner.fetch("SELECT * FROM payments ORDER BY id")
    assert [(row["id"], row["aa_address"], row["amount_spent"], row["payment_amount"]) for row in recorded] == [
        (ids[0], address(0), 10, 10),
        (ids[1], address(2), 20, 10),
        (ids[2], address(2), 30, 15),
    ]
    assert [row["message"] for row in recorded] == [None, '"hello"', None]
    assert await claims(owner) == {address(0): "first", address(1): None, address(2): "third"}
    async with front.connection() as conn:
        found = await channels.find(conn, [address(number) for number in range(3)])
    assert [found[address(number)].channel.spent_by_peer for number in range(3)] == [10, 0, 30]
    assert [found[address(number)].channel.credit for number in range(3)] == [0, 0, 5]


async def test_payments_from_credit_leave_the_claim_alone(front: Database, worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn, spent_by_peer=100, credit=60, claim="best")
    async with front.transaction() as conn:
        locked = (await channels.lock(conn, [channel.aa_address]))[channel.aa_address]
        assert locked.channel.claim is None
        await payments.record_batch(conn, [replace(locked.channel, credit=20)], [payment(90, 40)])
    row = await owner.fetchrow("SELECT spent_by_peer, credit, claim FROM channels")
    assert row is not None
    assert tuple(row) == (100, 20, "best")


async def test_a_payment_takes_the_asset_of_its_channel(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn, asset=ASSET)
    async with front.transaction() as conn:
        after = replace(channel, spent_by_peer=1, claim="one")
        [payment_id] = await payments.record_batch(conn, [after], [payment(1, 1)])
        recorded = await payments.get(conn, payment_id)
    assert recorded is not None
    assert recorded.asset == ASSET


@pytest.mark.parametrize(
    ("spent_by_peer", "claim"), [(99, "lower"), (100, "another of the same amount"), (99, None), (101, None)]
)
async def test_the_best_claim_is_never_replaced_by_a_lower_one(
    front: Database, worker: Database, owner: Connection, spent_by_peer: int, claim: str | None
) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn, spent_by_peer=100, claim="best")
    with pytest.raises(StaleChannelError):
        async with front.transaction() as conn:
            after = replace(channel, spent_by_peer=spent_by_peer, claim=claim)
            await payments.record_batch(conn, [after], [payment(spent_by_peer, 1)])
    assert await owner.fetchval("SELECT count(*) FROM payments") == 0
    assert await claims(owner) == {address(): "best"}


async def test_a_payment_without_its_channel_is_not_recorded(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn, 0)
        await insert_open(conn, 1)
    with pytest.raises(StaleChannelError):
        async with front.transaction() as conn:
            after = replace(channel, spent_by_peer=1, claim="one")
            await payments.record_batch(conn, [after], [payment(1, 1, 0), payment(1, 1, 1)])


async def test_the_same_payment_cannot_be_recorded_twice(front: Database, worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn)
    async with front.transaction() as conn:
        await payments.record_batch(conn, [replace(channel, spent_by_peer=9, credit=8, claim="x")], [payment(9, 1)])
    with pytest.raises(StoreError) as refusal:
        async with front.transaction() as conn:
            again = replace(channel, spent_by_peer=9, credit=7, claim=None)
            await payments.record_batch(conn, [again], [payment(9, 1)])
    assert refusal.value.constraint == "payments_credited_once"
    assert await owner.fetchval("SELECT credit FROM channels") == 8


async def test_earlier_payments_are_found_by_their_key(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn)
    async with front.transaction() as conn:
        after = replace(channel, spent_by_peer=30, credit=10, claim="x")
        ids = await payments.record_batch(conn, [after], [payment(10, 10), payment(30, 10, message="1")])
    keys = [(address(), 1, 30, 10), (address(), 1, 30, 11), (address(), 2, 30, 10), (address(1), 1, 30, 10)]
    async with front.transaction() as conn:
        found = await payments.find(conn, keys)
        assert await payments.find(conn, []) == {}
    assert list(found) == keys[:1]
    assert found[keys[0]].id == ids[1]
    assert found[keys[0]].message == "1"


async def test_the_first_response_of_the_application_stays(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn)
    async with front.transaction() as conn:
        after = replace(channel, spent_by_peer=1, claim="x")
        [payment_id] = await payments.record_batch(conn, [after], [payment(1, 1)])
    async with front.connection() as conn:
        assert await payments.keep_response(conn, payment_id, "first") == "first"
        assert await payments.keep_response(conn, payment_id, "second") == "first"
        assert await payments.keep_response(conn, payment_id + 1, "for nothing") is None
        recorded = await payments.get(conn, payment_id)
    assert recorded is not None
    assert recorded.response == "first"


async def test_locks_are_taken_in_one_order_so_that_batches_never_deadlock(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        for number in range(8):
            await insert_open(conn, number)
    everything = [address(number) for number in range(8)]

    async def hold(addresses: list[str]) -> None:
        async with front.transaction() as conn:
            assert len(await channels.lock(conn, addresses)) == 8

    await asyncio.gather(*(hold(everything if turn % 2 else everything[::-1]) for turn in range(40)))


async def test_a_second_batch_sees_what_the_first_has_committed(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    taken = asyncio.Event()

    async def pay(amount_spent: int, *, first: bool) -> int:
        if not first:
            await taken.wait()
        async with front.transaction() as conn:
            channel = (await channels.lock(conn, [address()]))[address()].channel
            taken.set()
            after = replace(channel, spent_by_peer=channel.spent_by_peer + amount_spent, claim=str(amount_spent))
            await payments.record_batch(conn, [after], [payment(after.spent_by_peer, amount_spent)])
            return after.spent_by_peer

    assert await asyncio.gather(pay(5, first=True), pay(7, first=False)) == [5, 12]


async def test_a_locked_channel_knows_the_time_and_the_age_of_the_watcher(
    front: Database, worker: Database, owner: Connection
) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    async with front.transaction() as conn:
        locked = (await channels.lock(conn, [address(), address(5)]))[address()]
    assert locked.watcher_age_s is None
    assert not locked.created_by_me
    await owner.execute("INSERT INTO instance (network, own_address) VALUES ('devnet', $1)", "O" * 32)
    await owner.execute("UPDATE instance SET watcher_synced_at = pg_postmaster_start_time() + interval '1 ms'")
    up_s = await owner.fetchval("SELECT date_part('epoch', clock_timestamp() - pg_postmaster_start_time())")
    async with front.transaction() as conn:
        later = (await channels.lock(conn, [address()]))[address()]
    assert later.watcher_age_s is not None
    assert 0 <= later.watcher_age_s - (up_s - 0.001) < 5
    assert 0 < later.now_s - locked.now_s < 5
    await owner.execute("UPDATE instance SET watcher_synced_at = pg_postmaster_start_time()")
    async with front.transaction() as conn:
        restored = (await channels.lock(conn, [address()]))[address()]
    assert restored.watcher_age_s is None


async def test_what_an_asset_relies_on_is_the_sum_over_its_channels(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, 0, deposited_by_peer=100, spent_by_peer=130, claim="x")
        await insert_open(conn, 1, deposited_by_peer=100, spent_by_peer=130, spent_by_me=10, claim="x")
        await insert_open(conn, 2, deposited_by_peer=200, spent_by_peer=130, claim="x")
        await insert_open(conn, 3, asset=ASSET, deposited_by_peer=0, spent_by_peer=7, claim="x")
    async with front.transaction() as conn:
        await assets.lock(conn, ["base", ASSET])
        assert await channels.unconfirmed_used(conn, ["base", ASSET, "b" * 44]) == {"base": 50, ASSET: 7, "b" * 44: 0}


async def test_the_limit_of_an_asset_is_exact_under_concurrency(front: Database, worker: Database) -> None:
    limit = 10
    async with worker.transaction() as conn:
        for number in range(20):
            await insert_open(conn, number, status=Status.OPEN, deposited_by_peer=0)

    async def rely_on_one_more(number: int) -> bool:
        async with front.transaction() as conn:
            channel = (await channels.lock(conn, [address(number)]))[address(number)].channel
            await assets.lock(conn, ["base"])
            used = await channels.unconfirmed_used(conn, ["base"])
            if used["base"] + 1 > limit:
                return False
            after = replace(channel, spent_by_peer=1, claim="x")
            await payments.record_batch(conn, [after], [payment(1, 1, number)])
            return True

    taken = await asyncio.gather(*(rely_on_one_more(number) for number in range(20)))
    assert sum(taken) == limit


async def test_payments_are_listed_in_pages_and_filtered(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = [await insert_open(conn, number, asset="base" if number else ASSET) for number in range(2)]
    async with front.transaction() as conn:
        for step in range(1, 6):
            after = [replace(c, spent_by_peer=step, claim=str(step)) for c in channel]
            await payments.record_batch(conn, after, [payment(step, 1, 0), payment(step, 1, 1)])
    async with front.transaction() as conn:
        first = await payments.page(conn, limit=4)
        second = await payments.page(conn, after=first[-1].id, limit=100)
        assert [p.amount_spent for p in first + second] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        of_asset = await payments.page(conn, payments.Filter(asset=ASSET))
        assert {p.aa_address for p in of_asset} == {address(0)}
        assert await payments.page(conn, payments.Filter(period=2)) == []
        moment = first[0].accepted_at
        assert await payments.page(conn, payments.Filter(until=moment)) == []
        assert len(await payments.page(conn, payments.Filter(since=moment))) == 10
        newest = await payments.page_back(conn, payments.Filter(aa_address=address(1)), limit=2)
        assert [p.amount_spent for p in newest] == [5, 4]
        older = await payments.page_back(conn, payments.Filter(aa_address=address(1)), before=newest[-1].id)
        assert [p.amount_spent for p in older] == [3, 2, 1]
        assert [p async for p in payments.export(conn, prefetch=3)] == first + second
