"""One run as JSON and as tables: `{machine, floors, rows, targets: [{name, value, limit, ok}]}`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.table import Table

from load_tests.bench.rows import Row
from load_tests.bench.targets import Target, targets, with_ratios

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from load_tests.bench.rounds import Measured
    from load_tests.bench.sizes import Size

RESULTS = Path(__file__).parent.parent / "results"
LATEST = RESULTS / "latest.json"

HEADINGS = (
    "what", "at a time", "per s", "p50 ms", "p99 ms", "front µs", "Postgres µs", "client µs", "log bytes", "spread",
    "front ÷ floor", "Postgres ÷ floor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    machine: dict[str, Any]
    floors: dict[str, float]
    rows: list[Row]
    targets: list[Target]

    @classmethod
    def of(cls, measured: Measured, size: Size) -> Self:
        """Compare what was measured with its floors and targets."""
        rows = with_ratios(measured.rows, measured.floors)
        held = targets(rows, measured.floors, size.tables, size.main)
        return cls(machine(), dict(sorted(measured.floors.items())), rows, held)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote."""
        found = json.loads(file.read_text(encoding="utf-8"))
        rows, held = [Row(**row) for row in found["rows"]], [Target(**target) for target in found["targets"]]
        return cls(found["machine"], found["floors"], rows, held)

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def tables(self) -> list[Table]:
        """Return what is shown on a terminal."""
        return [_table(title, headings, lines) for title, headings, lines in self._parts()]

    def markdown(self) -> str:
        """Return the same as Markdown."""
        told = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = [_markdown(title, headings, lines) for title, headings, lines in self._parts()]
        return "\n".join([f"Measured on: {told}.", *parts])

    def _parts(self) -> list[tuple[str, Sequence[str], list[list[str]]]]:
        return [
            ("Payments, durable commits; CPU in µs per payment", HEADINGS, [_line(row) for row in self.rows]),
            ("Floors, in the same run", ("floor", "figure"), [[name, f"{n:,.1f}"] for name, n in self.floors.items()]),
            (
                "Targets",
                ("ratio", "value", "limit", "state"),
                [[one.name, f"{one.value:.2f}", f"{one.limit:g}", _state(one)] for one in self.targets],
            ),
        ]


def machine() -> dict[str, Any]:
    """Return on what was measured."""
    return {"system": platform.system(), "cores": os.cpu_count(), "python": platform.python_version()}


def _state(target: Target) -> str:
    return "met" if target.ok else "missed"


def _line(row: Row) -> list[str]:
    return [
        row.what, str(row.connections), f"{row.per_second:,.0f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}",
        f"{row.front_us:.0f}", f"{row.postgres_us:.0f}", f"{row.client_us:.0f}", f"{row.wal_bytes:,.0f}",
        f"{row.spread:.0%}", _ratio(row.front_ratio), _ratio(row.postgres_ratio),
    ]  # fmt: skip


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _table(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for line in lines:
        table.add_row(*line)
    return table


def _markdown(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in headings[1:])]
    rows = [headings, rule, *lines]
    return "\n".join([f"\n{title}:\n", *(f"| {' | '.join(row)} |" for row in rows)])
