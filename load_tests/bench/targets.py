"""What the figures are held to: ratios of one run, so they mean the same on any machine. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from load_tests.bench.plans import (
    BAD_SIGNATURES,
    DUPLICATES,
    ONE_COMMIT,
    OVER_CREDIT,
    THREE_FRONTS,
)
from load_tests.bench.sizes import table_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from load_tests.bench.rows import Row

BUSY = 32
"""From so many concurrent payments on a front is busy: commits and wake-ups are shared then."""
FRONT_LIMIT = 1.3
POSTGRES_LIMIT = 0.15
RATE_LIMIT = 4.0
GROWTH_LIMIT = 1.15


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio and its limit; `name` says whether it is to be at most or at least that."""

    name: str
    value: float
    limit: float
    ok: bool


def with_ratios(rows: Sequence[Row], floors: Mapping[str, float]) -> list[Row]:
    """Return the rows with their ratios to the floors, where those were measured."""
    return [
        replace(row, front_ratio=_over(row.front_us, front_floor_us(floors, row.connections)),
                postgres_ratio=_over(row.postgres_us, floors.get("pgbench_batch_us")))
        for row in rows
    ]  # fmt: skip


def front_floor_us(floors: Mapping[str, float], connections: int) -> float | None:
    """Return what no front can do without: one signature, one hash, one HTTP request at so many at a time."""
    bare = floors.get(f"asgi_us_{connections}")
    return None if bare is None else floors["verify_us"] + floors["hash_us"] + bare


def targets(rows: Sequence[Row], floors: Mapping[str, float], tables: Sequence[int], main: int) -> list[Target]:
    """Compare. Of several numbers of connections the worst counts; what was not measured makes no target."""
    found = {(row.what, row.connections): row for row in rows}
    of_main = [row for row in rows if row.what == table_name(main)]
    busy = [row for row in of_main if row.connections >= BUSY]

    def against(what: str, base: str, figure: Callable[[Row], float], least: int = BUSY) -> list[float]:
        return [
            figure(row) / figure(other)
            for (name, connections), row in found.items()
            if name == what and connections >= least and (other := found.get((base, connections))) is not None
        ]

    few, many = min((count for count in tables if count > 1), default=1), max(tables)
    name = table_name(main)
    best = max((row.per_second for row in of_main), default=0.0)
    best_of_design = max((row.per_second for row in rows if row.what == ONE_COMMIT), default=0.0)
    return [
        *at_most(
            f"CPU of the front, {BUSY} and more at a time ÷ (verify + hash + bare ASGI)", FRONT_LIMIT,
            (row.front_ratio for row in busy if row.front_ratio is not None),
        ),
        *at_most(
            f"CPU of Postgres, {BUSY} and more at a time ÷ pgbench, one commit each", POSTGRES_LIMIT,
            (row.postgres_us / floors["pgbench_one_us"] for row in busy if "pgbench_one_us" in floors),
        ),
        *at_least(
            "payments/s of one front ÷ the one-commit-each design, each at its best", RATE_LIMIT,
            [best / best_of_design] if best_of_design else [],
        ),
        *at_most(
            f"cost per payment, {table_name(many)} ÷ {table_name(few)}", GROWTH_LIMIT,
            against(table_name(many), table_name(few), _cost) if many > few else [],
        ),
        *at_least(
            "payments/s of 3 fronts ÷ 1 front", 1.0, against(THREE_FRONTS, name, lambda row: row.per_second, least=2)
        ),
        *at_most("cost of a duplicate ÷ an accepted package", 1.0, against(DUPLICATES, name, _cost, least=2)),
        *at_most("cost of a bad signature ÷ an accepted package", 1.0, against(BAD_SIGNATURES, name, _cost, least=2)),
        *at_most("cost of a package over credit ÷ an accepted one", 1.0, against(OVER_CREDIT, name, _cost, least=2)),
    ]  # fmt: skip


def _cost(row: Row) -> float:
    return row.cpu_us


def _over(figure: float, floor: float | None) -> float | None:
    return figure / floor if floor else None


def at_most(name: str, limit: float, values: Iterable[float]) -> list[Target]:
    """Return a target that the greatest value has to keep; none without values."""
    worst = max(values, default=None)
    return [] if worst is None else [Target(f"{name}, at most", worst, limit, worst <= limit)]


def at_least(name: str, limit: float, values: Iterable[float]) -> list[Target]:
    """Return a target that the least value has to keep; none without values."""
    worst = min(values, default=None)
    return [] if worst is None else [Target(f"{name}, at least", worst, limit, worst >= limit)]
