"""The modules of the ledger lie in layers: none needs, through others, itself."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import devnet


def test_no_module_imports_itself_through_others() -> None:
    folder = Path(str(devnet.__file__)).parent
    imports = {f"devnet.{path.stem}": imported_by(path) for path in folder.glob("*.py")}
    assert imports["devnet.ledger"]
    assert len(list(TopologicalSorter(imports).static_order())) == len(imports)


def imported_by(path: Path) -> set[str]:
    """Modules of the ledger named in import statements, those for type checkers too."""
    statements = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    named = {node.module or "" for node in statements if isinstance(node, ast.ImportFrom)}
    return {name for name in named if name.startswith("devnet.")}
