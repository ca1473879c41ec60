"""Up to which number it is decided which events there are, for readers that come back again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.store import events

if TYPE_CHECKING:
    from shared.store.database import Database

_PAUSES_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


class Horizon:
    """One reader's knowledge of what is decided. It grows, and never waits for long.

    As long as some transaction stays open, the horizon stays where it was.
    """

    def __init__(self) -> None:
        self._decided = -1
        self._open: tuple[int, int] | None = None

    async def look(self, database: Database) -> int:
        """Return a number up to which every event is committed or will never be; -1 while none is known.

        Raises StoreError.
        """
        for pause_s in _PAUSES_S:
            if await self._is_closed(database):
                break
            await asyncio.sleep(pause_s)
        return self._decided

    async def _is_closed(self, database: Database) -> bool:
        # Each a statement of its own: see `shared.store.events`.
        async with database.connection() as conn:
            if self._open is None:
                newest = await events.newest_id(conn)
                if newest == self._decided:
                    return True
                self._open = (newest, await events.barrier(conn))
            newest, barrier = self._open
            if await events.oldest_running(conn) < barrier:
                return False
        self._decided, self._open = newest, None
        return True
