"""The two canonical texts of a JSON value that Obyte hashes (Obyte, ocore `string_utils.js`).

Both follow JavaScript: every number is an IEEE-754 double written in the shortest ECMAScript form, and object keys
are sorted by UTF-16 code units. Neither has a text for null, NaN, infinities or (by default) empty containers.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from shared.obyte.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Covariant, so that a dict[str, int] is a JsonValue too. At run time only list, tuple and dict are containers.
JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

MAX_DEPTH = 100
"""Deepest nesting of containers that is read. A unit may not be deeper, and no honest package is."""

MAX_SAFE_INTEGER = 2**53 - 1
"""Above this a double cannot tell neighbouring integers apart (ECMAScript `Number.MAX_SAFE_INTEGER`)."""

_MAX_PLAIN_DIGITS = 21  # ECMAScript Number::toString writes integers below 10^21 without an exponent
_MIN_PLAIN_EXPONENT = -6  # and fractions down to 10^-6

_NEEDS_ESCAPE = re.compile('["\\\\\x00-\x1f\ud800-\udfff\U00010000-\U0010ffff]')
_quote_ascii = json.JSONEncoder(ensure_ascii=False).encode
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def typed_source(value: JsonValue) -> str:
    r"""Return the typed source string: type marks and texts joined by NUL, as `s\0hello` or `[\0n\x001\0]`.

    It hashes addresses, balls, device messages and units of version 1. Pass the result to `utf8` before hashing.
    Raises `SerializationError`.
    """
    parts: list[str] = []
    _append_typed(value, parts, MAX_DEPTH)
    return "\0".join(parts)


def json_source(value: JsonValue, *, allow_empty: bool = False) -> str:
    """Return compact JSON with sorted keys and every UTF-16 surrogate escaped.

    It hashes units since version 2, signed packages and agent definitions. `allow_empty` admits empty containers,
    which only agents' state values may hold. Raises `SerializationError`.
    """
    parts: list[str] = []
    _append_json(value, parts, MAX_DEPTH, allow_empty=allow_empty)
    return "".join(parts)


def parse_js_json(text: str | bytes) -> JsonValue:
    """Parse JSON as JavaScript would: doubles only, the last of duplicate keys wins, `-0` is `0`, `1.0` is `1`.

    An integral number below 2^53 comes back as `int`; any other number as the nearest `float`, so an integer too
    large to be exact is never mistaken for one. Bytes must be UTF-8 without a byte order mark. Raises
    `SerializationError` (`invalid_json`, `invalid_number`, `too_deep`).
    """
    try:
        value: JsonValue = json.loads(
            text if isinstance(text, str) else text.decode(),
            parse_int=_js_number,
            parse_float=_js_number,
            parse_constant=_refuse_constant,
        )
    except ValueError:
        raise SerializationError("invalid_json", "the text is not valid JSON") from None
    except RecursionError:
        raise _too_deep() from None
    return value


def utf8(source: str) -> bytes:
    """Encode a source string for hashing. A lone surrogate becomes U+FFFD, as JavaScript's encoder has it."""
    try:
        return source.encode()
    except UnicodeEncodeError:
        return source.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def utf16_length(text: str) -> int:
    """Return the number of UTF-16 code units: what JavaScript calls the length of a string."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def sorted_keys(keys: Iterable[str]) -> list[str]:
    """Sort object keys by UTF-16 code units, in which an emoji comes before U+FFFF."""
    try:
        names = sorted(keys)
        return names if "".join(names).isascii() else sorted(names, key=_utf16_order)
    except TypeError:
        raise SerializationError("invalid_key", "an object key must be a string") from None


def number_text(number: float) -> str:
    """Write a number as ECMAScript does: the shortest decimal that reads back as the same double.

    Raises `SerializationError` (`invalid_number`) for NaN, infinities and integers no double can hold.
    """
    if isinstance(number, int) and -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
        return str(number)
    double = _as_double(number)
    if abs(double) <= MAX_SAFE_INTEGER and double.is_integer():
        return str(int(double))
    return _shortest_text(double)


def _append_typed(value: JsonValue, parts: list[str], depth_left: int) -> None:
    if isinstance(value, str):
        parts += "s", _without_nul(value)
    elif isinstance(value, bool):
        parts += "b", "true" if value else "false"
    elif isinstance(value, int | float):
        parts += "n", number_text(value)
    elif isinstance(value, dict):
        _check_container(value, "empty_object", depth_left)
        for key in sorted_keys(value):
            parts.append(_without_nul(key))
            _append_typed(value[key], parts, depth_left - 1)
    elif isinstance(value, list | tuple):
        _check_container(value, "empty_array", depth_left)
        parts.append("[")
        for element in value:
            _append_typed(element, parts, depth_left - 1)
        parts.append("]")
    else:
        _refuse_type(value)


def _append_json(value: JsonValue, parts: list[str], depth_left: int, *, allow_empty: bool) -> None:
    if isinstance(value, str):
        parts.append(_quoted(value))
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, int | float):
        parts.append(number_text(value))
    elif isinstance(value, dict):
        _check_container(value or allow_empty, "empty_object", depth_left)
        mark = "{"
        for key in sorted_keys(value):
            parts.append(f"{mark}{_quoted(key)}:")
            _append_json(value[key], parts, depth_left - 1, allow_empty=allow_empty)
            mark = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list | tuple):
        _check_container(value or allow_empty, "empty_array", depth_left)
        mark = "["
        for element in value:
            parts.append(mark)
            _append_json(element, parts, depth_left - 1, allow_empty=allow_empty)
            mark = ","
        parts.append("]" if value else "[]")
    else:
        _refuse_type(value)


def _quoted(text: str) -> str:
    # Python and ECMAScript quote ASCII alike; beyond it only surrogates, and what is made of them, are escaped.
    return _quote_ascii(text) if text.isascii() else f'"{_NEEDS_ESCAPE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    point = ord(character)
    if point <= 0xFFFF:  # noqa: PLR2004 (the last code point of one UTF-16 unit)
        return f"\\u{point:04x}"
    offset = point - 0x10000
    return f"\\u{0xD800 + (offset >> 10):04x}\\u{0xDC00 + (offset & 0x3FF):04x}"


def _utf16_order(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _shortest_text(double: float) -> str:
    # repr() finds the same shortest digits as ECMAScript; only the layout of the exponent differs.
    sign = "-" if double < 0 else ""
    mantissa, _, exponent = repr(abs(double)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    written = whole + ("" if fraction == "0" else fraction)
    leading_zeros = len(written) - len(written.lstrip("0"))
    digits = written.strip("0")
    point = len(whole) + int(exponent or 0) - leading_zeros  # the value is 0.digits times ten to this power
    if len(digits) <= point <= _MAX_PLAIN_DIGITS:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= _MAX_PLAIN_DIGITS:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _MIN_PLAIN_EXPONENT < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def _as_double(number: float) -> float:
    try:
        double = float(number)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise SerializationError("invalid_number", "a number must be finite")
    return double


def _js_number(text: str) -> float:
    double = _as_double(float(text))
    return int(double) if abs(double) <= MAX_SAFE_INTEGER and double.is_integer() else double


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise SerializationError("nul_character", "a string must not contain the NUL character")
    return text


def _check_container(holds_something: object, empty_code: str, depth_left: int) -> None:
    if not holds_something:
        raise SerializationError(empty_code)
    if depth_left == 0:
        raise _too_deep()


def _refuse_constant(name: str) -> NoReturn:
    raise SerializationError("invalid_number", f"{name} is not a number of JSON")


def _refuse_type(value: object) -> NoReturn:
    if value is None:
        raise SerializationError("null_value", "null has no hash")
    raise SerializationError("unsupported_type", f"{type(value).__name__} is not a JSON value")


def _too_deep() -> SerializationError:
    return SerializationError("too_deep", f"containers are nested more than {MAX_DEPTH} levels deep")
