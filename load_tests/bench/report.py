"""One run as JSON and as tables: `{machine, floors, rows, targets: [{name, value, limit, ok}]}`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from load_tests.bench.rows import Row
from load_tests.bench.tables import Text, targets_table, write_json
from load_tests.bench.targets import Target, targets, with_ratios

if TYPE_CHECKING:
    from load_tests.bench.rounds import Measured
    from load_tests.bench.sizes import Size

RESULTS = Path(__file__).parent.parent / "results"
LATEST = RESULTS / "latest.json"

HEADINGS = ("what", "at a time", "per s", "p50", "p99", "front", "PG", "client", "log", "spread", "front÷", "PG÷")
_WIDE = frozenset({"client", "log", "spread"})
_TITLE = "Payments with durable commits: latency in ms, CPU in µs per payment; ÷: times the floor"


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    machine: dict[str, Any]
    floors: dict[str, float]
    rows: list[Row]
    targets: list[Target]

    @classmethod
    def of(cls, measured: Measured, size: Size, on: dict[str, Any]) -> Self:
        """Compare what was measured with its floors and targets. `on`: the machine, as it was before."""
        rows = with_ratios(measured.rows, measured.floors)
        held = targets(rows, measured.floors, size.tables, size.main)
        return cls(on, dict(sorted(measured.floors.items(), key=_in_order)), rows, held)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote."""
        found = json.loads(file.read_text(encoding="utf-8"))
        rows, held = [Row(**row) for row in found["rows"]], [Target(**target) for target in found["targets"]]
        return cls(found["machine"], found["floors"], rows, held)

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        write_json(file, asdict(self))

    def tables(self) -> list[Text]:
        """Return what is shown."""
        floors = [[name, f"{figure:,.1f}"] for name, figure in self.floors.items()]
        return [
            Text(_TITLE, HEADINGS, [_line(row) for row in self.rows], _WIDE),
            Text("Floors, in the same run", ("floor", "figure"), floors),
            targets_table(self.targets),
        ]


def this_machine() -> dict[str, Any]:
    """Return on what is measured, and how busy that is with something else: ask before."""
    return {
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _in_order(floor: tuple[str, float]) -> tuple[str, int]:
    """Sort by name, and numbers of connections as numbers."""
    name, _, connections = floor[0].rpartition("_")
    return (name, int(connections)) if connections.isdecimal() else (floor[0], 0)


def _line(row: Row) -> list[str]:
    return [
        row.what, str(row.connections), f"{row.per_second:,.0f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}",
        f"{row.front_us:.0f}", f"{row.postgres_us:.0f}", f"{row.client_us:.0f}", f"{row.wal_bytes:,.0f}",
        f"{row.spread:.0%}", _ratio(row.front_ratio), _ratio(row.postgres_ratio),
    ]  # fmt: skip


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
