"""How long a BTP client waits before it dials again.

At once, after 100 ms, 500 ms, 1 s, 2 s, 5 s, and then every 5 s for ever; from the beginning again once ten seconds
have passed since the last failure. Each wait is up to a fifth longer, so that peers of a server that went away do not
all come back in one moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_WAITS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
DEFAULT_CLEAR_S = 10.0
JITTER = 0.2


@dataclass(slots=True)
class Reconnecting:
    """The waits of one client. `random` gives numbers from 0 to 1; times are seconds that never go back."""

    random: Callable[[], float]
    waits_s: tuple[float, ...] = DEFAULT_WAITS_S
    clear_s: float = DEFAULT_CLEAR_S
    _failures: int = 0
    _failed_at_s: float | None = None

    def failed(self, now_s: float) -> float:
        """Return for how many seconds to wait, now that a connection was lost or could not be made."""
        if self._failed_at_s is not None and now_s - self._failed_at_s >= self.clear_s:
            self._failures = 0
        wait_s = self.waits_s[min(self._failures, len(self.waits_s) - 1)]
        self._failures += 1
        self._failed_at_s = now_s
        return wait_s * (1 + JITTER * self.random())
