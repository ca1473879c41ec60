"""Tables of text: for a terminal, and as Markdown. And reports that are nothing but a table with its targets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from rich import box
from rich.table import Table

from load_tests.bench.targets import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Text:
    """A table. The first column is text, the others are figures. `wide`: columns that a terminal has no room for."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    wide: frozenset[str] = frozenset()

    def rich(self) -> Table:
        """Return it for a terminal."""
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, collapse_padding=True)
        shown = [place for place, heading in enumerate(self.headings) if heading not in self.wide]
        for place in shown:
            table.add_column(self.headings[place], justify="right" if place else "left")
        for line in self.lines:
            table.add_row(*(line[place] for place in shown))
        return table

    def markdown(self) -> str:
        """Return it as Markdown."""
        rule = ["---", *("---:" for _ in self.headings[1:])]
        rows = [self.headings, rule, *self.lines]
        return "\n".join([f"\n{self.title}:\n", *(f"| {' | '.join(row)} |" for row in rows)])


def targets_table(held: Sequence[Target]) -> Text:
    """Return the targets and their state."""
    lines = [[one.name, _shown(float(one.value)), f"{one.limit:g}", "met" if one.ok else "missed"] for one in held]
    return Text("Targets", ("ratio", "value", "limit", "state"), lines)


@dataclass(frozen=True, slots=True)
class SideReport:
    """A run of one kind: rows of equal columns, the first of which says what it is about."""

    title: str
    machine: dict[str, Any]
    rows: list[dict[str, Any]]
    targets: list[Target]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote."""
        found = json.loads(file.read_text(encoding="utf-8"))
        return cls(found["title"], found["machine"], found["rows"], [Target(**target) for target in found["targets"]])

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        write_json(file, asdict(self))

    def tables(self) -> list[Text]:
        """Return what is shown."""
        headings = [name.replace("_", " ") for name in self.rows[0]] if self.rows else []
        lines = [[_shown(value) for value in row.values()] for row in self.rows]
        return [Text(self.title, headings, lines), targets_table(self.targets)]

    def show(self, console: Console) -> None:
        """Print it."""
        for table in self.tables():
            console.print(table.rich())


MARKS = ("<!-- figures -->", "<!-- end of figures -->")


def markdown(machine: Mapping[str, Any], tables: Sequence[Text]) -> str:
    """Return a report as a part of a page."""
    told = ", ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([f"\nMeasured on: {told}.", *(table.markdown() for table in tables), ""])


def put_between_marks(page: str, text: str) -> str:
    """Return the page with the text in place of what stands between MARKS. Raises ValueError without them."""
    begin, end = (page.find(mark) for mark in MARKS)
    if not 0 <= begin < end:
        raise ValueError(f"the page has no {' and '.join(MARKS)}")
    return f"{page[:begin]}{MARKS[0]}\n{text}\n{page[end:]}"


def write_json(file: Path, content: object) -> None:
    """Write a report where it belongs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _shown(value: object) -> str:
    match value:
        case float() if 0 < abs(value) < 0.01:  # noqa: PLR2004 - little, and yet not nothing
            return f"{value:.1g}"
        case float():
            return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"  # noqa: PLR2004 - three digits at least
        case int():
            return f"{value:,}"
        case None:
            return ""
        case _:
            return str(value)
