"""Packages that wait for their batch, one payer like another: whoever sends many waits for his own, not others for him.

Payers take turns, and each has his packages taken in the order they came in. One payer may use up a part of the room
only: beyond it he is told to come back, while there is still room for others. A payer is a channel and who signs in it,
so a stranger who names somebody's channel takes none of his turns.

To sign costs nothing, and whoever makes up a signer for each package would have as many turns. So a turn of one's own
is for whoever has paid here before (`remember`, as many as `MOST_KNOWN`); all others share one, and half of the room.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

PAYERS_SHARE = 4
"""One payer may have a fourth of the room."""
STRANGERS_SHARE = 2
MOST_KNOWN = 65_536

Payer = tuple[str, str]
"""A channel, and who signs."""
_STRANGERS: Payer = ("", "")


class FairQueue(Generic[Item]):
    """What waits, by payer; never more than `most` in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_payer = max(1, most // PAYERS_SHARE)
        self._most_of_strangers = max(1, most // STRANGERS_SHARE)
        self._known: dict[Payer, None] = {}
        """Who has paid here before, in the order of their last payments."""
        self._waiting: dict[Payer, deque[Item]] = {}
        """By payer, in the order of their next turns."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def remember(self, payer: Payer) -> None:
        """Give who has paid a turn of his own from now on."""
        self._known.pop(payer, None)
        self._known[payer] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def add(self, payer: Payer, item: Item) -> bool:
        """Let one more wait. False: there is no room for it."""
        if self._count >= self._most:
            return False
        most = self._most_of_payer
        if payer not in self._known:
            payer, most = _STRANGERS, self._most_of_strangers
        waiting = self._waiting.get(payer)
        if waiting is None:
            self._waiting[payer] = deque((item,))
        elif len(waiting) >= most:
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
