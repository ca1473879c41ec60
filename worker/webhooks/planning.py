"""Follows the stream of events and writes down what is to be sent to which webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.events.horizon import Horizon
from shared.logs import get_logger
from shared.store import webhook_holding, webhook_planning

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.guard import Guard

logger = get_logger(__name__)

STEPS = 4
"""That one round plans held lanes on, for each webhook: new events do not wait for more."""


class Planning:
    """The planning of one term of the lease. `held_every_s`: held lanes are looked at this rarely."""

    def __init__(self, guard: Guard, *, clock: Callable[[], float], held_every_s: float = 0.0) -> None:
        self._guard = guard
        self._clock = clock
        self._horizon = Horizon()
        self._read_until: dict[int, tuple[int, int]] = {}
        """By webhook the place where it stood, and the number up to which there was nothing after it."""
        self._held_every_s = held_every_s
        self._looked_at_s = 0.0
        self._turn = 0
        self.has_held = False
        """Whether lanes were held when it was last looked: they are to be looked at again soon."""
        self.is_behind = False
        """Whether the last round has left something that could be planned on at once."""

    async def round(self) -> int:
        """Write down what is decided since the last time; return how many deliveries. Raises StoreError."""
        async with self._guard.reading() as conn:
            places = await webhook_planning.active(conn)
        self._read_until = {number: read for number, read in self._read_until.items() if number in places}
        held = [number for number, place in places.items() if place.has_held]
        self.has_held = bool(held)
        if not places:
            self.is_behind = False
            return 0
        decided = await self._horizon.look(self._guard.database)
        added = sum([await self._plan(number, place.position, decided) for number, place in places.items()])
        if self.is_behind or abs(self._clock() - self._looked_at_s) >= self._held_every_s:
            self._looked_at_s, self.is_behind = self._clock(), False
            added += sum([await self._plan_on(number) for number in held])
        return added

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

    async def _plan_on(self, webhook_id: int) -> int:
        """Plan held lanes on that may go on, a few steps."""
        added = 0
        for _ in range(STEPS):
            async with self._guard.reading() as conn:
                if not await webhook_holding.can_go_on(conn, webhook_id):
                    return added
            async with self._guard.transaction() as conn:
                planned = await webhook_holding.plan_on(conn, webhook_id, turn=self._turn, now=self._now())
            self._turn += 1
            added += planned.added
            if planned.has_skipped:
                logger.warning("webhook_events_forgotten", webhook_id=webhook_id)
            if planned.was_idle:
                return added
        self.is_behind = True
        return added

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
