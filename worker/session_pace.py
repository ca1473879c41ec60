"""How patient the worker is with hubs: as patient as the shortest timeout of a channel allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_LEAST_ANSWER_S = 5.0
"""A loaded machine and a far hub need this much."""


@dataclass(frozen=True, slots=True)
class SessionPace:
    """How patient the session is, in seconds."""

    retry_first_s: float = 0.5
    """The first pause after every hub has failed."""
    retry_longest_s: float = 30.0
    answer_s: float = 30.0
    """How long one answer may take."""
    set_aside_s: float = 900.0
    """How long a hub that lied comes after the others."""
    second_s: float = 300.0
    """How often all channels are read through another hub too: one that keeps something back can be found out so."""
    prefer_s: float = 300.0
    """How often a hub listed before the one in use is tried."""
    away_s: float = 100.0
    """Out of step with the ledger for longer than this is a reason for alarm."""
    slack_s: float = 60.0
    """By how much honest hubs may differ in what they know of the ledger."""
    compare_s: float = 60.0
    """How often the ledger's time is proven and the system variables are asked for, whatever the hub announces."""
    lag_s: float = 10.0
    """How long the hub in use may not know what another one has proven."""

    @classmethod
    def for_channels(cls, shortest_timeout_s: float, *, max_silence_s: float) -> Self:
        """Return a pace by which a closing is noticed, and answered, well within the shortest timeout of a channel.

        `max_silence_s`: after this long out of step the fronts stop; the alarm comes before.
        """
        usual = cls()
        return cls(
            second_s=min(usual.second_s, shortest_timeout_s / 6),
            lag_s=min(usual.lag_s, shortest_timeout_s / 40),
            answer_s=min(usual.answer_s, max(shortest_timeout_s / 10, _LEAST_ANSWER_S)),
            away_s=max_silence_s / 2,
        )
