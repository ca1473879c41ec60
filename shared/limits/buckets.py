"""A bucket: use fills it, time drains it, and what does not fit has to wait. Pure.

A limit of N per period lets N through at once, and then one more each period/N: in any time t at most N + N·t/period.
Who keeps to the rate never waits. All that is kept is how long the bucket needs to drain (a "generic cell rate
algorithm"), so a bucket costs one number, here and in Redis.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """So many per period. `name`: stable, for keys and headers."""

    name: str
    most: float
    period_s: float = 1.0

    @property
    def is_on(self) -> bool:
        """Whether there is a limit at all."""
        return self.most > 0

    @property
    def one_s(self) -> float:
        """How long one use takes to drain."""
        return self.period_s / self.most

    @property
    def full_s(self) -> float:
        """How long a full bucket takes to drain. One use always fits into an empty one."""
        return max(self.period_s, self.one_s)


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
        # What a float loses must not keep out who keeps to the rate.
        over_s = max(self.drained_s, now_s) + limit.one_s - now_s - limit.full_s
        return over_s if over_s > 1e-9 * max(1.0, now_s) else 0.0

    def fill(self, limit: Limit, now_s: float) -> None:
        """Count one use, whether it fits or not."""
        self.drained_s = max(self.drained_s, now_s) + limit.one_s
        self.unshared += 1
