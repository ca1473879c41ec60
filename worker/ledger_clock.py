"""The ledger's time for the vault: `shared.obyte.ledger_clock`, and an alarm while our own clock is far from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte import ledger_clock
from shared.obyte.ledger_clock import TOLERANCE_S
from shared.store.alarms import AlarmKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.alarms import Alarms

_FACTS_STEP_S = 10


class LedgerClock(ledger_clock.LedgerClock):
    """The ledger's time in seconds since 1970; raises `clock_differs` while our own clock is far from it."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float], alarms: Alarms) -> None:
        super().__init__(clock, monotonic)
        self._alarms = alarms

    def proven(self, time_s: float) -> None:
        """Note a time that a majority of the order providers has signed at or after."""
        super().proven(time_s)
        self._judge()

    def told(self, time_s: float) -> None:
        """Note what the hub says the time is now."""
        super().told(time_s)
        self._judge()

    def _judge(self) -> None:
        off_s = self.off_s()
        if abs(off_s) > TOLERANCE_S:
            seconds = _FACTS_STEP_S * round(abs(off_s) / _FACTS_STEP_S)
            self._alarms.raise_(AlarmKind.CLOCK_DIFFERS, seconds=seconds, is_late=off_s < 0)
        else:
            self._alarms.clear(AlarmKind.CLOCK_DIFFERS)
