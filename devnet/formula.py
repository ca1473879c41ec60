"""Values as the agents' formula language sees them (Obyte, ocore `formula/evaluation.js`).

What a trigger carries is JSON; a formula reads it as text, truth value, number or object, and turns every text that
looks like a number into one. Numbers have 15 significant digits. The channel agent's money rests on these quirks, so
they are kept exactly, and kept in one place.
"""

from __future__ import annotations

import math
import re
import sys
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TypeAlias

from shared.obyte.serialization import JsonValue, number_text

MAX_TEXT_LENGTH = 4096
"""A longer text read from a trigger fails the whole formula."""

Value: TypeAlias = "bool | str | Decimal | dict[str, JsonValue] | list[JsonValue]"

_NUMBER = re.compile(r"[+-]?(?P<mantissa>[0-9]+(?:\.[0-9]+)?)(?:[eE][+-]?(?P<exponent>[0-9]+))?")
_GREATEST = Decimal(sys.float_info.max)
_MAX_SAFE_INTEGER = 2**53 - 1
_CONTEXT = Context(prec=15, rounding=ROUND_HALF_EVEN)


class FormulaError(Exception):
    """The formula stops and the trigger bounces with this message."""

    def __init__(self, message: str) -> None:
        """Take the text the trigger's author gets to see."""
        self.message = message
        super().__init__(message)


def number(value: float | Decimal) -> Decimal:
    """Round to the 15 significant digits formulas calculate with."""
    return _CONTEXT.create_decimal(repr(value) if isinstance(value, float) else value)


def select(root: JsonValue, *keys: str) -> Value:
    """Read `root.key1.key2…`; false when anything on the way is missing. Raises `FormulaError` for an overlong text.

    An array with one element stands for that element when a key is applied to it.
    """
    value: JsonValue = root or False
    for key in keys:
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return _read(value)


def truthy(value: Value) -> bool:
    """Tell whether a condition holds: objects and arrays do even when empty; "", 0 and false do not."""
    return True if isinstance(value, dict | list) else bool(value)


def otherwise(value: Value, default: Decimal) -> Value:
    """Replace a value that is not truthy."""
    return value if truthy(value) else default


def is_integer(value: Value) -> bool:
    """Tell whether a value is a number without a fraction, or a text that reads as one."""
    return isinstance(value, Decimal) and value == value.to_integral_value()


def differ(left: Value, right: Value) -> bool:
    """Compare as `!=` does. Raises `FormulaError` where the language refuses to compare two types."""
    if isinstance(left, dict | list) and isinstance(right, dict | list):
        return left != right
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        raise FormulaError("objects cannot be compared with other types")
    if isinstance(left, bool) and isinstance(right, bool):
        return left is not right
    if isinstance(left, bool) or isinstance(right, bool):
        raise FormulaError("booleans cannot be compared with other types")
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left != right
    return text_of(left) != text_of(right)


def finite(value: Decimal, operator: str) -> Decimal:
    """Return the result of a calculation. Raises `FormulaError` when it is beyond the range of doubles."""
    if abs(value) > _GREATEST:
        raise FormulaError(f"not finite in {operator}")
    return value


def as_result(value: int) -> int | str:
    """Return a whole number as a formula yields it to the message it stands in: as a text when it is very great."""
    return value if abs(value) < _MAX_SAFE_INTEGER else text_of(number(value))


def text_of(value: Value) -> str:
    """Write a value as joining it to a text does; an object is merely true."""
    if isinstance(value, Decimal):
        return number_text(int(value) if value == value.to_integral_value() else float(value))
    if isinstance(value, str):
        return value
    return "true" if truthy(value) else "false"


def _read(value: JsonValue) -> Value:
    if value is None:
        return False
    if isinstance(value, bool | dict | list):
        return value
    if isinstance(value, int | float):
        return number(value)
    if not isinstance(value, str):
        raise TypeError("a trigger holds JSON only")
    if len(value) > MAX_TEXT_LENGTH:
        raise FormulaError(f"string value too long: {value}")
    match = _NUMBER.fullmatch(value)
    if match is None:
        return value
    read = float(value)
    is_too_small = read == 0 and Decimal(match["mantissa"]) > 0 and int(match["exponent"] or 0) > 0
    return value if math.isinf(read) or is_too_small else number(read)
