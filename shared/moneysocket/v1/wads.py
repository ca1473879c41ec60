"""Amounts of the draft of version 1: millisatoshi, and what they are called if they are not bitcoin.

| key              | value                                                                                      |
|------------------|--------------------------------------------------------------------------------------------|
| `msat`           | number, negative too                                                                       |
| `non_btc`        | null or an object (an empty one counts as null); no third key                              |
| `units`, `name`  | number, text that is not empty                                                             |
| `code`           | text, empty or 3 to 12 characters; a code of ISO 4217 only together with its number        |
| `symbol`         | text of at most 6 characters                                                               |
| `rate_timestamp`, `iso_num`, `fmt_decimals` | optional: number >= 0, integer >= 0, integer 0 to 12            |

Optional values of 0 are not written again, as in the reference; unknown keys of `non_btc` are dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.moneysocket.currencies import CODE_BY_ISO_NUM, FIAT
from shared.moneysocket.errors import WadError

if TYPE_CHECKING:
    from shared.moneysocket.json_text import JsonValue

_MIN_CODE, _MAX_CODE = 3, 12
_MAX_SYMBOL = 6
_MAX_DECIMALS = 12
_MSATS_PER_SAT = 1000.0


@dataclass(frozen=True, slots=True)
class NonBtc:
    """What an amount is called and counted in."""

    units: float
    name: str
    code: str = ""
    symbol: str = ""
    rate_timestamp: float = 0
    iso_num: int = 0
    fmt_decimals: int = 0

    def to_json(self) -> dict[str, JsonValue]:
        """The object as it is sent."""
        always = {"units": self.units, "name": self.name, "code": self.code, "symbol": self.symbol}
        optional = {key: getattr(self, key) for key in ("rate_timestamp", "iso_num", "fmt_decimals")}
        return {**always, **{key: value for key, value in optional.items() if value}}


@dataclass(frozen=True, slots=True)
class WadV1:
    """An amount of the draft."""

    msat: float
    non_btc: NonBtc | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """The object as it is sent."""
        return {"msat": self.msat, "non_btc": None if self.non_btc is None else self.non_btc.to_json()}

    def __str__(self) -> str:
        if self.non_btc is None:
            return f"₿ {self.msat / _MSATS_PER_SAT:.3f} sat"
        symbol = f"{self.non_btc.symbol} " if self.non_btc.symbol else ""
        code = f" {self.non_btc.code}" if self.non_btc.code else ""
        return f"{symbol}{self.non_btc.units:.{self.non_btc.fmt_decimals}f}{code}"


def read_wad_v1(value: JsonValue) -> WadV1:
    """Read an amount. Raises WadError `bad_wad`, the text names the key."""
    if not isinstance(value, dict) or value.keys() != {"msat", "non_btc"}:
        raise WadError("bad_wad", "a wad of version 1 is an object of msat and non_btc")
    msat = _number(value["msat"], "msat")
    non_btc = value["non_btc"]
    if non_btc is not None and not isinstance(non_btc, dict):
        raise WadError("bad_wad", "non_btc is null or an object")
    return WadV1(msat, _read_non_btc(non_btc) if non_btc else None)


def _read_non_btc(value: dict[str, Any]) -> NonBtc:
    units = _number(value.get("units"), "units")
    name = _text(value.get("name"), "name")
    if not name:
        raise WadError("bad_wad", "name is not empty")
    rate_timestamp = _number(value.get("rate_timestamp", 0), "rate_timestamp")
    if rate_timestamp < 0:
        raise WadError("bad_wad", "rate_timestamp is from 0 on")
    iso_num = _integer(value.get("iso_num", 0), "iso_num")
    code = _text(value.get("code"), "code")
    _check_code(code, iso_num if "iso_num" in value else None)
    symbol = _text(value.get("symbol"), "symbol")
    if len(symbol) > _MAX_SYMBOL:
        raise WadError("bad_wad", f"symbol has at most {_MAX_SYMBOL} characters")
    decimals = _integer(value.get("fmt_decimals", 0), "fmt_decimals")
    if decimals > _MAX_DECIMALS:
        raise WadError("bad_wad", f"fmt_decimals is at most {_MAX_DECIMALS}")
    return NonBtc(units, name, code, symbol, rate_timestamp, iso_num, decimals)


def _check_code(code: str, iso_num: int | None) -> None:
    if code and not _MIN_CODE <= len(code) <= _MAX_CODE:
        raise WadError("bad_wad", f"code is empty or has {_MIN_CODE} to {_MAX_CODE} characters")
    if iso_num is None:
        if code in FIAT:
            raise WadError("bad_wad", f"{code} is a code of ISO 4217 and needs its number")
    elif not code or CODE_BY_ISO_NUM.get(iso_num, code) != code:
        raise WadError("bad_wad", "iso_num and code do not belong together")


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WadError("bad_wad", f"{key} is a number")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise WadError("bad_wad", f"{key} is too large")
    return value


def _integer(value: object, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise WadError("bad_wad", f"{key} is an integer from 0 on")
    return value


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise WadError("bad_wad", f"{key} is a text")
    return value
