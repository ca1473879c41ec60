"""Gives up channels that strangers have asked for and never paid into: each costs a look at the ledger every minute.

What was given up is still looked at, rarely and in turn, so that a deposit is found even if its payer never comes back.

How many may wait is limited, and asking costs nothing: whoever asks for as many as there may be must not keep others
out for as long as we are patient. When room gets scarce those that have waited longest are given up early.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.store import unfunded
from shared.store.errors import DatabaseBusyError

if TYPE_CHECKING:
    from worker.guard import Guard
    from worker.watcher import Watcher

logger = get_logger(__name__)

BATCH = 500
LOOK_BATCH = 200


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a channel may wait for its first deposit, and how often that is looked at. Seconds."""

    expiry_s: float | None = 604_800.0
    """None: for ever."""
    round_s: float = 600.0
    most: int | None = None
    """How many may wait before more are refused. When three quarters of that do, room is made for half of it."""
    least_s: float = 600.0
    """So long each may wait even then: a deposit is seen seconds after it was posted."""
    crowded_round_s: float = 15.0


class GivingUp:
    """The housekeeping of unfunded channels, for one term of the lease."""

    def __init__(self, guard: Guard, watcher: Watcher, patience: Patience) -> None:
        self._guard = guard
        self._watcher = watcher
        self._patience = patience
        self._last_looked_at = ""

    async def run(self) -> None:
        """Give up what is idle, again and again. Runs forever; raises StoreError when database or lease are gone."""
        loop, patience, due_s = asyncio.get_running_loop(), self._patience, 0.0
        while True:
            try:
                if loop.time() >= due_s:
                    due_s = loop.time() + patience.round_s
                    if patience.expiry_s is not None:
                        await self._give_up(patience.expiry_s)
                    await self._look_again()
                if patience.expiry_s is not None and patience.most is not None:
                    await self._make_room(patience.most)
            except DatabaseBusyError as error:
                logger.warning("channels_not_given_up", reason=str(error))
            await asyncio.sleep(min(patience.round_s, patience.crowded_round_s))

    async def _make_room(self, most: int) -> None:
        async with self._guard.reading() as conn:
            waiting = await unfunded.waiting(conn)
        if waiting >= most - most // 4:
            logger.warning("channels_crowded", waiting=waiting, most=most)
            await self._give_up(self._patience.least_s, at_most=waiting - most // 2)

    async def _give_up(self, after_s: float, at_most: int | None = None) -> None:
        left = at_most
        while left is None or left > 0:
            limit = BATCH if left is None else min(BATCH, left)
            async with self._guard.transaction() as conn:
                gone = await unfunded.give_up(conn, after_s, limit=limit)
            self._watcher.forget(gone)
            if gone:
                logger.info("channels_given_up", channels=len(gone))
            if len(gone) < limit:
                return
            left = None if left is None else left - len(gone)

    async def _look_again(self) -> None:
        """Let the watcher look at the next few of those that were given up."""
        async with self._guard.reading() as conn:
            page = await unfunded.given_up(conn, self._last_looked_at, limit=LOOK_BATCH)
        self._last_looked_at = page[-1] if len(page) == LOOK_BATCH else ""
        self._watcher.look_at(page)
