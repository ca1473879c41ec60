"""Amounts as text for people, the way each library prints them.

| amount  | PYTHON, SLUICE             | JAVASCRIPT                 |
|---------|----------------------------|----------------------------|
| bitcoin | `₿ 1.234 sat`              | `₿ 1.234 sats`             |
| pegged  | `$ 12.99 USD`              | `$ 12.99 USD`              |
| long    | `$ 12.99 USD (120.5 sat)`  | `$ 12.99 USD {120.5 sat)`  |
| a tie   | rounds to even             | rounds up                  |
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING

from shared.moneysocket.dialects import JAVASCRIPT, SLUICE, Dialect
from shared.moneysocket.json_text import javascript_number

if TYPE_CHECKING:
    from shared.moneysocket.wads import Wad

_MSATS_PER_SAT = 1000.0
_JAVASCRIPT_FIXED_LIMIT = 1e21
_DIGITS = 400
"""More than any double has before and behind its point together, at ten decimals."""


def show(wad: Wad, dialect: Dialect = SLUICE) -> str:
    """The amount in its own currency."""
    if not wad.asset_stable:
        unit = "sats" if dialect is JAVASCRIPT else "sat"
        return f"{wad.symbol} {_fixed(wad.msats / _MSATS_PER_SAT, 3, dialect)} {unit}"
    symbol = f"{wad.symbol} " if wad.symbol else ""
    return f"{symbol}{_fixed(wad.asset_units, int(wad.decimals or 0), dialect)} {wad.code}"


def show_long(wad: Wad, dialect: Dialect = SLUICE) -> str:
    """The amount in its own currency and what it is worth in satoshi."""
    if not wad.asset_stable:
        return show(wad, dialect)
    opening = "{" if dialect is JAVASCRIPT else "("
    return f"{show(wad, dialect)} {opening}{_fixed(wad.msats / _MSATS_PER_SAT, 3, dialect)} sat)"


def _fixed(value: float, places: int, dialect: Dialect) -> str:
    if dialect is JAVASCRIPT and abs(value) >= _JAVASCRIPT_FIXED_LIMIT:
        return javascript_number(value)
    if not math.isfinite(value):
        return str(value)
    rounding = ROUND_HALF_UP if dialect is JAVASCRIPT else ROUND_HALF_EVEN
    exact = Decimal(value).quantize(Decimal(1).scaleb(-places), context=Context(prec=_DIGITS, rounding=rounding))
    return f"{exact:f}"
