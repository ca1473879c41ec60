"""Follows the stream of events and writes down what is to be sent to which webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.events.horizon import Horizon
from shared.logs import get_logger
from shared.store import webhook_planning

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.guard import Guard

logger = get_logger(__name__)


class Planning:
    """The planning of one term of the lease."""

    def __init__(self, guard: Guard, *, clock: Callable[[], float]) -> None:
        self._guard = guard
        self._clock = clock
        self._horizon = Horizon()
        self._read_until: dict[int, tuple[int, int]] = {}
        """By webhook the place where it stood, and the number up to which there was nothing after it."""

    async def round(self) -> int:
        """Write down what is decided since the last time; return how many deliveries. Raises StoreError."""
        async with self._guard.reading() as conn:
            places = await webhook_planning.active(conn)
        self._read_until = {number: read for number, read in self._read_until.items() if number in places}
        if not places:
            return 0
        decided = await self._horizon.look(self._guard.database)
        return sum([await self._plan(number, place, decided) for number, place in places.items()])

    async def _plan(self, webhook_id: int, position: int, decided: int) -> int:
        if self._read_until.get(webhook_id) == (position, decided):
            return 0
        added = 0
        while True:
            async with self._guard.transaction() as conn:
                planned = await webhook_planning.plan(conn, webhook_id, until=decided, now=self._now())
            if planned.has_skipped:
                logger.warning("webhook_events_forgotten", webhook_id=webhook_id, after=planned.position)
            added += planned.added
            if planned.is_full:
                return added
            if planned.is_last:
                self._read_until[webhook_id] = (planned.position, decided)
                return added

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
