"""Lengths of time as people type them."""

from __future__ import annotations

import re

import typer

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST_S = 100 * 366 * 86_400


def seconds(text: str) -> int:
    """Read a time as `90d`, `12h`, `30m`, for `typer.Option(parser=…)`.

    A number alone is refused: who types it for days must not get seconds.
    """
    if re.fullmatch(r"[0-9]+", text.strip()):
        raise typer.BadParameter(f"{text.strip()} of what? Say the unit too: 90d, 12h, 30m or 45s")
    found = re.fullmatch(r"([0-9]{1,10})([smhdw])", text.strip())
    read = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < read <= _LONGEST_S:
        raise typer.BadParameter("should be a time as 90d, 12h, 30m or 45s")
    return read
