"""Messages that wait to be handled: one sender's follow each other, many senders' go side by side, all are bounded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.device_messages import DeviceMessage

MAX_WAITING = 1_000
MAX_RATES = 10_000


class Inbox:
    """A fair queue: senders take turns, so that one with many messages delays nobody else.

    A message is in the inbox from `take` to `done`; taking it again meanwhile changes nothing.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._by_sender: dict[str, deque[DeviceMessage]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._known: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is being handled."""
        return not self._known

    def take(self, message: DeviceMessage) -> bool:
        """Put a message in; False when there is no room."""
        if message.message_hash in self._known:
            return True
        if len(self._known) >= self._limit:
            return False
        self._known.add(message.message_hash)
        queue = self._by_sender.get(message.sender)
        if queue is None:
            self._by_sender[message.sender] = deque([message])
            self._ready.put_nowait(message.sender)
        else:
            queue.append(message)
        return True

    async def next(self) -> DeviceMessage:
        """Wait for a message of a sender of whom none is being handled; call `done` with it afterwards."""
        sender = await self._ready.get()
        return self._by_sender[sender][0]

    def done(self, message: DeviceMessage) -> None:
        """Let the sender's next message have its turn."""
        self._known.discard(message.message_hash)
        queue = self._by_sender[message.sender]
        queue.popleft()
        if queue:
            self._ready.put_nowait(message.sender)
        else:
            del self._by_sender[message.sender]


class RateLimit:
    """How often each of many may do something: `burst` times at once, `per_s` in the long run."""

    def __init__(self, burst: float, per_s: float, monotonic: Callable[[], float], *, limit: int = MAX_RATES) -> None:
        self._burst = burst
        self._per_s = per_s
        self._monotonic = monotonic
        self._limit = limit
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, who: str) -> bool:
        """Count one more, and tell whether it is within the limit."""
        now_s = self._monotonic()
        left, counted_at_s = self._left.pop(who, (self._burst, now_s))
        left = min(self._burst, left + (now_s - counted_at_s) * self._per_s)
        is_allowed = left >= 1
        self._left[who] = left - 1 if is_allowed else left, now_s
        if len(self._left) > self._limit:
            self._left.popitem(last=False)
        return is_allowed
