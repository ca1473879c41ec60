"""Waiting for a channel to change, because a package came before the watcher saw its funding.

Event-driven: the worker rings when the channel's row or its peer's units change. Two more reasons wake a waiter: a
deposit grows old enough to count, and, while no events arrive from other processes, a slow poll. Whatever wakes it,
the package is judged anew under the channel's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from shared.bus import CHANNEL_CHANGED
from shared.receiving.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.bus import Bus, Subscription

MAX_WAITERS = 500
POLL_S = 1.0


class ChannelWaits:
    """Who waits for which channel in this process, at most `max_waiters` at a time."""

    def __init__(self, bus: Bus, *, max_waiters: int = MAX_WAITERS, poll_s: float = POLL_S) -> None:
        self._bus = bus
        self._max_waiters = max_waiters
        self._poll_s = poll_s
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._listener: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def waiter(self, aa_address: str) -> Iterator[Waiter]:
        """Begin to notice changes of the channel, before looking at its state, so that none is missed.

        Raises UnavailableError when too many wait already.
        """
        if self._count >= self._max_waiters:
            raise UnavailableError("overloaded", "too many payments wait for their channel's funding")
        if self._listener is None:
            events = self._bus.subscribe(CHANNEL_CHANGED)
            self._listener = asyncio.create_task(self._listen(events), name="channel-waits")
        changed = asyncio.Event()
        self._waiters.setdefault(aa_address, set()).add(changed)
        self._count += 1
        try:
            yield Waiter(changed, self)
        finally:
            self._count -= 1
            waiting = self._waiters[aa_address]
            waiting.discard(changed)
            if not waiting:
                del self._waiters[aa_address]

    @property
    def poll_s(self) -> float | None:
        """How long to trust in silence: None while events of other processes arrive."""
        return None if self._bus.hears(CHANNEL_CHANGED) else self._poll_s

    async def close(self) -> None:
        """Stop listening; who still waits gets no more events, only his time."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def _listen(self, events: Subscription) -> None:
        with events:
            async for event in events:
                for changed in self._waiters.get(event.body.get("aa_address", ""), ()):
                    changed.set()


class Waiter:
    """One payment's wait for its channel."""

    def __init__(self, changed: asyncio.Event, waits: ChannelWaits) -> None:
        self._changed = changed
        self._waits = waits

    async def wait(self, at_most_s: float) -> None:
        """Return when the channel has changed since the last time, after `at_most_s` seconds, or to poll."""
        poll_s = self._waits.poll_s
        timeout_s = at_most_s if poll_s is None else min(at_most_s, poll_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        self._changed.clear()
