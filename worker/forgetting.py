"""Forgets events that were kept long enough for every reader to come back; payments stay on record for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.store import events
from shared.store.errors import DatabaseBusyError

if TYPE_CHECKING:
    from worker.guard import Guard

logger = get_logger(__name__)

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How long events are kept, and how often old ones are looked for. Seconds."""

    kept_s: float = 2_592_000.0
    round_s: float = 600.0


class Forgetting:
    """The housekeeping of the stream of events, for one term of the lease."""

    def __init__(self, guard: Guard, retention: Retention) -> None:
        self._guard = guard
        self._retention = retention

    async def run(self) -> None:
        """Forget what is old, again and again. Runs forever; raises StoreError when database or lease are gone."""
        while True:
            try:
                await self._round()
            except DatabaseBusyError as error:
                logger.warning("events_not_forgotten", reason=str(error))
            await asyncio.sleep(self._retention.round_s)

    async def _round(self) -> None:
        while True:
            async with self._guard.transaction() as conn:
                forgotten = await events.forget(conn, self._retention.kept_s, limit=BATCH)
            if forgotten < BATCH:
                return
