"""JSON as the dialects write and read it, with a limit on depth and no way to fail but `EncodingError`.

Duplicate keys are taken, the last wins: both libraries do so, and a re-written message keeps one of them only.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

from shared.moneysocket.dialects import SLUICE, Dialect
from shared.moneysocket.errors import EncodingError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_DEPTH = 32
"""How deep arrays and objects may nest, in every dialect: the protocol itself needs four levels."""

_MAX_SAFE_INTEGER = 2**53
_MAX_INDEX = 2**32 - 2
# A string that does not end is taken to the end: else each of its marks would be tried as the beginning of another one.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_UNUSUAL = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_LARGEST_PLAIN_EXPONENT = 21
_SMALLEST_PLAIN_EXPONENT = -6


def read_json(raw: bytes | str, dialect: Dialect = SLUICE) -> JsonValue:
    """Read one value from bytes or text. Raises EncodingError `not_utf8`, `not_json`, `nested_too_deep`."""
    text = raw if isinstance(raw, str) else _decode(raw, dialect)
    _check_depth(text)
    try:
        value: JsonValue = _DECODERS[dialect.doubles, dialect.number_words].decode(text)
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError, too
        raise EncodingError("not_json", "the text is not JSON") from None
    return _mended(value) if dialect.mends_text and "\\u" in text else value


def write_json(value: JsonValue, dialect: Dialect = SLUICE) -> bytes:
    """Write a value as the library of that dialect does. Raises EncodingError `not_utf8`, `not_json`."""
    try:
        if dialect.doubles:
            text = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):x}", _javascript(value))
        else:
            separators = (", ", ": ") if dialect.spaced else (",", ":")
            text = json.dumps(
                value, ensure_ascii=dialect.ascii_only, separators=separators, allow_nan=dialect.number_words
            )
        return text.encode()
    except UnicodeEncodeError:
        raise EncodingError("not_utf8", "the text cannot be written in UTF-8") from None
    except (TypeError, ValueError, RecursionError):
        raise EncodingError("not_json", "the value cannot be written as JSON") from None


def javascript_number(value: float) -> str:
    """Write a number as JavaScript does (ECMAScript, Number::toString; JSON has `null` for what is not finite)."""
    double = _double(value)
    if not math.isfinite(double):
        return "null"
    if double == 0:
        return "0"
    mantissa, _, exponent = repr(abs(double)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if double < 0 else ""
    if len(digits) <= point <= _LARGEST_PLAIN_EXPONENT:
        return sign + digits.ljust(point, "0")
    if 0 < point <= _LARGEST_PLAIN_EXPONENT:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN_EXPONENT < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def _decode(raw: bytes, dialect: Dialect) -> str:
    if dialect.lossy_text:
        return raw.decode(errors="replace").removeprefix("\ufeff")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise EncodingError("not_utf8", "the text is not UTF-8") from None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the decoder recurses; brackets inside strings do not count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for char in _STRING.sub("", text):
        if char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise EncodingError("nested_too_deep", f"arrays and objects nest more than {MAX_DEPTH} deep")
        elif char in "]}":
            depth -= 1


def _double(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _javascript_integer(digits: str) -> float:
    double = _double(digits)
    return int(double) if abs(double) <= _MAX_SAFE_INTEGER else double


def _refuse_word(word: str) -> NoReturn:
    raise ValueError(word)


def _decoder(*, doubles: bool, number_words: bool) -> json.JSONDecoder:
    options: dict[str, Any] = {}
    if doubles:
        options["parse_int"] = _javascript_integer
    if not number_words:
        options["parse_constant"] = _refuse_word
    return json.JSONDecoder(**options)


_DECODERS = {
    (doubles, words): _decoder(doubles=doubles, number_words=words)
    for doubles in (True, False)
    for words in (True, False)
}


def _mended(value: JsonValue) -> JsonValue:
    """Replace what an escape can smuggle into text and neither UTF-8 nor a database can hold."""
    if isinstance(value, str):
        return _UNUSUAL.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_UNUSUAL.sub("\ufffd", key): _mended(item) for key, item in value.items()}
    return value


def _javascript(value: JsonValue) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return javascript_number(value)
    if isinstance(value, list):
        return f"[{','.join(map(_javascript, value))}]"
    keys = sorted(value, key=_javascript_order)  # a stable sort: what is no index keeps its place
    return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_javascript(value[key])}" for key in keys) + "}"


def _javascript_order(key: str) -> int:
    """Objects in JavaScript list keys that are array indexes first, in ascending order."""
    return int(key) if _INDEX.fullmatch(key) and int(key) <= _MAX_INDEX else _MAX_INDEX + 1
