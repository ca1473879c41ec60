"""The rows as a picture: how fast, how late, and what it costs, over the number of concurrent payments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from load_tests.bench.report import Report
    from load_tests.bench.rows import Row

_PANELS = (
    ("payments per second", "per_second"),
    ("p99 latency, ms", "p99_ms"),
    ("CPU of the front, µs per payment", "front_us"),
    ("CPU of Postgres, µs per payment", "postgres_us"),
)
_LEAST_POINTS = 2


def draw(report: Report, file: Path) -> None:
    """Write an SVG. Kinds of load that were measured at one number of connections only make no line."""
    lines = _lines(report.rows)
    # Without pyplot: no display is looked for, and nothing global is touched.
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels: Sequence[Axes] = list(figure.subplots(2, 2).flat)
    for axes, (title, name) in zip(panels, _PANELS, strict=True):
        for what, rows in lines.items():
            axes.plot([row.connections for row in rows], [getattr(row, name) for row in rows], marker=".", label=what)
        axes.set_title(title)
        axes.set_xlabel("concurrent payments")
        axes.set_xscale("log", base=2)
        ticks = sorted({row.connections for rows in lines.values() for row in rows})
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.set_yscale("log")
        axes.grid(visible=True, alpha=0.3)
    if lines:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="svg")


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.connections):
        lines.setdefault(row.what, []).append(row)
    return {what: found for what, found in lines.items() if len(found) >= _LEAST_POINTS}
