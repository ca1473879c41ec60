"""JSON in columns of type `json`: the text as it was written, which strangers may have chosen.

`jsonb` is not used for such text: it refuses NUL and lone surrogates in strings and rewrites numbers, but both are
valid in a unit, and a unit must be posted again as it was signed.
"""

from __future__ import annotations

import json
from typing import Any


def to_text(value: Any) -> str:
    """Write a value as ASCII JSON, so that any string can be stored. The order of keys stays."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def from_text(text: str | None) -> Any:
    """Read a stored value; None for NULL."""
    return None if text is None else json.loads(text)


def plain_text(text: str) -> str:
    """Return a text, of which strangers may have chosen parts, as a column of type `text` takes it."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
