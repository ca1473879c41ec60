"""What a round comes to, and the median of several."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of load. CPU in µs and log in bytes per payment; latencies in ms."""

    what: str
    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    front_us: float
    postgres_us: float
    client_us: float
    wal_bytes: float
    spread: float = 0.0
    """How far the rounds lie apart in CPU of front and Postgres: (most - least) / median."""
    front_ratio: float | None = None
    """CPU of the front to the sum of its floors at as many connections."""
    postgres_ratio: float | None = None
    """CPU of Postgres to pgbench with the same writes, batched."""

    @property
    def cpu_us(self) -> float:
        """What a payment costs in all."""
        return self.front_us + self.postgres_us


_MEASURED = [field.name for field in fields(Row) if field.name.endswith(("_second", "_ms", "_us", "_bytes"))]


def median_row(rounds: Sequence[Row]) -> Row:
    """Return the row of medians, each figure by itself. Raises ValueError without any round."""
    if not rounds:
        raise ValueError("there is no round")
    medians = {name: statistics.median(getattr(row, name) for row in rounds) for name in _MEASURED}
    costs = [row.cpu_us for row in rounds]
    middle = statistics.median(costs)
    return replace(rounds[0], **medians, spread=(max(costs) - min(costs)) / middle if middle else 0.0)


def percentile_ms(latencies_s: Sequence[float], share: float) -> float:
    """Return the latency in milliseconds that `share` (0 to 1) of the answers kept to, 0 without answers."""
    if not latencies_s:
        return 0.0
    ordered = sorted(latencies_s)
    return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]
