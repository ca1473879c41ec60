"""What time it is on the ledger, whatever this machine's clock says.

Three sources. Our own clock, which may be wrong. The order providers' timestamps: a time that a majority of them has
signed at or after has passed, so a clock below it is late. And the hub's word, which nobody vouches for: it is taken
where our clock is known to be late, but only for a little after what is proven, and where our clock is ahead of it, but
never for less than what is proven. A hub that lies about it can make us think that less time has passed since a unit
was made, or some minutes more, and nothing else: proofs are held against what was proven before.

Between two readings time is counted by a monotonic clock. When our own clock was set meanwhile, or the machine slept,
the hub's word is void until it is asked again; what is proven stays a time that has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE_S = 20.0
"""Proofs allow our clock to be this late without any correction (`history.CLOCK_TOLERANCE_S`)."""
PROVIDERS_PAUSE_S = 300.0
"""What is proven may be this old: order providers write only when there is something to order."""
AHEAD_S = 300.0
"""A hub's clock may be this far ahead of what we take for the time."""


class LedgerClock:
    """The ledger's time in seconds since 1970."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._proven_offset_s: float | None = None
        self._told_offset_s: float | None = None
        self._own_offset_s = 0.0

    def now_s(self) -> float:
        """Return the corrected time: our own clock's, unless that is known to be wrong."""
        own_s, proven_s, told_s = self._clock(), self.proven_s(), self._told_s()
        if proven_s is not None and proven_s > own_s + TOLERANCE_S:
            return proven_s if told_s is None else max(proven_s, min(told_s, proven_s + PROVIDERS_PAUSE_S))
        if told_s is not None and told_s < own_s - TOLERANCE_S:
            return told_s if proven_s is None else max(told_s, proven_s)
        return own_s

    def off_s(self) -> float:
        """Return how far our own clock is ahead of the corrected time; below 0 it is late."""
        return self._clock() - self.now_s()

    def proven_s(self) -> float | None:
        """Return a time that has certainly passed; None before the first proof."""
        return None if self._proven_offset_s is None else self._proven_offset_s + self._monotonic()

    def proven(self, time_s: float) -> None:
        """Note a time that a majority of the order providers has signed at or after."""
        offset_s = time_s - self._monotonic()
        if self._proven_offset_s is None or offset_s > self._proven_offset_s:
            self._proven_offset_s = offset_s

    def told(self, time_s: float) -> None:
        """Note what the hub says the time is now."""
        self._told_offset_s = time_s - self._monotonic()
        self._own_offset_s = self._clock() - self._monotonic()

    def another_hub(self) -> None:
        """Forget what the last hub has said."""
        self._told_offset_s = None

    def _told_s(self) -> float | None:
        monotonic_s = self._monotonic()
        was_set = abs(self._clock() - monotonic_s - self._own_offset_s) > TOLERANCE_S
        return None if self._told_offset_s is None or was_set else self._told_offset_s + monotonic_s
