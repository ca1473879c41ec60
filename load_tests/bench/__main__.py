"""`python -m load_tests.bench`: what one payment costs, and how far that is from what it must cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 - read at run time
from typing import Annotated

import typer
from rich.console import Console

from load_tests.bench.plot import draw
from load_tests.bench.report import LATEST, Report
from load_tests.bench.running import measure
from load_tests.bench.sizes import FULL, QUICK

app = typer.Typer(no_args_is_help=True, help="Measure Sluice on this machine; docs/performance.md says how to read it.")


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
    for file in filter(None, (LATEST, json_file)):
        report.write(file)
    draw(report, LATEST.with_suffix(".svg"))
    for table in report.tables():
        console.print(table)
    console.print(f"[dim]written to {LATEST}, drawn in {LATEST.with_suffix('.svg').name}[/]")


@app.command("report")
def show(
    file: Annotated[Path, typer.Argument(help="What a run has written.")] = LATEST,
) -> None:
    """Print the tables of a run as Markdown.

    Example: python -m load_tests.bench report > table.md
    """
    typer.echo(Report.read(file).markdown())


if __name__ == "__main__":
    app()
