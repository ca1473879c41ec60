"""Whoever reads a protocol's state machine can be sure that nothing happens behind its back."""

from __future__ import annotations

import ast
from pathlib import Path

import shared.moneysocket

IMPURE = {"asyncio", "socket", "ssl", "threading", "time", "datetime", "websockets", "logging"}


def test_only_the_stacks_have_sockets_and_clocks() -> None:
    root = Path(str(shared.moneysocket.__file__)).parent
    found = {
        f"{path.relative_to(root)}: {name}"
        for path in root.rglob("*.py")
        if "stacks" not in path.parts
        for name in imported(path) & IMPURE
    }
    assert found == set()


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}
