"""When which of many timers is due at the earliest: one heap, one entry per key however often a timer is moved."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = TypeVar("Key")

_SLACK = 64


class Timetable(Generic[Key]):
    """Timers by key. A timer that was moved to later is looked at once in vain."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Key]] = []
        self._planned: dict[Key, float] = {}
        self._count = itertools.count()

    @property
    def next_s(self) -> float | None:
        """When to look again at the latest."""
        return self._heap[0][0] if self._heap else None

    def plan(self, key: Key, when_s: float | None) -> None:
        """Look at `key` at `when_s`, or before that, if so planned already; None plans nothing."""
        if when_s is not None and when_s < self._planned.get(key, float("inf")):
            self._planned[key] = when_s
            heapq.heappush(self._heap, (when_s, next(self._count), key))

    def forget(self, key: Key) -> None:
        """Plan nothing for `key` any more. What is left of it goes when most of the heap is such remains."""
        self._planned.pop(key, None)
        if len(self._heap) > _SLACK + 2 * len(self._planned):
            self._heap = [entry for entry in self._heap if self._planned.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def due(self, now_s: float) -> Iterator[Key]:
        """The keys to look at; each is to be planned anew."""
        while self._heap and self._heap[0][0] <= now_s:
            when_s, _, key = heapq.heappop(self._heap)
            if self._planned.get(key) == when_s:
                del self._planned[key]
                yield key
