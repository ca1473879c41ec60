"""Reads the golden vectors, with the numbers as JavaScript reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.obyte.serialization import parse_js_json

Case = dict[str, Any]
FOLDER = Path(__file__).parent / "obyte"


def cases(name: str, kind: str | None = None) -> list[Case]:
    document: Any = parse_js_json((FOLDER / f"{name}.json").read_bytes())
    return [case for case in document["cases"] if kind is None or case["kind"] == kind]


def label(case: Case) -> str:
    return " - ".join(str(case[field]) for field in ("network", "name") if field in case)
