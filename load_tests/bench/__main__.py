"""`python -m load_tests.bench`: what one payment costs, and how far that is from what it must cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 - read at run time
from typing import Annotated

import typer
from rich.console import Console

from load_tests.bench.fairness import measure_fairness
from load_tests.bench.growth import Growth, measure_growth
from load_tests.bench.plot import draw
from load_tests.bench.report import LATEST, RESULTS, Report
from load_tests.bench.running import measure
from load_tests.bench.sizes import FULL, QUICK
from load_tests.bench.tables import SideReport, markdown, put_between_marks

GROWTH = RESULTS / "growth.json"
FAIRNESS = RESULTS / "fairness.json"
KINDS: tuple[tuple[type[Report | SideReport], Path], ...] = (
    (Report, LATEST), (SideReport, GROWTH), (SideReport, FAIRNESS)
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Measure Sluice on this machine; docs/performance.md says how to read it.",
)


@app.command()
def run(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds and channels: in under two minutes.")] = False,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, max=50, help="Rounds of each kind.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Measure rows with this in their name only.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file, too.")] = None,
) -> None:
    """Measure payments through one front process, and the floors beside them, in one run.

    Example: python -m load_tests.bench run --quick --only "10,000 channels" --only "one commit each"
    """
    size = QUICK if quick else FULL
    console = Console()
    report = measure(replace(size, rounds=rounds or size.rounds, only=only or ()), console)
    for table in report.tables():
        console.print(table.rich())
    if json_file is not None:
        report.write(json_file)
    if not only:  # a part takes the place of no whole
        report.write(LATEST)
        draw(report, LATEST.with_suffix(".svg"))
        console.print(f"[dim]written to {LATEST}, drawn in {LATEST.with_suffix('.svg').name}[/]")


@app.command()
def growth(
    *,
    rows: Annotated[list[int] | None, typer.Option("--rows", min=0, max=50_000_000, help="Payments on record.")] = None,
    payments: Annotated[
        int, typer.Option("--payments", min=0, max=10_000_000, help="How many one front takes while it is weighed.")
    ] = 1_000_000,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=50, help="Rounds of each kind.")] = 3,
) -> None:
    """Measure what a payment costs with millions on record, and the memory of a front over a million payments.

    Takes about 20 minutes. Example: python -m load_tests.bench growth --rows 0 --rows 500000 --payments 100000
    """
    console = Console()
    size = Growth(payments=payments, rounds=rounds)
    report = measure_growth(replace(size, rows=rows) if rows else size, console)
    report.write(GROWTH)
    report.show(console)
    console.print(f"[dim]written to {GROWTH}[/]")


@app.command()
def fairness(
    *,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=60, help="How long each round floods.")] = 8.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=50, help="Rounds of each kind.")] = 3,
) -> None:
    """Measure what other channels feel while one floods, and that a front with too much to do says so early.

    Takes about three minutes. Example: python -m load_tests.bench fairness --seconds 4 --rounds 2
    """
    console = Console()
    report = measure_fairness(seconds, rounds, console)
    report.write(FAIRNESS)
    report.show(console)
    console.print(f"[dim]written to {FAIRNESS}[/]")


@app.command("report")
def show(
    *,
    into: Annotated[Path | None, typer.Option("--into", help="Put them into this page, between its two marks.")] = None,
) -> None:
    """Print the tables of the last runs of `run`, `growth` and `fairness` as Markdown.

    Example: python -m load_tests.bench report --into docs/performance.md
    """
    found = [kind.read(file) for kind, file in KINDS if file.exists()]
    if not found:
        typer.echo("nothing was measured yet: make bench", err=True)
        raise typer.Exit(1)
    tables = "\n".join(markdown(report.machine, report.tables()) for report in found)
    if into is None:
        typer.echo(tables)
    else:
        into.write_text(put_between_marks(into.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    app()
