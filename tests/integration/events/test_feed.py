"""The stream of events against a real Postgres: nothing skipped, nothing invented, whatever commits when."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.bus import PAYMENT, Bus
from shared.events.cursors import (
    Cursor,
    ExpiredCursorError,
    InvalidCursorError,
    StreamEndedError,
    TooManyFollowersError,
)
from shared.events.feed import Feed
from shared.store import channels, events, payments
from shared.store.database import Database, Role
from shared.store.events import EventKind, NewEvent
from tests.integration.store.builders import address, insert_open, payment
from tests.receiving_support import administrator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.events.feed import Follower
    from shared.store.database import Connection
    from shared.store.events import Event

BOUND_S = 20.0
POLL_S = 0.05


def note(number: int) -> NewEvent:
    return NewEvent(EventKind.CHANNEL_REFILLED, address(), {"amount": number, "unit": "u"})


async def read(follower: Follower, count: int, *, limit: int = 100) -> list[Event]:
    """The next events, exactly so many."""
    found: list[Event] = []
    async with asyncio.timeout(BOUND_S):
        while len(found) < count:
            found += await follower.next(1.0, limit=limit)
    assert len(found) == count
    return found


async def to_the_end(follower: Follower) -> None:
    """Follow until it is refused."""
    while True:
        await follower.next(POLL_S)


@pytest.fixture
async def front(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=4)
    yield database
    await database.close()


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url, role=Role.WORKER, max_connections=16)
    yield database
    await database.close()


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    bus = Bus(None)
    yield bus
    await bus.close()


@pytest.fixture
async def feed(front: Database, bus: Bus) -> AsyncIterator[Feed]:
    feed = Feed(front, bus, poll_s=POLL_S)
    yield feed
    await feed.close()


async def pay(conn: Connection, number: int) -> int:
    """Make one more payment of 1 on a channel as acceptance does; return its number in the stream."""
    channel = (await channels.lock(conn, [address(number)]))[address(number)].channel
    spent = channel.spent_by_peer + 1
    after = replace(channel, spent_by_peer=spent, claim="claim")
    [payment_id] = await payments.record_batch(conn, [after], [payment(spent, 1, number, message='{"n":1}')])
    return payment_id


async def test_a_follower_hears_of_payments_and_other_events_in_one_order(feed: Feed, worker: Database) -> None:
    async with feed.follow() as follower:
        async with worker.transaction() as conn:
            await insert_open(conn)
        async with worker.transaction() as conn:
            await pay(conn, 0)
            await events.add(conn, note(7))
        created, paid, refilled = await read(follower, 3)
    assert (created.kind, created.aa_address) == ("channel_created_by_peer", address())
    assert (paid.kind, paid.data["amount"], paid.data["message"]) == ("payment_received", 1, {"n": 1})
    assert (refilled.kind, refilled.data) == ("channel_refilled", {"amount": 7, "unit": "u"})
    assert paid.data["payment_id"] == paid.id


async def test_what_happened_before_following_is_left_out_unless_a_cursor_says_from_where(
    feed: Feed, worker: Database
) -> None:
    async with worker.transaction() as conn:
        await events.add(conn, note(1), note(2))
    async with feed.follow() as follower:
        start = str(follower.cursor)
        async with worker.transaction() as conn:
            await events.add(conn, note(3))
        [third] = await read(follower, 1)
        assert third.data["amount"] == 3
    async with feed.follow(start) as follower:
        assert await read(follower, 1) == [third]
    earlier = Cursor(follower.stream, third.id - 2)
    async with feed.follow(str(earlier)) as follower:
        assert [event.data["amount"] for event in await read(follower, 2)] == [2, 3]


async def test_an_event_with_a_small_number_that_is_committed_late_is_not_skipped(feed: Feed, worker: Database) -> None:
    async with feed.follow() as follower:
        async with worker.transaction() as slow:
            await events.add(slow, note(1))
            async with worker.transaction() as quick:
                await events.add(quick, note(2))
            assert await follower.next(5 * POLL_S) == (), "its number is greater than one that may still come"
        assert [event.data["amount"] for event in await read(follower, 2)] == [1, 2]


async def test_what_is_rolled_back_is_never_told_and_holds_nobody_up(feed: Feed, worker: Database) -> None:
    async with feed.follow() as follower:
        with contextlib.suppress(ZeroDivisionError):
            async with worker.transaction() as conn:
                await events.add(conn, note(1))
                raise ZeroDivisionError
        async with worker.transaction() as conn:
            await events.add(conn, note(2))
        assert [event.data["amount"] for event in await read(follower, 1)] == [2]
        assert await follower.next(3 * POLL_S) == ()


async def test_the_bus_wakes_followers_before_the_next_poll(front: Database, worker: Database, bus: Bus) -> None:
    feed = Feed(front, bus, poll_s=3600)
    async with feed.follow() as follower:
        async with worker.transaction() as conn:
            await events.add(conn, note(1))
        bus.publish(PAYMENT, {})
        assert len(await read(follower, 1)) == 1
    await feed.close()


async def test_who_was_away_for_long_reads_on_from_the_database(
    front: Database, worker: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.events.feed.MAX_AT_HAND", 10)
    feed = Feed(front, bus, poll_s=POLL_S)
    async with feed.follow() as quick, feed.follow() as slow:
        for tens in range(30):
            async with worker.transaction() as conn:
                await events.add(conn, *(note(10 * tens + number) for number in range(10)))
        assert len(await read(quick, 300)) == 300
        told = await read(slow, 300, limit=7)
        assert [event.data["amount"] for event in told] == list(range(300))
    await feed.close()


async def test_forgotten_events_are_not_passed_over_in_silence(feed: Feed, worker: Database) -> None:
    async with feed.follow() as follower:
        start = follower.cursor
        for number in range(4):
            async with worker.transaction() as conn:
                await events.add(conn, note(number))
        first, *_, last = await read(follower, 4)
    async with worker.transaction() as conn:
        assert await events.forget(conn, 3600) == 0
        assert await events.forget(conn, -1, limit=3) == 3
    for gone in (start, Cursor(start.stream, first.id)):
        with pytest.raises(ExpiredCursorError):
            async with feed.follow(str(gone)):
                pass
    async with feed.follow(str(Cursor(start.stream, last.id - 1))) as follower:
        assert await read(follower, 1) == [last]
    async with worker.transaction() as conn:
        assert await events.forget(conn, -1) == 1
    async with feed.follow(str(Cursor(start.stream, last.id))) as follower:
        assert await follower.next(POLL_S) == (), "who has heard everything goes on, however little is kept"


async def test_a_restored_database_is_another_stream(feed: Feed, worker: Database) -> None:
    async with feed.follow() as follower:
        async with worker.transaction() as conn:
            await events.add(conn, note(1))
        await read(follower, 1)
        async with worker.transaction() as conn:
            await events.begin_anew(conn)
        with pytest.raises(ExpiredCursorError):
            await asyncio.wait_for(to_the_end(follower), BOUND_S)
        with pytest.raises(ExpiredCursorError):
            async with feed.follow(str(follower.cursor)):
                pass
        async with feed.follow() as anew:
            async with worker.transaction() as conn:
                await events.add(conn, note(2))
            assert [event.data["amount"] for event in await read(anew, 1)] == [2]


async def test_cursors_that_nobody_gave_out_are_refused(feed: Feed) -> None:
    for text in ("", "12", "a-b", "x" * 40 + "-1", "é-1", "a-" + "9" * 30):
        with pytest.raises(InvalidCursorError):
            async with feed.follow(text):
                pass
    async with feed.follow() as follower:
        future = Cursor(follower.stream, 10**9)
    with pytest.raises(ExpiredCursorError):
        async with feed.follow(str(future)):
            pass


async def test_followers_are_limited_and_told_when_the_process_stops(front: Database, bus: Bus) -> None:
    feed = Feed(front, bus, poll_s=POLL_S, max_followers=1)
    async with feed.follow() as follower:
        with pytest.raises(TooManyFollowersError):
            async with feed.follow():
                pass
        waiting = asyncio.create_task(follower.next(BOUND_S))
        await asyncio.sleep(0)
        feed.end()
        with pytest.raises(StreamEndedError):
            await waiting
    with pytest.raises(StreamEndedError):
        async with feed.follow():
            pass
    await feed.close()


async def test_a_follower_survives_the_loss_of_its_connections(
    feed: Feed, front: Database, worker: Database, database_url: str
) -> None:
    async with feed.follow() as follower:
        async with worker.transaction() as conn:
            await conn.execute("SELECT 1")
            await events.add(conn, note(1))
        assert len(await read(follower, 1)) == 1
        async with administrator(database_url) as owner:
            await owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'sluice-front'"
            )
        async with worker.transaction() as conn:
            await events.add(conn, note(2))
        assert [event.data["amount"] for event in await read(follower, 1)] == [2]


async def test_whoever_takes_a_number_has_a_transaction_id_by_then(worker: Database) -> None:
    async with worker.transaction() as conn:
        assert await conn.fetchval("SELECT pg_current_xact_id_if_assigned()::text") is None
        await conn.fetchval("SELECT next_event_id()")
        assert await conn.fetchval("SELECT pg_current_xact_id_if_assigned()::text") is not None
    async with worker.transaction() as conn:
        await insert_open(conn)
    async with worker.transaction() as conn:
        await channels.lock(conn, [address()])
        assert await conn.fetchval("SELECT pg_current_xact_id_if_assigned()::text") is not None, "as acceptance has"


class Writers:
    """Many at once who commit, roll back and overtake each other on a few channels."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self.database = database
        self.chance = chance
        self.committed: set[int] = set()
        self.of_channel: dict[int, list[int]] = {number: [] for number in range(4)}

    async def write(self, turns: int) -> None:
        for _ in range(turns):
            numbers = sorted(self.chance.sample(sorted(self.of_channel), self.chance.randint(1, 3)))
            paid: list[tuple[int, int]] = []
            try:
                told = await self._transact(numbers, paid)
            except ZeroDivisionError:
                for number, identity in paid:
                    self.of_channel[number].remove(identity)
            else:
                self.committed.update([told, *(identity for _, identity in paid)])

    async def _transact(self, numbers: list[int], paid: list[tuple[int, int]]) -> int:
        async with self.database.transaction() as conn:
            for number in numbers:
                identity = await pay(conn, number)
                paid.append((number, identity))
                self.of_channel[number].append(identity)  # under the lock: this is the order of the channel's changes
                for _ in range(self.chance.randint(0, 3)):
                    await asyncio.sleep(0.001)
            await events.add(conn, note(0))
            told: int = await conn.fetchval("SELECT currval('payments_id_seq')")
            _ = 1 / (self.chance.random() > 0.2)
        return told


