"""Gives up channels that strangers have asked for and never paid into: each costs a look at the ledger every minute.

What was given up is still looked at, rarely and in turn, so that a deposit is found even if its payer never comes back.
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


class GivingUp:
    """The housekeeping of unfunded channels, for one term of the lease."""

    def __init__(self, guard: Guard, watcher: Watcher, patience: Patience) -> None:
        self._guard = guard
        self._watcher = watcher
        self._patience = patience
        self._last_looked_at = ""

    async def run(self) -> None:
        """Give up what is idle, again and again. Runs forever; raises StoreError when database or lease are gone."""
        while True:
            try:
                await self._give_up()
                await self._look_again()
            except DatabaseBusyError as error:
                logger.warning("channels_not_given_up", reason=str(error))
            await asyncio.sleep(self._patience.round_s)

    async def _give_up(self) -> None:
        if self._patience.expiry_s is None:
            return
        while True:
            async with self._guard.transaction() as conn:
                gone = await unfunded.give_up(conn, self._patience.expiry_s, limit=BATCH)
            self._watcher.forget(gone)
            if gone:
                logger.info("channels_given_up", channels=len(gone))
            if len(gone) < BATCH:
                return

    async def _look_again(self) -> None:
        """Let the watcher look at the next few of those that were given up."""
        async with self._guard.reading() as conn:
            page = await unfunded.given_up(conn, self._last_looked_at, limit=LOOK_BATCH)
        self._last_looked_at = page[-1] if len(page) == LOOK_BATCH else ""
        self._watcher.look_at(page)
