"""From what one payment costs to cores and disks."""

from __future__ import annotations

import math
from dataclasses import dataclass

BUSY = 0.5
"""The share of a core that is planned with: the rest is for peaks, and for what is down."""
_YEAR_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Demand:
    """So many payments per second, all year, and what each costs."""

    per_s: float
    front_us: float
    postgres_us: float
    disk_bytes: float
    wal_bytes: float


@dataclass(frozen=True, slots=True)
class Need:
    """What that takes. Disk: one copy of a year, without the log."""

    front_cores: int
    postgres_cores: int
    log_mb_per_s: float
    disk_tb_per_year: float


def needs(demand: Demand) -> Need:
    """Return it."""
    return Need(
        math.ceil(demand.per_s * demand.front_us / 1e6 / BUSY),
        math.ceil(demand.per_s * demand.postgres_us / 1e6 / BUSY),
        demand.per_s * demand.wal_bytes / 1e6,
        demand.per_s * demand.disk_bytes * _YEAR_S / 1e12,
    )
