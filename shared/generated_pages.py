"""Pages of the documentation that are made from the code: written, or only compared with what they should be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def write_or_check(file: Path, page: Callable[[], str], *, target: str, arguments: Sequence[str]) -> int:
    """Write the page; with `--check` among the arguments only compare, and return 1 when it is out of date.

    `target`: what of the Makefile writes it.
    """
    if "--check" in arguments:
        if file.is_file() and file.read_text(encoding="utf-8") == page():
            return 0
        sys.stderr.write(f"docs/{file.name} is out of date: run `make {target}`\n")
        return 1
    file.write_text(page(), encoding="utf-8")
    return 0
