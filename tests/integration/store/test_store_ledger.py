from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.store import channels, deposits, instance, ledger_events, peer_units
from shared.store.deposits import DepositState
from shared.store.errors import InstanceMismatchError, StoreError
from shared.store.ledger_events import EventKind, RecordedEvent
from tests.integration.store.builders import OWN, PEER, address, insert_open, unit
from tests.integration.store.waiting import blocked

if TYPE_CHECKING:
    from shared.store.database import Connection, Database


@pytest.fixture
async def watcher(worker: Database) -> Database:
    async with worker.transaction() as conn:
        await insert_open(conn, 0)
        await insert_open(conn, 1)
    return worker


# -------------------------------------------------------------------------------------------------- units of peers


async def add(conn: Connection, number: int, *, channel: int = 0, amount: int = 5, closes: bool = False) -> None:
    await peer_units.add(
        conn, address(channel), unit(number), amount=amount, closes=closes, publishes_definition=not closes
    )


async def has_units(database: Database, channel: int = 0) -> bool:
    async with database.transaction() as conn:
        return (await channels.lock(conn, [address(channel)]))[address(channel)].has_peer_units


async def test_units_of_peers_are_told_by_channel(front: Database, watcher: Database) -> None:
    async with watcher.transaction() as conn:
        await add(conn, 1)
        await add(conn, 2, closes=True, amount=0)
        await add(conn, 1, channel=1, amount=9)
    async with front.transaction() as conn:
        now_s = (await channels.lock(conn, [address()]))[address()].now_s
        found = await peer_units.of(conn, [address(0), address(1), address(2)])
    assert set(found) == {address(0), address(1)}
    first, second = found[address(0)]
    assert (first.unit, first.amount, first.closes, first.publishes_definition) == (unit(1), 5, False, True)
    assert (second.unit, second.amount, second.closes, second.publishes_definition) == (unit(2), 0, True, False)
    assert now_s - 10 < first.first_seen_s < second.first_seen_s < now_s
    assert [found.amount for found in found[address(1)]] == [9]


async def test_a_channel_knows_whether_it_has_units(watcher: Database) -> None:
    assert not await has_units(watcher)
    async with watcher.transaction() as conn:
        await add(conn, 1)
        await add(conn, 2)
    assert await has_units(watcher)
    assert not await has_units(watcher, 1)
    async with watcher.transaction() as conn:
        await peer_units.remove(conn, address(), unit(1))
        await peer_units.remove(conn, address(), unit(7))
    assert await has_units(watcher)
    async with watcher.transaction() as conn:
        await peer_units.remove(conn, address(), unit(2))
    assert not await has_units(watcher)


async def test_a_unit_seen_again_keeps_the_time_it_was_first_seen(watcher: Database) -> None:
    async with watcher.transaction() as conn:
        await add(conn, 1)
        [before] = (await peer_units.of(conn, [address()]))[address()]
    async with watcher.transaction() as conn:
        await add(conn, 1, amount=500)
        [after] = (await peer_units.of(conn, [address()]))[address()]
    assert after == before


async def test_conflicting_units_are_marked_in_every_channel(watcher: Database) -> None:
    async with watcher.transaction() as conn:
        await add(conn, 1)
        await add(conn, 1, channel=1)
        await add(conn, 2, channel=1)
        assert await peer_units.mark_bad(conn, [unit(1), unit(3)]) == {address(0), address(1)}
        assert await peer_units.mark_bad(conn, [unit(1)]) == set()
        found = await peer_units.of(conn, [address(1)])
    assert {one.unit: one.is_bad for one in found[address(1)]} == {unit(1): True, unit(2): False}


async def test_removing_one_unit_sees_another_that_was_just_added(watcher: Database, owner: Connection) -> None:
    async with watcher.transaction() as conn:
        await add(conn, 1)

    async def remove() -> None:
        async with watcher.transaction() as conn:
            await peer_units.remove(conn, address(), unit(1))

    async with watcher.transaction() as conn:
        await channels.lock_one(conn, address())
        removing = asyncio.create_task(remove())
        await blocked(owner)
        await add(conn, 2)
    await removing
    assert await has_units(watcher)


async def test_adding_and_removing_at_once_leaves_the_truth(watcher: Database) -> None:
    async def one(number: int) -> None:
        async with watcher.transaction() as conn:
            await add(conn, number)
        if number != 3:
            async with watcher.transaction() as conn:
                await peer_units.remove(conn, address(), unit(number))

    await asyncio.gather(*(one(number) for number in range(8)))
    assert await has_units(watcher)
    async with watcher.transaction() as conn:
        await peer_units.remove(conn, address(), unit(3))
    assert not await has_units(watcher)


# ----------------------------------------------------------------------------------------------------------- events


