"""docs/compatibility.md tells the truth about names: each is in the code, and nothing of the reference is left out."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from front.app import create_app
from shared.settings import Settings, variable_of
from sluice.cli.application import app

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "compatibility.md"
CHECKLIST: dict[str, list[str]] = {
    section: names
    for section, names in json.loads((ROOT / "tests/vectors/compatibility/checklist.json").read_text()).items()
    if section != "_"
}


@dataclass(frozen=True)
class Row:
    section: str
    name: str
    here: str
    tests: tuple[str, ...]
    differences: str

    @property
    def is_missing(self) -> bool:
        """Whether the row says itself that there is nothing to show."""
        return self.here.startswith(("not yet", "no:"))

    @property
    def spans(self) -> list[str]:
        """What is written as code, other than the tests."""
        return re.findall(r"`([^`]+)`", f"{self.here} {self.differences}")


@functools.cache
def rows() -> list[Row]:
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| `"):
            name, here, tests, differences = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append(Row(section, name.strip("`"), here, tuple(re.findall(r"`([^`]+)`", tests)), differences))
    return found


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """Names of the test functions of a file; none if there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


@functools.cache
def cases() -> frozenset[str]:
    """Names of the recorded conversations that tests are run with, and none."""
    recorded = json.loads((ROOT / "tests/vectors/rpc/rpcify.json").read_text())
    return frozenset({"", *(vector["name"] for vector in recorded["http"])})


@functools.cache
def routes() -> frozenset[str]:
    paths: dict[str, dict[str, Any]] = create_app(Settings(database_url="postgresql://none")).openapi()["paths"]
    return frozenset(f"{method.upper()} {path}" for path, methods in paths.items() for method in methods)


@functools.cache
def commands() -> dict[str, frozenset[str]]:
    """Every command of the command line with its options."""

    def walk(command: Any, words: str) -> dict[str, frozenset[str]]:
        found = {words: frozenset(option for param in command.params for option in param.opts)}
        for name, child in getattr(command, "commands", {}).items():
            found |= walk(child, f"{words} {name}")
        return found

    return walk(typer.main.get_command(app), "sluice")


def python_name_exists(name: str) -> bool:
    """Whether `sluice.httpx` or `sluice.Payer.open_channel` is there."""
    words = name.split(".")
    for split in range(len(words), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(words[:split]))
        except ImportError:
            continue
        for word in words[split:]:
            found = getattr(found, word, None)
        return found is not None
    return False


def test_every_function_event_and_setting_of_the_reference_has_one_row_and_nothing_else_has() -> None:
    told: dict[str, list[str]] = {section: [] for section in CHECKLIST}
    for row in rows():
        told[row.section].append(row.name)
    assert told == CHECKLIST


def test_every_row_names_tests_that_exist_or_says_that_there_is_nothing() -> None:
    faults = [f"{row.name}: a row without a test is a claim" for row in rows() if not row.tests and not row.is_missing]
    for row in rows():
        for test in row.tests:
            path, _, name = test.partition("::")
            name, _, case = name.removesuffix("]").partition("[")
            if name not in names_in(path) or case not in cases():
                faults.append(f"{row.name}: there is no {test}")
    assert faults == []


def test_routes_commands_settings_and_names_of_python_exist() -> None:
    faults = [f"{row.name}: there is no {span}" for row in rows() for span in row.spans if not exists(span, row)]
    assert faults == []


def exists(span: str, row: Row) -> bool:
    """Whether what is written as code is there; what is none of these is a field or a text of the peer protocol."""
    if re.match(r"(GET|POST|PUT|DELETE|WS) /", span):
        return span in routes()
    if span.startswith("SLUICE_"):
        return span in {variable_of(name) for name in Settings.model_fields}
    if span == "sluice" or span.startswith("sluice "):
        return span in commands()
    if span.startswith("sluice."):
        return python_name_exists(span)
    if span.startswith("--"):
        of_row = [words for words in row.spans if words in commands()]
        return any(span in commands()[words] for words in of_row or commands())
    return True


def test_links_lead_somewhere() -> None:
    text = PAGE.read_text()
    headings = {line.removeprefix("## ").lower().replace(" ", "-") for line in text.splitlines() if line[:3] == "## "}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        page, _, anchor = target.partition("#")
        if page:
            assert (PAGE.parent / page).is_file(), target
        elif anchor:
            assert anchor in headings, target


def test_the_files_that_the_list_of_defects_names_exist() -> None:
    for path in re.findall(r"`(tests/[^`]+)`", (ROOT / "docs" / "defects.md").read_text()):
        assert (ROOT / path).is_file(), path
