"""Reads the golden vectors of Moneysocket: what the two reference libraries did with the same input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Case = dict[str, Any]
FOLDER = Path(__file__).parent / "moneysocket"


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def cases(name: str, op: str | None = None) -> list[Case]:
    return [case for case in document(name)["cases"] if op is None or case.get("op") == op]


def label(case: Case) -> str:
    for field in ("name", "hex", "value", "text", "code"):
        if field in case:
            return str(case[field])[:80]
    return ""