async def story(feed: Feed, start: str, writers: Writers, writing: asyncio.Future[None], patience: int) -> list[int]:
    """What a reader is told who comes back again and again, until he has heard of everything."""
    told: list[int] = []
    after = start
    while not (writing.done() and writers.committed <= set(told)):
        async with feed.follow(after) as follower:
            for _ in range(patience):
                found = await follower.next(0.2, limit=writers.chance.randint(1, 9))
                told += [event.id for event in found]
                after = str(follower.cursor)
    return told


async def test_many_writers_and_readers_that_restart(front: Database, worker: Database, bus: Bus) -> None:
    writers = Writers(worker, random.Random(4))
    async with worker.transaction() as conn:
        for number in writers.of_channel:
            await insert_open(conn, number)
    feeds = [Feed(front, bus, poll_s=POLL_S), Feed(front, bus, poll_s=POLL_S)]
    async with feeds[0].follow() as follower:
        start = str(follower.cursor)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        writing = asyncio.gather(*(writers.write(25) for _ in range(12)))
        reading = [
            tasks.create_task(story(feed, start, writers, writing, patience))
            for feed in feeds
            for patience in (1, 3, 20)
        ]
        await writing
    for reader in reading:
        assert reader.result() == sorted(writers.committed), "exactly what was committed, in one order"
    for identities in writers.of_channel.values():
        assert identities == sorted(identities), "each channel's events come in the order of its changes"
    for feed in feeds:
        await feed.close()
