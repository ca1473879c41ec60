"""One reader of the stream of events for a whole process, however many follow it.

The reader keeps the newest events at hand. A follower only has a place in the stream and asks for what comes after it:
one that is slow, or comes back later, reads from the database what is not at hand any more. So followers cost the same
however slow they are, and none can hold up another.

The bus tells when there may be something new, and a poll does when it is silent. What has arrived is decided by the
database alone (`shared.store.events`).
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from typing import TYPE_CHECKING

from shared.bus import CHANNEL_CHANGED, COMMAND, EVENT, PAYMENT
from shared.events.cursors import (
    Cursor,
    ExpiredCursorError,
    StreamEndedError,
    TooManyFollowersError,
)
from shared.logs import get_logger
from shared.store import events
from shared.store.errors import DatabaseUnavailableError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.bus import Bus, Subscription
    from shared.store.database import Database
    from shared.store.events import Event

logger = get_logger(__name__)

MAX_FOLLOWERS = 200
MAX_AT_HAND = 2_000
MAX_AT_HAND_CHARACTERS = 8_000_000
POLL_S = 1.0
_GATHER_S = 0.02
"""However much happens, it is looked for this rarely: what comes meanwhile is found at once."""
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25
_PATIENCE_S = 5.0
"""How long a new follower waits for transactions in hand when nobody else follows."""
_NOWHERE = -1
_PARALLEL_CATCH_UPS = 2
"""Connections that those who come back late may use at the same time: payments need the others."""


class Feed:
    """The reader of one process. It reads only while somebody follows."""

    def __init__(
        self, database: Database, bus: Bus, *, poll_s: float = POLL_S, max_followers: int = MAX_FOLLOWERS
    ) -> None:
        self._database = database
        self._bus = bus
        self._poll_s = poll_s
        self._max_followers = max_followers
        self._followers = 0
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(_PARALLEL_CATCH_UPS)
        self._is_ended = False
        self._bell = asyncio.Event()
        self._news = asyncio.Event()
        self._name = ""
        self._looked_until = _NOWHERE
        self._position = 0
        self._floor = 0
        self._at_hand: list[Event] = []

    @contextlib.asynccontextmanager
    async def follow(self, after: str | None = None) -> AsyncIterator[Follower]:
        """Follow the stream from after a cursor, or from now on.

        Raises InvalidCursorError, ExpiredCursorError, TooManyFollowersError, StreamEndedError and StoreError.
        """
        cursor = None if after is None else Cursor.read(after)
        if self._is_ended:
            raise StreamEndedError("this server is shutting down")
        if self._followers >= self._max_followers:
            raise TooManyFollowersError("too many follow the events here already")
        self._followers += 1
        try:
            async with self._starting:
                if self._reader is None:
                    self._looked_until = _NOWHERE
                    await self._start()
            yield await self._begin(cursor)
        finally:
            self._followers -= 1
            if not self._followers:
                await self._stop()

    def end(self) -> None:
        """Let every follower stop now; nobody can follow here any more."""
        self._is_ended = True
        self._tell()

    async def close(self) -> None:
        """End, and stop reading."""
        self.end()
        await self._stop()

    # ------------------------------------------------------------------------------------------------ for followers

    async def take(self, follower: Follower, limit: int) -> Sequence[Event]:
        """Return what comes after the follower's place, at most `limit`; nothing when he has seen everything.

        Raises ExpiredCursorError, StreamEndedError and StoreError.
        """
        self._check(follower)
        if follower.position >= self._position:
            return ()
        if follower.position >= self._floor:
            start = bisect_right(self._at_hand, follower.position, key=lambda event: event.id)
            return self._at_hand[start : start + limit]
        async with self._catching_up, self._database.connection() as conn:
            found = await events.page(conn, after=follower.position, until=self._position, limit=limit)
            stream = await events.stream(conn)  # only now: what was forgotten meanwhile may be missing
        if stream.name != follower.stream or stream.gone_id > follower.position:
            raise _expired()
        if not found:
            await asyncio.sleep(self._poll_s)  # whatever this database is, it is not asked without a pause
        return found

    async def wait(self, follower: Follower, at_most_s: float) -> None:
        """Return when there may be something after the follower's place, or after `at_most_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while follower.position >= self._position:
                    self._check(follower)
                    await self._news.wait()

    def _check(self, follower: Follower) -> None:
        if self._is_ended:
            raise StreamEndedError("this server is shutting down")
        if self._name != follower.stream:
            raise _expired()

    async def _begin(self, cursor: Cursor | None) -> Follower:
        """Return a follower at the cursor. Nothing after it may have been forgotten."""
        async with self._database.connection() as conn:
            stream = await events.stream(conn)
            newest = await events.newest_id(conn)
        if cursor is None:
            return Follower(self, stream.name, max(self._position, stream.gone_id))
        if cursor.stream != stream.name or not stream.gone_id <= cursor.id <= newest:
            raise _expired()
        return Follower(self, stream.name, cursor.id)

    # --------------------------------------------------------------------------------------------------- the reader

    async def _start(self) -> None:
        """Find the place where "from now on" begins, then read on from there."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._begin_at(await self._decided())
        except TimeoutError:
            raise DatabaseUnavailableError("a long transaction keeps the newest events open") from None
        subscription = self._bus.subscribe(PAYMENT, CHANNEL_CHANGED, COMMAND, EVENT, limit=1)
        self._reader = asyncio.create_task(self._run(subscription), name="events-reader")

    async def _begin_at(self, decided: int) -> None:
        async with self._database.connection() as conn:
            self._position = self._floor = await events.last_id(conn, decided)
            self._name = (await events.stream(conn)).name
        self._looked_until = decided
        self._at_hand = []

    async def _stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _run(self, subscription: Subscription) -> None:
        with subscription:
            listening = asyncio.create_task(self._listen(subscription), name="events-bell")
            try:
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._poll_s):
                            await self._bell.wait()
                    self._bell.clear()
                    try:
                        await self._advance()
                    except StoreError as error:
                        logger.warning("events_not_read", code=error.code, reason=str(error))
                        self._looked_until = _NOWHERE
                        await asyncio.sleep(self._poll_s)
                    await asyncio.sleep(_GATHER_S)
            finally:
                listening.cancel()

    async def _listen(self, subscription: Subscription) -> None:
        async for _ in subscription:
            self._bell.set()

    async def _advance(self) -> None:
        """Read what has been decided since the last time. Raises StoreError."""
        decided = await self._decided()
        async with self._database.connection() as conn:
            name = (await events.stream(conn)).name
        if name != self._name:
            await self._begin_at(decided)
            self._tell()
        while decided != self._looked_until:
            async with self._database.connection() as conn:
                found = await events.page(conn, after=self._position, until=decided)
            if found:
                self._keep(found)
                self._tell()
            # A place is always an event's: a database that crashes may give out again what nobody has used.
            if len(found) < events.MAX_PAGE:
                self._looked_until = decided

    async def _decided(self) -> int:
        """Return a number up to which no transaction is open, waiting for those that are. Raises StoreError."""
        async with self._database.connection() as conn:
            newest = await events.newest_id(conn)
            if newest == self._looked_until:
                return newest
            barrier = await events.barrier(conn)
        pause_s = _FIRST_PAUSE_S
        while True:
            async with self._database.connection() as conn:
                if await events.oldest_running(conn) >= barrier:
                    return newest
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _keep(self, found: list[Event]) -> None:
        self._at_hand += found
        self._position = found[-1].id
        size, kept = 0, 0
        for event in reversed(self._at_hand):
            size += event.size
            if kept == MAX_AT_HAND or size > MAX_AT_HAND_CHARACTERS:
                break
            kept += 1
        gone = len(self._at_hand) - kept
        if gone:
            self._floor = self._at_hand[gone - 1].id
            del self._at_hand[:gone]

    def _tell(self) -> None:
        """Wake everyone who waits."""
        self._news.set()
        self._news = asyncio.Event()


class Follower:
    """Somebody's place in the stream. Made by `Feed.follow`."""

    def __init__(self, feed: Feed, stream: str, position: int) -> None:
        self.stream = stream
        self.position = position
        self._feed = feed

    @property
    def cursor(self) -> Cursor:
        """After what this follower has been given so far."""
        return Cursor(self.stream, self.position)

    def cursor_of(self, event: Event) -> Cursor:
        """Return the cursor to go on from after an event."""
        return Cursor(self.stream, event.id)

    async def next(self, wait_s: float, *, limit: int = 100) -> Sequence[Event]:
        """Return the next events, at most `limit`, or none when none has come for `wait_s` seconds.

        Raises ExpiredCursorError when something after this place was forgotten before it was read, StreamEndedError
        when the process stops, and StoreError.
        """
        await self._feed.wait(self, wait_s)
        found = await self._feed.take(self, limit)
        if found:
            self.position = found[-1].id
        return found


def _expired() -> ExpiredCursorError:
    return ExpiredCursorError("events after this cursor were forgotten, or the stream was begun anew")
