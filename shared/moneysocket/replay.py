"""What makes a repeated frame visible, as far as version 0 allows: it has no counter, nonce or signature.

| a message                                                    | is refused as  |
|--------------------------------------------------------------|----------------|
| whose uuid was seen before                                   | `replayed`     |
| whose uuid is one of our own: it was sent back to us         | `reflected`    |
| older than the oldest uuid that had to be forgotten          | `too_old`      |
| whose timestamp is more than a day away from our clock       | `wrong_time`   |

Whoever relays a frame can change the first sixteen bytes of its text without the key, which is `{"timestamp": 16`:
the leading digits of the timestamp. Such a change moves it by months, which the last rule sees, and leaves the uuid
as it was. Clocks of peers that are wrong by hours do no harm.

One guard serves all connections of one seed: a frame recorded in one may be replayed in the next. To outlive its
process, `latest` is kept somewhere, and a new guard is made with it as `forgotten_until`.
"""

from __future__ import annotations

import heapq
import math
import uuid
from collections import deque

from shared.moneysocket.errors import FrameError

CAPACITY = 512
MAX_CLOCK_DIFFERENCE_S = 86_400.0


class ReplayGuard:
    """Remembers the uuids of one seed: `capacity` of the other end's and as many of our own."""

    def __init__(
        self,
        capacity: int = CAPACITY,
        max_difference_s: float = MAX_CLOCK_DIFFERENCE_S,
        *,
        forgotten_until: float = -1.0,
    ) -> None:
        self.latest = forgotten_until
        """The latest timestamp that was admitted, in Unix seconds by the other end's clock."""
        self._capacity = capacity
        self._max_difference_s = max_difference_s
        self._seen: set[bytes] = set()
        self._by_age: list[tuple[float, bytes]] = []
        self._forgotten_until = forgotten_until
        self._own: set[bytes] = set()
        self._own_in_order: deque[bytes] = deque()

    def sent(self, message_uuid: str) -> None:
        """Remember a message of ours."""
        key = _key(message_uuid)
        if key not in self._own:
            self._own.add(key)
            self._own_in_order.append(key)
            if len(self._own_in_order) > self._capacity:
                self._own.discard(self._own_in_order.popleft())

    def admit(self, message_uuid: str, timestamp: float, unix_s: float) -> None:
        """Take note of a message; raises FrameError with a code of the table above."""
        key = _key(message_uuid)
        if key in self._own:
            raise FrameError("reflected", "a message of our own was sent back to us")
        if key in self._seen:
            raise FrameError("replayed", "a message with this uuid was received before")
        timestamp = _double(timestamp)
        if not abs(timestamp - unix_s) <= self._max_difference_s:
            raise FrameError("wrong_time", "the timestamp of a message is too far from our clock")
        if timestamp <= self._forgotten_until:
            raise FrameError("too_old", "a message is older than what is remembered, so it may be a repetition")
        self._seen.add(key)
        self.latest = max(self.latest, timestamp)
        heapq.heappush(self._by_age, (timestamp, key))
        if len(self._by_age) > self._capacity:
            self._forgotten_until, oldest = heapq.heappop(self._by_age)
            self._seen.discard(oldest)


def _double(timestamp: float) -> float:
    """JSON has integers that no double holds."""
    try:
        return float(timestamp)
    except OverflowError:
        return math.inf


def _key(message_uuid: str) -> bytes:
    """Sixteen bytes, the same for every way to write a uuid."""
    return uuid.UUID(message_uuid).bytes
