"""One whole run: build, warm, measure, compare; with a bar that tells how far it is."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from load_tests.bench.client import Client
from load_tests.bench.floors import Floors
from load_tests.bench.machine import Machine
from load_tests.bench.pgbench import PgBench
from load_tests.bench.report import Report, this_machine
from load_tests.bench.rounds import Bench
from load_tests.bench.worlds import Worlds

if TYPE_CHECKING:
    from rich.console import Console

    from load_tests.bench.sizes import Size

_SEED = 6


def measure(size: Size, console: Console) -> Report:
    """Measure everything of this size."""
    chance, on = random.Random(_SEED), this_machine()
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as home,
        Machine(Path(home)) as machine,
        Client() as client,
        Bar(console) as bar,
    ):
        bar.begin("channels", sum(size.wanted_tables))
        worlds = Worlds(machine, size, chance, bar.advance)
        floors, pgbench = Floors(), PgBench(machine)
        bench = Bench(machine, worlds, client, size, chance, complain=bar.complain)
        bar.begin("first payments", len(worlds.tables))
        bench.warm(bar.tell)
        bar.begin("rounds", bench.steps())
        measured = bench.run(floors, pgbench, bar.tell)
    return Report.of(measured, size, on)


class Bar:
    """Shows what is done now. It is drawn between the rounds only: in one of them it would be measured, too."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description:<60}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self._task = self._progress.add_task("Postgres", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def complain(self, what: str) -> None:
        """Say what went wrong, above the bar."""
        self._progress.console.print(f"[yellow]{escape(what)}[/]")

    def begin(self, what: str, steps: int) -> None:
        """Begin something of so many steps."""
        self._progress.reset(self._task, description=what, total=steps)
        self._progress.refresh()

    def advance(self, steps: int) -> None:
        """Tell that so many are done."""
        self._progress.update(self._task, advance=steps)
        self._progress.refresh()

    def tell(self, what: str) -> None:
        """Tell what the next step is."""
        self._progress.update(self._task, advance=1, description=what)
        self._progress.refresh()
