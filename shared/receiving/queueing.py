"""Packages that wait for their batch, one payer like another: whoever sends many waits for his own, not others for him.

Payers take turns, and each has his packages taken in the order they came in. One payer may use up a part of the room
only: beyond it he is told to come back, while there is still room for others. A payer is a channel and who signs in it,
so a stranger who names somebody's channel takes none of his turns.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

PAYERS_SHARE = 4
"""One payer may have a fourth of the room."""


class FairQueue(Generic[Item]):
    """What waits, by payer; never more than `most` in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_payer = max(1, most // PAYERS_SHARE)
        self._waiting: dict[tuple[str, str], deque[Item]] = {}
        """By payer, in the order of their next turns."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, payer: tuple[str, str], item: Item) -> bool:
        """Let one more wait. False: there is no room for it."""
        if self._count >= self._most:
            return False
        waiting = self._waiting.get(payer)
        if waiting is None:
            self._waiting[payer] = deque((item,))
        elif len(waiting) >= self._most_of_payer:
            return False
        else:
            waiting.append(item)
        self._count += 1
        return True

    def take(self, most: int) -> list[Item]:
        """Return the next ones, at most so many."""
        if most >= self._count:
            return self._take_all()
        taken: list[Item] = []
        while len(taken) < most:
            payer = next(iter(self._waiting))
            waiting = self._waiting.pop(payer)
            taken.append(waiting.popleft())
            if waiting:
                self._waiting[payer] = waiting  # behind all others
        self._count -= len(taken)
        return taken

    def _take_all(self) -> list[Item]:
        taken = [item for waiting in self._waiting.values() for item in waiting]
        self._waiting.clear()
        self._count = 0
        return taken
