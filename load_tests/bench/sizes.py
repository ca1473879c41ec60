"""How much is measured: everything, or what fits into two minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def table_name(channels: int) -> str:
    """Return how the rows over a table of so many channels are called."""
    return f"{channels:,} channel{'s' if channels > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Size:
    """`payments`: of a round, by connections. `tables`: how many channels each has; `main`: the one of all else."""

    rounds: int
    tables: Sequence[int]
    main: int
    most_payers: int
    payments: Mapping[int, int]
    side: Sequence[int]
    """Connections at which the other tables, and what is compared with the main one, are measured."""
    few: Sequence[int]
    """Connections at which refusals are."""
    floor_calls: int
    pgbench_s: float
    pgbench_begins_s: float = 1.0
    """Until then pgbench makes its connections and plans its statements."""
    only: Sequence[str] = ()
    """Parts of the names of what is measured; everything without any. Floors are always."""

    @property
    def wanted_tables(self) -> Sequence[int]:
        """The tables that have to be there."""
        return tuple(count for count in self.tables if count == self.main or self.wants(table_name(count)))

    def wants(self, what: str) -> bool:
        """Whether it is to be measured."""
        return not self.only or any(part in what for part in self.only)

    @property
    def connections(self) -> Sequence[int]:
        """All connections, the fewest first."""
        return tuple(self.payments)


FULL = Size(
    rounds=5,
    tables=(1, 100, 10_000, 1_000_000),
    main=10_000,
    most_payers=20_000,
    payments={1: 400, 8: 1_500, 32: 3_000, 128: 4_000, 512: 6_000},
    side=(1, 8, 32, 128, 512),
    few=(32, 128),
    floor_calls=2_000,
    pgbench_s=3.0,
)

QUICK = Size(
    rounds=3,
    tables=(100, 10_000, 100_000),
    main=10_000,
    most_payers=2_000,
    payments={1: 100, 8: 400, 32: 1_000, 128: 1_500, 512: 2_000},
    side=(32, 128),
    few=(32,),
    floor_calls=1_000,
    pgbench_s=1.0,
    pgbench_begins_s=0.5,
)

SMOKE = Size(
    rounds=1,
    tables=(20,),
    main=20,
    most_payers=10,
    payments={2: 20, 32: 64},
    side=(32,),
    few=(32,),
    floor_calls=5,
    pgbench_s=0.1,
    pgbench_begins_s=0.2,
    only=("20 channels", "one hot channel", "duplicates", "bad signatures", "over credit"),
)
"""Shows that it works, and nothing else: without what needs servers of its own."""
