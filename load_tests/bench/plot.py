"""The rows as a picture: how fast, how late, and what it costs, over the number of concurrent payments."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from load_tests.bench.targets import front_floor_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
_COLOURS = colormaps["tab10"].colors  # type: ignore[attr-defined] # a listed map has them
_MARKERS = "oooooooooossssssssss"


def draw(report: Report, file: Path) -> None:
    """Write an SVG. Kinds of load that were measured at one number of connections only make no line."""
    lines = _lines(report.rows)
    # Without pyplot: no display is looked for, and nothing global is touched.
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels: Sequence[Axes] = list(figure.subplots(2, 2).flat)
    for axes, (title, name) in zip(panels, _PANELS, strict=True):
        for (what, rows), colour, marker in zip(lines.items(), cycle(_COLOURS), cycle(_MARKERS), strict=False):
            places, figures = [row.connections for row in rows], [getattr(row, name) for row in rows]
            axes.plot(places, figures, color=colour, marker=marker, markersize=4, linewidth=1, label=what)
        _floor(axes, name, report.floors, lines)
        _scales(axes, title, sorted({row.connections for rows in lines.values() for row in rows}))
    if lines:
        handles, labels = panels[2].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="svg")


def _floor(axes: Axes, name: str, floors: Mapping[str, float], lines: Mapping[str, Sequence[Row]]) -> None:
    connections = sorted({row.connections for rows in lines.values() for row in rows})
    if name == "front_us":
        found = [(n, floor) for n in connections if (floor := front_floor_us(floors, n)) is not None]
    elif name == "postgres_us" and "pgbench_batch_us" in floors:
        found = [(n, floors["pgbench_batch_us"]) for n in connections]
    else:
        return
    axes.plot([n for n, _ in found], [floor for _, floor in found], color="black", linestyle="--", label="floor")


def _scales(axes: Axes, title: str, connections: Sequence[int]) -> None:
    axes.set_title(title)
    axes.set_xlabel("concurrent payments")
    axes.set_xscale("log", base=2)
    axes.set_xticks(connections, labels=map(str, connections))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, alpha=0.3)


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.connections):
        lines.setdefault(row.what, []).append(row)
    return {what: found for what, found in lines.items() if len(found) >= _LEAST_POINTS}
