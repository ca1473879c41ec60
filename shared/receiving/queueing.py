"""Packages that wait for their batch, one payer like another: whoever sends many waits for his own, not others for him.

Payers take turns, and each has his packages taken in the order they came in. One payer may use up a part of the room
only: beyond it he is told to come back, while there is still room for others. While others wait he may use up a part of
each batch, too: they wait for the whole batch they are in. A payer is a channel and who signs in it,
so a stranger who names somebody's channel takes none of his turns.

To sign costs nothing, and whoever makes up a signer for each package would have as many turns. So a turn of one's own
is for whoever has paid here before (`remember`, as many as `MOST_KNOWN`); all others share one, and half of the room.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

PAYERS_SHARE = 4
"""One payer may have a fourth of the room."""
PAYERS_TURNS = 8
"""One payer may have an eighth of a batch while others wait."""
STRANGERS_SHARE = 2
"""All strangers together may have half of both."""
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
        self._known: OrderedDict[Payer, None] = OrderedDict()
        """Who has paid here before, in the order of their last payments."""
        self._waiting: dict[Payer, deque[Item]] = {}
        """By payer, in the order of their next turns."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def remember(self, payer: Payer) -> None:
        """Give who has paid a turn of his own from now on."""
        self._known[payer] = None
        self._known.move_to_end(payer)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def has_room(self, payer: Payer) -> bool:
        """Whether one more of this payer may wait."""
        if self._count >= self._most:
            return False
        is_known = payer in self._known
        waiting = self._waiting.get(payer if is_known else _STRANGERS)
        return waiting is None or len(waiting) < (self._most_of_payer if is_known else self._most_of_strangers)

    def add(self, payer: Payer, item: Item) -> bool:
        """Let one more wait. False: there is no room for it."""
        if not self.has_room(payer):
            return False
        turn = payer if payer in self._known else _STRANGERS
        waiting = self._waiting.get(turn)
        if waiting is None:
            self._waiting[turn] = deque((item,))
        else:
            waiting.append(item)
        self._count += 1
        return True

    def take(self, most: int) -> list[Item]:
        """Return the next ones, at most so many."""
        share = max(1, most // PAYERS_TURNS)
        if most >= self._count and (len(self._waiting) <= 1 or max(map(len, self._waiting.values())) <= share):
            return self._take_all()
        return self._deal(most, share if len(self._waiting) > 1 else most)

    def _deal(self, most: int, share: int) -> list[Item]:
        taken: list[Item] = []
        had: dict[Payer, int] = {}
        served: dict[Payer, deque[Item]] = {}  # who has had his share of this batch, and has more that waits
        while self._waiting and len(taken) < most:
            payer = next(iter(self._waiting))
            waiting = self._waiting.pop(payer)
            taken.append(waiting.popleft())
            had[payer] = had.get(payer, 0) + 1
            if waiting:
                mine = max(share, most // STRANGERS_SHARE) if payer == _STRANGERS else share
                (self._waiting if had[payer] < mine else served)[payer] = waiting  # behind all others
        self._waiting |= served
        self._count -= len(taken)
        return taken

    def _take_all(self) -> list[Item]:
        taken = [item for waiting in self._waiting.values() for item in waiting]
        self._waiting.clear()
        self._count = 0
        return taken
