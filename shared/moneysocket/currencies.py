"""The currencies both reference libraries know, with the descriptions both give them.

`currencies.json` holds code, ISO 4217 number, decimals, symbol, name and countries, mistakes included (the yen has
the dinar's symbol): a receiver replaces what it is sent by what stands in its table, so the table is part of the
protocol. The draft of version 1 has the same table without the countries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Currency:
    """A row of the table. `decimals` is None for what is not counted in parts, such as gold."""

    code: str
    iso_num: int
    decimals: int | None
    symbol: str
    name: str
    countries: str


def _load() -> dict[str, Currency]:
    table = json.loads(files("shared.moneysocket").joinpath("currencies.json").read_text(encoding="utf-8"))
    return {code: Currency(code, *row) for code, row in table.items()}


FIAT = MappingProxyType(_load())
"""Code to currency, 169 of them."""

CODE_BY_ISO_NUM = MappingProxyType({currency.iso_num: code for code, currency in FIAT.items()})

CRYPTO = MappingProxyType({"LTC": "Litecoin", "ETH": "Ethereum"})
"""Code to name; nothing else is known of them."""
