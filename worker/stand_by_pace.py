"""How often a stand-by asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandByPace:
    """Intervals of a stand-by, in seconds."""

    ask_s: float = 0.5
    """For the lease, at least; at once when it is given up or has run out."""
    hubs_s: float = 60.0
    """Whether a hub answers."""
