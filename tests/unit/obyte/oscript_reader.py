"""Reads the source form of an agent: JSON with bare keys, single quotes, comments, and formulas between backticks."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
      | (?P<formula>`[^`]*`)
      | (?P<text>'[^'\n]*')
      | (?P<number>[0-9]+)
      | (?P<name>[A-Za-z_]+)
      | (?P<mark>[\[\]{}:,])""",
    re.VERBOSE,
)


def read_oscript(source: str) -> Any:
    """Return the definition that a source stands for: formulas and texts as they are, byte for byte."""
    parts, place = [], 0
    while place < len(source):
        token = _TOKEN.match(source, place)
        if token is None:
            raise ValueError(f"cannot read the source at {source[place : place + 30]!r}")
        place = token.end()
        if token.lastgroup in ("formula", "text"):
            parts.append(json.dumps(token.group()[1:-1]))
        elif token.lastgroup == "name":
            parts.append(json.dumps(token.group()))
        elif token.lastgroup != "skip":
            parts.append(token.group())
    return json.loads("".join(parts))
