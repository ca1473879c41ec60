"""Writes docs/settings.md from the Settings class: `python -m shared.settings_docs [--check]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from shared.generated_pages import write_or_check
from shared.settings import Settings, variable_of
from shared.settings_types import Unit

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

INTRODUCTION = """\
# Settings

Generated from `shared/settings.py` by `make docs-settings`: edit that file, not this page.

Every setting is an environment variable, or a line of a file `.env` in the working directory, or a file in
`SLUICE_SECRETS_DIR`; the first of them that has it wins.
An empty value counts as unset. A wrong value stops the start with one line per fault; a `SLUICE_*` variable that is
not in this list is logged as a warning.

| Variable | Default | Unit | Meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the text of docs/settings.md."""
    rows = []
    for name, field in Settings.model_fields.items():
        *_, unit = (mark for mark in field.metadata if isinstance(mark, Unit))
        meaning = " ".join((field.description or "").split())
        rows.append(
            f"| `{variable_of(name)}` | {unit.default or _default(field.default)} | {unit.name} | {meaning} |\n"
        )
    return INTRODUCTION + "".join(rows)


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        raise ValueError("a setting without a plain default describes it in its Unit")
    if isinstance(value, dict):
        value = json.dumps({asset: limit.model_dump() for asset, limit in value.items()})
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{value}`"


def main(arguments: list[str]) -> int:
    """Write the page; with `--check` only compare, and return 1 when it is out of date."""
    return write_or_check(PAGE, page, target="docs-settings", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
