"""JSON as a receiver of money reads it: one meaning per text, or none.

The standard decoder keeps the last of duplicate keys, invents NaN, rounds nothing and nests until the stack ends.
Two programs that read such a text differently can be made to disagree about an amount, so all of it is refused here.
Everything this module accepts means the same in any JSON reader, JavaScript's doubles included.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_DEPTH = 32
MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (a double's 53 bits)."""

_MAX_INTEGER_CHARS = len(str(-MAX_SAFE_INTEGER))
# A string that does not end is taken to the end: else each of its marks would be tried as the beginning of another one.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKET = re.compile(rb"[^\[\]{}]++")
_OPENING = frozenset(b"[{")


class StrictJsonError(ValueError):
    """The text is refused; `code` names the rule, the message says it, with the place where that is cheap to know."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode(raw: bytes, *, max_depth: int = MAX_DEPTH) -> JsonValue:
    """Read one JSON value from UTF-8 bytes.

    Refused, with the error's code: `not_utf8`, `byte_order_mark`, `not_json` (trailing text too), `nested_too_deep`,
    `duplicate_key`, `not_finite` (NaN, Infinity, 1e999), `integer_too_large` (beyond ±(2^53-1)), `lone_surrogate`
    and `nul_character` (in a string or key). Raises StrictJsonError and nothing else.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise StrictJsonError("not_utf8", f"the text is not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise StrictJsonError("byte_order_mark", "the text begins with a byte order mark")
    _check_depth(raw, max_depth)
    try:
        value: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise StrictJsonError("not_json", f"not JSON: {error.msg} at character {error.pos}") from None
    if "\\u" in text:
        # Raw bytes cannot carry these two past the UTF-8 and JSON rules; only an escape can.
        _check_strings(value)
    return value


def _check_depth(raw: bytes, max_depth: int) -> None:
    """Refuse deep nesting before the decoder recurses; brackets inside strings do not count."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    depth = 0
    for bracket in _NOT_BRACKET.sub(b"", _STRING.sub(b"", raw)):
        if bracket in _OPENING:
            depth += 1
            if depth > max_depth:
                raise StrictJsonError("nested_too_deep", f"nested more than {max_depth} levels deep")
        else:
            depth -= 1


def _check_strings(value: JsonValue) -> None:
    """Refuse NUL and lone surrogates in every string and key. Recursion is safe: the depth was checked."""
    if isinstance(value, str):
        if "\0" in value:
            raise StrictJsonError("nul_character", "a string contains the character NUL")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StrictJsonError("lone_surrogate", "a string contains a lone surrogate") from None
    elif isinstance(value, dict):
        for key, member in value.items():
            _check_strings(key)
            _check_strings(member)
    elif isinstance(value, list):
        for element in value:
            _check_strings(element)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJsonError("duplicate_key", "an object has the same key twice")
    return members


def _integer(text: str) -> int:
    # The length is checked first: converting thousands of digits is slow on purpose of the one who sent them.
    if len(text) <= _MAX_INTEGER_CHARS:
        value = int(text)
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return value
    raise StrictJsonError("integer_too_large", "an integer lies beyond ±(2^53-1)")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictJsonError("not_finite", "a number is too large for a double")
    return value


def _constant(name: str) -> None:
    raise StrictJsonError("not_finite", f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
