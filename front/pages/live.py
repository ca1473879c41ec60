"""Live pages: one reader of the stream of events for all pages that this process shows, however many there are.

Strangers open pages, so how many are live is bounded: in all, for each request, and for each network address, so that
nobody takes all places for himself. They share one place among those that follow the events, and nobody who follows the
events with a key loses his to them. Who finds no place reloads.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.events.cursors import EventsError, StreamEndedError
from shared.logs import get_logger
from shared.store import payment_requests
from shared.store.errors import StoreError
from shared.store.events import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from shared.events.feed import Feed
    from shared.store.database import Database
    from shared.store.events import Event
    from shared.store.payment_requests import PaymentRequest

logger = get_logger(__name__)

MAX_WATCHERS = 500
MAX_WATCHERS_OF_ONE = 30
MAX_WATCHERS_OF_ADDRESS = 50
MAX_WATCHERS_OF_ONE_AND_ADDRESS = 10
_SILENCE_S = 15.0
_PAUSE_S = 1.0
_GATHER_S = 0.1
"""However much happens, pages are looked after this rarely."""


class NoPlaceError(Exception):
    """Too many pages are live here."""


class Watch:
    """One page's look at its request."""

    def __init__(self, request: PaymentRequest, address: str) -> None:
        self.address = address
        self.is_ended = False
        self._changed = asyncio.Event()
        self._request = request
        self._read_s = asyncio.get_running_loop().time()

    @property
    def request(self) -> PaymentRequest:
        """The newest look, with the database's clock as it has moved on since."""
        passed_s = asyncio.get_running_loop().time() - self._read_s
        return replace(self._request, now=self._request.now + timedelta(seconds=passed_s))

    @property
    def expires_in_s(self) -> float:
        """Seconds until the request expires; endless if it does not, or has."""
        request = self.request
        if request.expires_at is None or request.expires_at <= request.now:
            return math.inf
        return (request.expires_at - request.now).total_seconds()

    def tell(self, request: PaymentRequest) -> None:
        """Hand over a newer look."""
        self._request, self._read_s = request, asyncio.get_running_loop().time()
        self._changed.set()

    def end(self) -> None:
        """Let the page go."""
        self.is_ended = True
        self._changed.set()

    async def wait(self, at_most_s: float) -> bool:
        """Return True when there is a newer look, False when none has come in time."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Watching:
    """All live pages of a process. It reads only while there is one."""

    def __init__(self, database: Database, feed: Feed, *, max_watchers: int = MAX_WATCHERS) -> None:
        self._database = database
        self._feed = feed
        self._max_watchers = max_watchers
        self._watches: dict[str, set[Watch]] = defaultdict(set)
        self._count = 0
        self._of_address: Counter[str] = Counter()
        self._reader: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def watch(self, request: PaymentRequest, address: str) -> AsyncIterator[Watch]:
        """Watch a request, from a network address. Raises NoPlaceError and StoreError."""
        if not self._has_place(request.id, address):
            raise NoPlaceError
        watch = Watch(request, address)
        self._count += 1
        self._of_address[address] += 1
        self._watches[request.id].add(watch)
        try:
            if self._reader is None:
                self._reader = asyncio.create_task(self._run(), name="pages-reader")
            else:
                await self._look([request.id])  # what came since the caller's look was told already
            yield watch
        finally:
            self._count -= 1
            self._of_address -= Counter((address,))  # nothing is left of who has left
            self._watches[request.id].discard(watch)
            if not self._watches[request.id]:
                del self._watches[request.id]
            if not self._count:
                await self._stop()

    def _has_place(self, request_id: str, address: str) -> bool:
        same = self._watches.get(request_id, ())
        return (
            self._count < self._max_watchers
            and len(same) < MAX_WATCHERS_OF_ONE
            and self._of_address[address] < MAX_WATCHERS_OF_ADDRESS
            and sum(watch.address == address for watch in same) < MAX_WATCHERS_OF_ONE_AND_ADDRESS
        )

    async def close(self) -> None:
        """Stop reading, and let every page go."""
        await self._stop()
        self._end()

    async def _stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except StreamEndedError:
                self._end()
                return
            except (EventsError, StoreError) as error:
                logger.warning("pages_not_live", code=error.code)
            await asyncio.sleep(_PAUSE_S)

    async def _follow(self) -> None:
        async with self._feed.follow() as follower:
            await self._look(self._watches)  # what came before we followed
            while True:
                found = await follower.next(_SILENCE_S)
                if named := {name for event in found if (name := _request_of(event)) in self._watches}:
                    await self._look(named)
                    await asyncio.sleep(_GATHER_S)

    async def _look(self, request_ids: Collection[str]) -> None:
        async with self._database.connection() as conn:
            found = await payment_requests.find(conn, request_ids)
        for request in found.values():
            for watch in self._watches.get(request.id, ()):
                watch.tell(request)

    def _end(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.end()


def _request_of(event: Event) -> object:
    """Return what request an event is about; anything at all when it is about none."""
    if event.kind == EventKind.PAYMENT_RECEIVED:
        message = event.data["message"]
        named = message.get("request") if isinstance(message, dict) else None
    else:
        named = event.data.get("request")
    return named if isinstance(named, str) else None
