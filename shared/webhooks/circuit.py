"""Whether it is worth calling a server that has not answered lately.

    closed ──several calls in a row unanswered──▶ open ──a pause──▶ one call ──answered──▶ closed
                                                   ▲                    └──unanswered── a longer pause ──┐
                                                   └─────────────────────────────────────────────────────┘

Any answer counts, one that refuses too: the question is whether waiting for one is worth the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

UNANSWERED = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0


class Circuit:
    """Counts calls that nobody answered. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float], *, unanswered: int = UNANSWERED) -> None:
        self._monotonic = monotonic
        self._limit = unanswered
        self._unanswered = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether nobody may call now."""
        return self._unanswered >= self._limit and self._monotonic() < self._next_at_s

    def admits(self) -> bool:
        """Tell whether a call may be made now. The caller then makes it: after a pause only one is admitted."""
        if self._unanswered < self._limit:
            return True
        now_s = self._monotonic()
        if now_s < self._next_at_s:
            return False
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._next_at_s = now_s + self._pause_s
        return True

    def answered(self) -> bool:
        """Note an answer; True if that closes the circuit."""
        was_broken = self._unanswered >= self._limit
        self._unanswered = 0
        return was_broken

    def failed(self) -> bool:
        """Note that there was no answer; True if that opens the circuit."""
        self._unanswered += 1
        if self._unanswered != self._limit:
            return False
        self._pause_s = FIRST_PAUSE_S
        self._next_at_s = self._monotonic() + self._pause_s
        return True
