"""Reasons for alarm, from whoever finds them to those who look: the log at once, the metric, the database.

Raising an alarm never fails and never waits: it must not stop the one who finds the reason. The table follows as soon
as the database can be written, and only then are those told who follow the events; what it holds from an earlier term
is taken over, so that nothing is announced twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.logs import get_logger
from shared.store import alarms
from shared.store.alarms import AlarmKind
from worker.metrics import ALARMS
from worker.pacing import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.guard import Guard

logger = get_logger(__name__)

MAX_SUBJECT_CHARACTERS = 200
_LEVELS = {"warning": logging.WARNING, "critical": logging.CRITICAL}


@dataclass(slots=True)
class _Standing:
    facts: dict[str, Any] = field(default_factory=dict)
    is_written: bool = False


class Alarms:
    """The alarms of one term of the lease. `on_written` is called when the stream of events has them."""

    def __init__(self, guard: Guard, on_written: Callable[[], None] = lambda: None) -> None:
        self._guard = guard
        self._on_written = on_written
        self._standing: dict[tuple[AlarmKind, str], _Standing] = {}
        self._gone: set[tuple[AlarmKind, str]] = set()
        self._bell = Bell()

    def raise_(self, kind: AlarmKind, subject: str = "", **facts: str | float | None) -> None:
        """There is a reason for alarm; logged when it is new. Renewed facts replace the old ones."""
        key = (kind, subject[:MAX_SUBJECT_CHARACTERS])
        known = self._standing.get(key)
        if known is None:
            logger.log(_LEVELS[kind.severity], "alarm_raised", kind=kind.value, subject=key[1], **facts)
        elif known.facts == facts:
            return
        self._gone.discard(key)
        self._standing[key] = _Standing(facts)
        self._changed()

    def clear(self, kind: AlarmKind, subject: str = "") -> None:
        """The reason is gone; nothing happens if there was none."""
        key = (kind, subject[:MAX_SUBJECT_CHARACTERS])
        if self._standing.pop(key, None) is None:
            return
        logger.info("alarm_cleared", kind=kind.value, subject=key[1])
        self._gone.add(key)
        self._changed()

    def subjects(self, kind: AlarmKind) -> frozenset[str]:
        """What there is an alarm of this kind about."""
        return frozenset(subject for known, subject in self._standing if known is kind)

    async def load(self) -> None:
        """Take over what an earlier term has left standing. Raises StoreError."""
        async with self._guard.reading() as conn:
            for alarm in await alarms.active(conn):
                self._standing.setdefault((alarm.kind, alarm.subject), _Standing(alarm.facts, is_written=True))
        self._count()

    async def run(self) -> None:
        """Write changes to the database. Runs forever; raises StoreError when it or the lease is gone."""
        while True:
            await self._bell.sleep(None)
            await self.write()

    async def write(self) -> None:
        """Write what has changed since the last time."""
        # Taken before the wait: what changes meanwhile is written the next time.
        new = {key: standing for key, standing in self._standing.items() if not standing.is_written}
        gone = frozenset(self._gone)
        if not new and not gone:
            return
        async with self._guard.transaction() as conn:
            for (kind, subject), standing in new.items():
                await alarms.put(conn, kind, subject, standing.facts)
            for kind, subject in gone:
                await alarms.clear(conn, kind, subject)
        for standing in new.values():
            standing.is_written = True
        self._gone -= gone
        self._on_written()

    def _changed(self) -> None:
        self._count()
        self._bell.ring()

    def _count(self) -> None:
        for kind in AlarmKind:
            count = sum(1 for known, _ in self._standing if known is kind)
            ALARMS.labels(kind=kind.value, severity=kind.severity).set(count)
