"""Reads the golden vectors of Interledger. Bytes are hex, 64-bit numbers decimal strings, moments ISO 8601.

`error` says that the reference refuses, `strict: "reject"` that we refuse although it does not.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

Case = dict[str, Any]
FOLDER = Path(__file__).parent / "ilp"


def cases(name: str, *ops: str) -> list[Case]:
    document: Any = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [case for case in document["cases"] if not ops or case["op"] in ops]


def label(case: Case) -> str:
    return str(case["name"])


def is_refused(case: Case) -> bool:
    return "error" in case or case.get("strict") == "reject"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
