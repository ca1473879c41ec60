"""Moves the payments of finished periods to the archive, and drops months that need not be kept.

What takes payments stays small that way, however long a receiver lives (`docs/scaling.md`). Each step is one short
transaction under the lease: cut off anywhere, a payment is in one place or in the other.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.store import archive
from shared.store.errors import DatabaseBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.guard import Guard

logger = get_logger(__name__)

CHANNELS = 500
BATCH = 1_000
_LONGEST_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long payments stay where they came in, and how long at all. Seconds; None: for ever."""

    archive_after_s: float | None = None
    """After the end of their period."""
    retention_s: float | None = None
    round_s: float = 600.0


class Archiving:
    """The housekeeping of payments, for one term of the lease."""

    def __init__(self, guard: Guard, keeping: Keeping, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._guard = guard
        self._keeping = keeping
        self._monotonic = monotonic

    async def run(self) -> None:
        """Go through the channels again and again. Runs forever; raises StoreError when database or lease are gone."""
        while True:
            try:
                await self.round()
            except DatabaseBusyError as error:
                logger.warning("payments_not_archived", reason=str(error))
            await asyncio.sleep(self._keeping.round_s)

    async def round(self) -> None:
        """Go through the channels once. Raises StoreError."""
        if self._keeping.archive_after_s is None:
            return
        async with self._guard.reading() as conn:
            if not await archive.may_move(conn):
                return
        await self._move(self._keeping.archive_after_s)
        if self._keeping.retention_s is not None:
            await self._drop(self._keeping.retention_s)

    async def _move(self, after_s: float) -> None:
        after, moved = "", 0
        while True:
            began_s = self._monotonic()
            async with self._guard.transaction() as conn:
                step = await archive.move(conn, after, after_s, channels=CHANNELS, limit=BATCH)
            moved += step.payments
            if step.last_channel is None:
                break
            if step.payments < BATCH:
                after = step.last_channel
            # Half of the time at most: those who pay come first.
            await asyncio.sleep(min(self._monotonic() - began_s, _LONGEST_REST_S))
        if moved:
            logger.info("payments_archived", payments=moved)

    async def _drop(self, retention_s: float) -> None:
        while True:
            async with self._guard.transaction() as conn:
                month = await archive.drop_month(conn, retention_s)
            if month is None:
                return
            logger.info("payments_dropped", month=f"{month:%Y-%m}")
