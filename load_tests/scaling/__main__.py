"""`python -m load_tests.scaling`: what a payment costs the database as it grows, and how many machines that makes."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from load_tests.scaling.arithmetic import Demand, needs
from load_tests.scaling.growth import BATCH, Cost, Sizes, measure

RESULTS = Path(__file__).parent.parent / "results"
BENCH = RESULTS / "latest.json"
HERE = RESULTS / "scaling.json"
_RATES = (100, 1_000, 5_000, 20_000)


def main(
    rows: Annotated[list[int] | None, typer.Option("--rows", help="Payments on record, one after the other.")] = None,
    count: Annotated[int, typer.Option("--count", help="Payments that are measured each time.")] = 16_000,
    *,
    arithmetic: Annotated[bool, typer.Option("--arithmetic", help="Only count, from figures measured before.")] = False,
) -> None:
    """Measure, then count. The second half needs `make bench QUICK=1` on the same machine before.

    Example: python -m load_tests.scaling --rows 0 --rows 1000000 --rows 5000000
    """
    console = Console()
    if not arithmetic:
        with tempfile.TemporaryDirectory(prefix="sluice-scaling-") as home:
            costs, sizes = asyncio.run(measure(Path(home), rows or [0, 1_000_000], count, console.print))
        HERE.parent.mkdir(parents=True, exist_ok=True)
        HERE.write_text(
            json.dumps({"costs": [asdict(cost) for cost in costs], "sizes": asdict(sizes)}, indent=1) + "\n"
        )
    measured = json.loads(HERE.read_text())
    _show_growth(console, [Cost(**cost) for cost in measured["costs"]])
    if BENCH.exists():
        _show_machines(console, measured, json.loads(BENCH.read_text()))
    else:
        console.print("run `make bench QUICK=1` first, then this with --arithmetic")


def _show_growth(console: Console, costs: list[Cost]) -> None:
    table = Table(title=f"one payment in batches of {BATCH}, 1.00: with no other on record")
    for column in ("payments on record", "where", "CPU of Postgres", "time", "log (bytes)"):
        table.add_column(column, justify="right")
    first = costs[0]
    for cost in costs:
        times = [f"{cost.postgres_us / first.postgres_us:.2f}", f"{cost.wall_us / first.wall_us:.2f}"]
        table.add_row(f"{cost.rows:,}", cost.place, *times, f"{cost.wal_bytes:,.0f}")
    console.print(table)


def _show_machines(console: Console, measured: dict[str, Any], bench: dict[str, Any]) -> None:
    [row] = [row for row in bench["rows"] if row["connections"] == BATCH and row["what"].endswith("channels")][:1]
    sizes = Sizes(**measured["sizes"])
    wal = measured["costs"][0]["wal_bytes"]
    console.print(
        f"front {row['front_us']:.0f} µs, Postgres {row['postgres_us']:.0f} µs of CPU per payment; on disk "
        f"{sizes.row:.0f} + {sizes.indexes:.0f} bytes, log {wal:.0f} bytes"
    )
    table = Table(title="what so many payments per second need, all day, with every core half idle")
    for column in ("payments/s", "cores for fronts", "cores for Postgres", "log MB/s", "disk TB/year"):
        table.add_column(column, justify="right")
    for rate in _RATES:
        need = needs(Demand(rate, row["front_us"], row["postgres_us"], sizes.row + sizes.indexes, wal))
        table.add_row(
            f"{rate:,}", f"{need.front_cores}", f"{need.postgres_cores}", f"{need.log_mb_per_s:.1f}",
            f"{need.disk_tb_per_year:.2f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
