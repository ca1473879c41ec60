"""What a field of a message may hold: one `Rule` per kind of field, judged in a dialect.

| rule         | PYTHON, SLUICE               | JAVASCRIPT                                   |
|--------------|------------------------------|----------------------------------------------|
| `UUID`       | a uuid (forms: see dialects) | 8-4-4-4-12 hexadecimal digits                |
| `REFERENCE`  | a uuid or null               | a uuid or null                               |
| `HEX64`      | 64 hexadecimal digits        | 64 characters, six digits in a row           |
| `MSATS`      | an integer above 0           | a number above 0                             |
| `BOLT11`     | a text that begins `lnbc`    | the same: `lnbcrt` passes, `lntb` does not   |
| `TEXT`       | a text                       | a text                                       |
| `EXTRA_TEXT` | null or up to 4096 characters | the same; may be absent (in SLUICE, too)    |
| `FLAG`       | true or false                | true or false                                |
| `WAD`        | a wad or null                | the same; may be absent (in SLUICE, too)     |
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.moneysocket.errors import MessageError
from shared.moneysocket.wads import Wad, bitcoin, read_wad

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.moneysocket.dialects import Dialect
    from shared.moneysocket.json_text import JsonValue

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-fA-F]*")
_SOME_HEX = re.compile(r"[0-9a-fA-F]{6}")
_DIGITS = 64
_MAX_EXTRA = 4096
_MAX_UUID_CHARS = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """How a field is read and written. `read` returns the value for the message or raises MessageError."""

    read: Callable[[JsonValue, Dialect], Any]
    write: Callable[[Any, Dialect], Any] = lambda value, _: value
    is_optional: bool = False
    """Whether dialects with `optional_keys` take a message without the key (the value is None then)."""
    is_omitted: bool = False
    """Whether the JavaScript library leaves the key out where it was given nothing (`Message.left_out`)."""


def is_uuid(value: object, dialect: Dialect) -> bool:
    """Whether `value` is a uuid of any version in a form that the dialect takes."""
    if not isinstance(value, str):
        return False
    if not dialect.any_uuid:
        return _UUID.fullmatch(value) is not None
    try:
        uuid.UUID(value if len(value) <= _MAX_UUID_CHARS else "")
    except ValueError:
        return False
    return True


def refuse(rule: str) -> MessageError:
    """The error for a value that breaks a rule; the reader of the message adds the field's name."""
    return MessageError("bad_field", rule)


def _uuid(value: JsonValue, dialect: Dialect) -> str:
    if not is_uuid(value, dialect):
        raise refuse("is not a uuid")
    return str(value)


def _reference(value: JsonValue, dialect: Dialect) -> str | None:
    return None if value is None else _uuid(value, dialect)


def _hex64(value: JsonValue, dialect: Dialect) -> str:
    text = _text(value, dialect)
    matches = _SOME_HEX.search(text) if dialect.loose_hex else _HEX.fullmatch(text)
    if not matches or dialect.length(text) != _DIGITS:
        raise refuse(f"is not {_DIGITS} hexadecimal digits")
    return text


def _msats(value: JsonValue, dialect: Dialect) -> float:
    kinds = int | float if dialect.any_msats else int
    if isinstance(value, bool) or not isinstance(value, kinds) or value <= 0:
        raise refuse("is not an integer above 0")
    return value


def _bolt11(value: JsonValue, dialect: Dialect) -> str:
    text = _text(value, dialect)
    if not text.startswith("lnbc"):
        raise refuse("does not begin with lnbc")
    return text


def _text(value: JsonValue, _: Dialect) -> str:
    if not isinstance(value, str):
        raise refuse("is not a text")
    return value


def _extra_text(value: JsonValue, dialect: Dialect) -> str | None:
    if value is not None and dialect.length(_text(value, dialect)) > _MAX_EXTRA:
        raise refuse(f"has more than {_MAX_EXTRA} characters")
    return None if value is None else str(value)


def _flag(value: JsonValue, _: Dialect) -> bool:
    if not isinstance(value, bool):
        raise refuse("is neither true nor false")
    return value


def _wad(value: JsonValue, dialect: Dialect) -> Wad | None:
    if value is None:
        return bitcoin(0) if dialect.null_wad_is_empty else None
    return read_wad(value, dialect)


def _written_wad(wad: Wad | None, dialect: Dialect) -> JsonValue:
    return None if wad is None else wad.to_json(dialect)


UUID = Rule(_uuid)
REFERENCE = Rule(_reference, is_omitted=True)
HEX64 = Rule(_hex64)
MSATS = Rule(_msats)
BOLT11 = Rule(_bolt11)
TEXT = Rule(_text)
EXTRA_TEXT = Rule(_extra_text, is_optional=True, is_omitted=True)
FLAG = Rule(_flag)
WAD = Rule(_wad, _written_wad, is_optional=True)
