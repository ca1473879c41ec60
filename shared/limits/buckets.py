"""A bucket: use fills it, time drains it, and what does not fit has to wait. Pure.

A limit of N per period lets N through at once, and then one more each period/N: in any time t at most N + N·t/period.
Who keeps to the rate never waits. All that is kept is how long the bucket needs to drain (a "generic cell rate
algorithm"), so a bucket costs one number, here and in Redis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limit:
    """So many per period. `name`: stable, for keys and headers."""

    name: str
    most: float
    period_s: float = 1.0
    is_on: bool = field(init=False, repr=False)
    """Whether there is a limit at all."""
    one_s: float = field(init=False, repr=False)
    """How long one use takes to drain."""
    full_s: float = field(init=False, repr=False)
    """How long a full bucket takes to drain. One use always fits into an empty one."""

    def __post_init__(self) -> None:
        one_s = self.period_s / self.most if self.most > 0 else math.inf
        object.__setattr__(self, "is_on", self.most > 0)
        object.__setattr__(self, "one_s", one_s)
        object.__setattr__(self, "full_s", max(self.period_s, one_s))


class Bucket:
    """What one of those who are limited has used. Times are seconds of any clock that only grows."""

    __slots__ = ("drained_s", "unshared")

    def __init__(self) -> None:
        self.drained_s = 0.0
        """When the bucket will be empty, if nobody uses it any more."""
        self.unshared = 0
        """Uses that the other processes have not been told of."""

    def wait_s(self, limit: Limit, now_s: float) -> float:
        """How long until one more fits; 0 if it does now."""
        if self.drained_s <= now_s:
            return 0.0
        # What a float loses must not keep out who keeps to the rate.
        over_s = self.drained_s + limit.one_s - now_s - limit.full_s
        return over_s if over_s > 1e-9 * max(1.0, now_s) else 0.0

    def fill(self, limit: Limit, now_s: float) -> None:
        """Count one use, whether it fits or not."""
        self.drained_s = max(self.drained_s, now_s) + limit.one_s
        self.unshared += 1
