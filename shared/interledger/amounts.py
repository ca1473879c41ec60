"""Amounts: whole numbers from 0 to 2^64-1 in the smallest unit of an account; never floats, never wrapped around."""

from __future__ import annotations

import re

from shared.interledger.errors import DecodingError, EncodingError

MAX_AMOUNT = 2**64 - 1

_DIGITS = re.compile(r"[0-9]+")
_MAX_DIGITS = len(str(MAX_AMOUNT))


def parse_amount(text: str, field: str = "amount") -> int:
    """Read decimal text as JavaScript libraries write amounts (OER-1). Raises DecodingError `bad_amount`."""
    if isinstance(text, str) and _DIGITS.fullmatch(text):
        # The length is checked first: to convert thousands of digits takes long.
        significant = text.lstrip("0") or "0"
        if len(significant) <= _MAX_DIGITS and (amount := int(significant)) <= MAX_AMOUNT:
            return amount
    raise DecodingError("bad_amount", field, f"should be decimal digits, at most {MAX_AMOUNT}")


def check_uint(value: int, bits: int, field: str) -> int:
    """Return `value` if it is an integer that fits; True and 1.0 are no integers. Raises EncodingError `bad_value`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
        raise EncodingError("bad_value", field, f"should be an integer from 0 to 2^{bits}-1")
    return value