EVENT = RecordedEvent(
    aa_address=address(),
    event_id=1,
    kind=EventKind.OPENED,
    period=1,
    unit=unit(1),
    payload={"open": 1, address(): 10**30, "note": "\x00 \ud800"},
    mci=7,
    unit_timestamp_s=1_700_000_000,
)


async def test_events_are_kept_once_in_the_order_of_their_numbers(watcher: Database) -> None:
    second = replace(EVENT, event_id=2, kind=EventKind.CLOSED)
    async with watcher.transaction() as conn:
        assert await ledger_events.append(conn, second, None)
        assert await ledger_events.append(conn, EVENT, None)
        assert not await ledger_events.append(conn, replace(EVENT, kind=EventKind.REFUSED), None)
        assert await ledger_events.of(conn, address()) == [EVENT, second]
        assert await ledger_events.of(conn, address(), after=1) == [second]
        assert await ledger_events.of(conn, address(1)) == []


async def test_events_belong_to_a_known_channel(watcher: Database) -> None:
    with pytest.raises(StoreError, match="ledger_events_aa_address_fkey"):
        async with watcher.transaction() as conn:
            await ledger_events.append(conn, replace(EVENT, aa_address=address(9)), None)


# --------------------------------------------------------------------------------------------------------- deposits


async def test_a_deposit_is_pending_until_the_agent_has_answered(watcher: Database) -> None:
    async with watcher.transaction() as conn:
        for number, amount in enumerate((10, 20, 40)):
            assert await deposits.add(conn, address(), unit(number), amount)
        assert not await deposits.add(conn, address(), unit(0), 99)
        assert await deposits.pending_amount(conn, address()) == 70
        assert await deposits.settle(conn, address(), unit(0), DepositState.CONFIRMED)
        assert await deposits.settle(conn, address(), unit(1), DepositState.BOUNCED)
        assert not await deposits.settle(conn, address(), unit(0), DepositState.REFUSED)
        assert await deposits.pending_amount(conn, address()) == 40
        assert await deposits.pending_amount(conn, address(1)) == 0
        states = {deposit.unit: deposit.state for deposit in await deposits.of(conn, address())}
    assert states == {
        unit(0): DepositState.CONFIRMED,
        unit(1): DepositState.BOUNCED,
        unit(2): DepositState.PENDING,
    }


# --------------------------------------------------------------------------------------------------------- instance


async def test_the_receiver_is_declared_once(front: Database, worker: Database) -> None:
    async with front.connection() as conn:
        assert await instance.read(conn) is None
    async with worker.transaction() as conn:
        for _ in range(2):
            await instance.declare(conn, network="devnet", own_address=OWN)
    async with front.connection() as conn:
        found = await instance.read(conn)
    assert found is not None
    assert (found.network, found.own_address, found.watcher_age_s) == ("devnet", OWN, None)


async def test_the_clock_is_that_of_the_database(front: Database, worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        await instance.declare(conn, network="devnet", own_address=OWN)
    before = await owner.fetchval("SELECT date_part('epoch', clock_timestamp())")
    async with front.connection() as conn:
        found = await instance.read(conn)
    assert found is not None
    assert before < found.now_s < await owner.fetchval("SELECT date_part('epoch', clock_timestamp())")


@pytest.mark.parametrize(("network", "own_address"), [("mainnet", OWN), ("devnet", PEER)])
async def test_a_database_of_another_receiver_is_refused(worker: Database, network: str, own_address: str) -> None:
    async with worker.transaction() as conn:
        await instance.declare(conn, network="devnet", own_address=OWN)
    with pytest.raises(InstanceMismatchError, match=OWN):
        async with worker.transaction() as conn:
            await instance.declare(conn, network=network, own_address=own_address)


async def test_the_heartbeat_of_the_watcher_has_an_age(front: Database, worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        await instance.declare(conn, network="devnet", own_address=OWN)
        await instance.heartbeat(conn)
    async with front.connection() as conn:
        found = await instance.read(conn)
    assert found is not None
    assert found.watcher_age_s is not None
    assert 0 <= found.watcher_age_s < 10


async def test_a_heartbeat_from_before_the_server_started_is_no_sign_of_life(
    front: Database, worker: Database, owner: Connection
) -> None:
    """What the files of a restored backup say was true when they were copied."""
    async with worker.transaction() as conn:
        await instance.declare(conn, network="devnet", own_address=OWN)
    for later_s, is_awake in ((0.001, True), (-0.001, False)):
        await owner.execute(
            "UPDATE instance SET watcher_synced_at = pg_postmaster_start_time() + make_interval(secs => $1)", later_s
        )
        async with front.connection() as conn:
            found = await instance.read(conn)
        assert found is not None
        assert (found.watcher_age_s is not None) == is_awake
