"""A wad: an amount of value, in bitcoin or pegged to another currency, with what is needed to show it.

| key            | value                                   | limit                                      |
|----------------|-----------------------------------------|--------------------------------------------|
| `msats`        | millisatoshi                            | >= 0                                       |
| `asset_stable` | whether it is pegged to `code`          |                                            |
| `asset_units`  | amount in units of `code`               | >= 0; plain bitcoin repeats `msats`        |
| `code`         | currency                                | 20 characters                              |
| `countries`    | text or null                            | 200 or 1000 characters, by dialect         |
| `decimals`     | places to show, or null                 | 0 to 10                                    |
| `iso_num`      | ISO 4217 number or null                 | never looked at                            |
| `name`         | text or null                            | 50 characters                              |
| `symbol`       | text or null                            | 5 characters                               |

All nine keys are present. Whoever receives a wad replaces the descriptions by its own: those of bitcoin if the wad is
not pegged, those of the table if the currency is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.moneysocket.currencies import CRYPTO, FIAT
from shared.moneysocket.dialects import PYTHON, SLUICE, Dialect
from shared.moneysocket.errors import WadError
from shared.moneysocket.rates import Rate

if TYPE_CHECKING:
    from shared.moneysocket.json_text import JsonValue

MSATS_PER_BITCOIN = 1e11
_KEYS = (
    "msats",
    "asset_stable",
    "asset_units",
    "code",
    "countries",
    "decimals",
    "iso_num",
    "name",
    "symbol",
)
_DESCRIPTIONS = ("countries", "decimals", "name", "symbol")
_MAX_CODE, _MAX_NAME, _MAX_SYMBOL, _MAX_DECIMALS = 20, 50, 5, 10
_MAX_AMOUNT_CHARS = 40
_SUFFIXES = {"msat": 1, "msats": 1, "sat": 1000, "sats": 1000, "": 1}


@dataclass(frozen=True, slots=True)
class Wad:
    """An amount. `msats` may hold a fraction when it was made from a rate; `whole_msats` never does."""

    msats: float
    asset_stable: bool
    asset_units: float
    code: str
    countries: str | None = None
    decimals: float | None = None
    iso_num: int | None = None
    name: str | None = None
    symbol: str | None = None

    def __post_init__(self) -> None:
        """Raise WadError `bad_wad` for a negative or unusable number of millisatoshi, and describe the currency."""
        if not _is_finite(self.msats) or self.msats < 0:
            raise WadError("bad_wad", "msats is a finite number from 0 on")
        if isinstance(self.asset_units, int) and not _is_finite(self.asset_units):
            raise WadError("bad_wad", "asset_units is larger than any double")
        for key, value in _description(self).items():
            object.__setattr__(self, key, value)

    @property
    def whole_msats(self) -> int:
        """Millisatoshi that are really there: fractions are cut off."""
        return math.floor(self.msats)

    @property
    def implied_rate(self) -> Rate | None:
        """How many units one bitcoin is worth in this wad, as of no time; None if it holds nothing."""
        if not self.asset_stable:
            return Rate("BTC", "BTC", 1.0) if self.msats else None
        bitcoins = self.msats / MSATS_PER_BITCOIN
        if not bitcoins or not self.asset_units:
            return None
        return Rate("BTC", self.code, self.asset_units / bitcoins)

    def with_msats(self, msats: int) -> Wad:
        """As much as `msats` at the implied rate; a wad of nothing has none and stays empty, as in both libraries."""
        rate = self.implied_rate
        if rate is None:
            return replace(self, msats=msats if self.msats else 0, asset_units=0)
        units, _ = rate.convert(msats / MSATS_PER_BITCOIN, "BTC")
        return replace(self, msats=msats, asset_units=units)

    def at_rate(self, rate: Rate) -> Wad:
        """The same units of a pegged currency at a new rate from BTC. Raises WadError `bad_rate`."""
        if rate.base_code != "BTC" or not self.asset_stable:
            raise WadError("bad_rate", "only a pegged amount is adjusted, and to a rate of bitcoin")
        bitcoins, _ = rate.convert(self.asset_units, self.code)
        return replace(self, msats=round(bitcoins * MSATS_PER_BITCOIN))

    def to_json(self, dialect: Dialect = SLUICE) -> dict[str, JsonValue]:
        """The wad as it is sent.

        SLUICE writes what every receiver takes: whole millisatoshi, and null for a description that one of the
        validators refuses or that makes the Python library fail (it has the same description in its own table).
        """
        values: dict[str, Any] = {key: getattr(self, key) for key in _KEYS}
        if dialect is PYTHON and self.asset_stable and self.code in CRYPTO:
            return {("contries" if key == "countries" else key): value for key, value in values.items()}  # its typo
        if dialect is SLUICE:
            values["msats"] = self.whole_msats
            for key in _DESCRIPTIONS:
                is_left_out = self.asset_stable and self.code in CRYPTO
                if is_left_out or _description_fault(key, values[key], PYTHON):
                    values[key] = None
        return values


def bitcoin(msats: int) -> Wad:
    """Plain bitcoin. Raises WadError `bad_wad` below zero."""
    return Wad(msats, asset_stable=False, asset_units=msats, code="BTC")


def pegged(units: float, rate: Rate, code: str, **descriptions: Any) -> Wad:
    """So many units of `code` at a rate that includes BTC; descriptions count only for a code no table holds.

    Raises WadError `bad_rate`, `bad_wad`.
    """
    bitcoins, reached = rate.convert(units, code)
    if reached != "BTC":
        raise WadError("bad_rate", f"the rate leads to {reached}, not to BTC")
    return Wad(bitcoins * MSATS_PER_BITCOIN, asset_stable=True, asset_units=units, code=code, **descriptions)


def read_wad(value: JsonValue, dialect: Dialect = SLUICE) -> Wad:
    """Read a wad as it came over the wire. Raises WadError `bad_wad`, the text names the key."""
    if not isinstance(value, dict) or value.keys() != set(_KEYS):
        raise WadError("bad_wad", f"a wad is an object with exactly the keys {', '.join(_KEYS)}")
    values: dict[str, Any] = value
    _check_number(values, "msats", dialect, fractional=dialect.fractional_msats, endless=False)
    _check_number(values, "asset_units", dialect, fractional=True, endless=dialect.endless_units)
    if not isinstance(values["asset_stable"], bool):
        raise WadError("bad_wad", "asset_stable is true or false")
    if not isinstance(values["code"], str) or dialect.length(values["code"]) > _MAX_CODE:
        raise WadError("bad_wad", f"code is a text of at most {_MAX_CODE} characters")
    for key in _DESCRIPTIONS:
        if fault := _description_fault(key, values[key], dialect):
            raise WadError("bad_wad", fault)
    fails_python = values["code"] in CRYPTO and any(values[key] for key in _DESCRIPTIONS)
    if dialect is PYTHON and values["asset_stable"] and fails_python:
        raise WadError("bad_wad", f"the Python library fails on {values['code']} with a description")
    return Wad(**values)


def parse_amount(text: str) -> int:
    """Read an amount as operators write it: an integer, then `msat`, `msats`, `sat`, `sats` or nothing (millisatoshi).

    Returns millisatoshi. Raises WadError `bad_amount`.
    """
    suffix = next(suffix for suffix in _SUFFIXES if text.endswith(suffix))
    try:
        amount = int(text[: len(text) - len(suffix)]) if len(text) <= _MAX_AMOUNT_CHARS else -1
    except ValueError:
        amount = -1
    if amount < 0:
        raise WadError("bad_amount", "an amount is a whole number from 0 on, then msat, msats, sat, sats or nothing")
    return amount * _SUFFIXES[suffix]


def _description(wad: Wad) -> dict[str, Any]:
    """What a receiver knows better than the sender."""
    if not wad.asset_stable:
        return {
            "code": "BTC",
            "countries": "All",
            "decimals": 0,
            "iso_num": None,
            "name": "Bitcoin",
            "symbol": "₿",
        }
    if currency := FIAT.get(wad.code):
        return {key: getattr(currency, key) for key in (*_DESCRIPTIONS, "iso_num")}
    if name := CRYPTO.get(wad.code):
        return {"countries": None, "decimals": 0, "iso_num": None, "name": name, "symbol": ""}
    return {"iso_num": None}


def _check_number(values: dict[str, Any], key: str, dialect: Dialect, *, fractional: bool, endless: bool) -> None:
    number = values[key]
    kinds = int | float if fractional else int
    if isinstance(number, bool) or not isinstance(number, kinds) or number < 0:
        raise WadError("bad_wad", f"{key} is {'a number' if fractional else 'an integer'} from 0 on")
    if not _is_finite(number) and not endless:
        raise WadError("bad_wad", f"{key} is too large for {dialect!r}")


def _description_fault(key: str, value: object, dialect: Dialect) -> str | None:
    if value is None:
        return None
    if key == "decimals":
        kinds = int | float if dialect.fractional_decimals else int
        fits = isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value <= _MAX_DECIMALS
        return None if fits else f"decimals is null or a number from 0 to {_MAX_DECIMALS}"
    limit = {"countries": dialect.max_countries, "name": _MAX_NAME, "symbol": _MAX_SYMBOL}[key]
    fits = isinstance(value, str) and dialect.length(value) <= limit
    return None if fits else f"{key} is null or a text of at most {limit} characters"


def _is_finite(number: float) -> bool:
    """Whether a double holds it; an integer may be too large for that."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
