"""The benchmark's command: `python -m load_tests.bench [--quick] [--json FILE]`."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from load_tests.bench.floors import hash_us, signature_check_us, verification_us
from load_tests.bench.load import send
from load_tests.bench.machine import Machine, machine
from load_tests.bench.payers import BenchPayer, bodies

RESULTS = Path(__file__).parent.parent / "results"
CONNECTIONS = (1, 8, 32, 128)
GOOD = b'{"response"'


@dataclass(frozen=True, slots=True)
class Row:
    """The median round of one kind of load."""

    what: str
    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    front_us: float
    postgres_us: float


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer payments and rounds: under a minute.")] = False,  # noqa: FBT002
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Measure payments per second of one front process, and the floors beside them, in one run.

    Example: python -m load_tests.bench --quick
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as home:
        report = asyncio.run(_measure(Path(home), console, quick=quick))
    _show(report, console)
    for file in filter(None, (RESULTS / "latest.json", json_file)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"[dim]written to {RESULTS / 'latest.json'}[/]")


async def _measure(home: Path, console: Console, *, quick: bool) -> dict[str, Any]:
    payers = [BenchPayer(number) for number in range(200)]
    rounds, payments = (2, 1_000) if quick else (3, 4_000)
    plans = [
        (what, of, n) for what, of in (("200 channels", payers), ("one hot channel", payers[:1])) for n in CONNECTIONS
    ]
    rows: list[Row] = []
    bare: dict[int, float] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("floors", total=1 + len(CONNECTIONS) + len(plans) * rounds)
        calls = 500 if quick else 3_000
        floors = {
            "signature_check_us": signature_check_us(calls),
            "package_hash_us": hash_us(calls),
            "verification_us": verification_us(calls),
        }
        progress.advance(task)
        async with machine(home, payers) as here:
            body = payers[0].next_body()
            for connections in CONNECTIONS:
                measured = await send(here.bare_port, "/post", [body] * payments, connections=connections, expect=GOOD)
                bare[connections] = measured.per_second
                progress.advance(task)
            for what, of, connections in plans:
                progress.update(task, description=f"{what}, {connections} at a time")
                taken = []
                for _ in range(rounds):
                    taken.append(await _round(here, what, of, connections, payments))
                    progress.advance(task)
                rows.append(sorted(taken, key=lambda row: row.per_second)[len(taken) // 2])
    return {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()},
        "floors": floors | {f"bare_route_per_s_{connections}": figure for connections, figure in bare.items()},
        "rows": [asdict(row) for row in rows],
        "ratios": _ratios(rows, bare, floors["verification_us"]),
    }


async def _round(here: Machine, what: str, payers: list[BenchPayer], connections: int, payments: int) -> Row:
    prepared = list(bodies(payers, payments))
    front, postgres = here.front.seconds(), here.postgres.seconds()
    measured = await send(here.port, "/post", prepared, connections=connections, expect=GOOD)
    front, postgres = here.front.seconds() - front, here.postgres.seconds() - postgres
    if measured.accepted != payments:
        raise RuntimeError(f"only {measured.accepted} of {payments} payments were accepted")
    each_us = 1e6 / payments
    return Row(
        what, connections, measured.per_second, measured.percentile_ms(0.5), measured.percentile_ms(0.99),
        front * each_us, postgres * each_us,
    )  # fmt: skip


def _ratios(rows: list[Row], bare: dict[int, float], verification: float) -> dict[str, float]:
    best = max(row.per_second for row in rows)
    return {
        "best_rate_to_bare_route": best / max(bare.values()),
        "front_cpu_to_verification": statistics.median(row.front_us for row in rows) / verification,
        "hot_channel_to_many": max(row.per_second for row in rows if row.what == "one hot channel")
        / max(row.per_second for row in rows if row.what == "200 channels"),
    }


def _show(report: dict[str, Any], console: Console) -> None:
    table = Table(title="payments through one front process, durable commits; CPU in µs per payment")
    for name in ("channels", "parallel", "per s", "p50 ms", "p99 ms", "front CPU", "PG CPU"):
        table.add_column(name, justify="left" if name == "channels" else "right", no_wrap=True)
    for row in report["rows"]:
        table.add_row(
            row["what"], str(row["connections"]), f"{row['per_second']:,.0f}", f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}", f"{row['front_us']:.0f}", f"{row['postgres_us']:.0f}",
        )  # fmt: skip
    console.print(table)
    for title, figures in (("floors", report["floors"]), ("ratios", report["ratios"])):
        console.print(f"[bold]{title}[/]")
        for name, value in figures.items():
            console.print(f"  {name:<28} {value:,.2f}")


if __name__ == "__main__":
    typer.run(main)
