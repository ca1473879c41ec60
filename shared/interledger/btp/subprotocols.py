"""Sub-protocols: what the entries of a frame mean.

The first entry says what is asked, the others qualify it; but `ilp` counts wherever it stands, because peers look for
it everywhere. In a map the last entry of a name wins. By content type a value is bytes (0, and any unknown one), text
(1) or JSON (2). JSON has one meaning or none here: what strict JSON refuses, makes the whole request fail.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from shared.interledger.btp.frames import ContentType, Entries, Entry
from shared.interledger.errors import DecodingError, EncodingError
from shared.strict_json import JsonValue, StrictJsonError, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ILP = "ilp"
CUSTOM = "custom"
AUTH = "auth"
AUTH_USERNAME = "auth_username"
AUTH_TOKEN = "auth_token"  # noqa: S105 - the name of an entry
CLAIM = "claim"
CHANNEL = "channel"
LAST_CLAIM = "last_claim"
INFO = "info"

Value: TypeAlias = "bytes | JsonValue"


def find(entries: Entries, name: str) -> Entry | None:
    """Return the first entry of that name, wherever it stands."""
    return next((entry for entry in entries if entry.name == name), None)


def ilp_of(entries: Entries) -> bytes | None:
    """Return the ILP packet of a frame, None if it has none (BTP-20)."""
    entry = find(entries, ILP)
    return None if entry is None else entry.data


def value_of(entry: Entry) -> Value:
    """Return what an entry holds. Raises DecodingError: `not_utf8`, `bad_json`."""
    if entry.content_type == ContentType.TEXT:
        try:
            return entry.data.decode()
        except UnicodeDecodeError:
            raise DecodingError("not_utf8", entry.name, "should be UTF-8") from None
    if entry.content_type == ContentType.JSON:
        try:
            return decode(entry.data)
        except StrictJsonError:
            raise DecodingError("bad_json", entry.name, "should be JSON that has one meaning") from None
    return entry.data


def values_of(entries: Entries) -> dict[str, Value]:
    """Return what all entries hold, by name; the last of a name wins. Raises DecodingError."""
    return {entry.name: value_of(entry) for entry in entries}


def entry_for(name: str, value: Value) -> Entry:
    """Return an entry whose content type follows from the value's: bytes, str, anything else is JSON.

    Raises EncodingError `bad_value` for what JSON cannot carry.
    """
    if isinstance(value, bytes):
        return Entry(name, ContentType.OCTETS, value)
    try:
        if isinstance(value, str):
            return Entry(name, ContentType.TEXT, value.encode())
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return Entry(name, ContentType.JSON, text.encode())
    except (TypeError, ValueError, RecursionError):
        raise EncodingError("bad_value", name, "should be bytes, text, or what JSON can carry") from None


def entries_for(
    *, ilp: bytes | None = None, values: Mapping[str, Value] | None = None, custom: Value = None
) -> Entries:
    """Return entries in the order peers write them: `ilp`, the named values, `custom`. Raises EncodingError."""
    named: Iterable[tuple[str, Value]] = (values or {}).items()
    return (
        *(() if ilp is None else (Entry(ILP, ContentType.OCTETS, ilp),)),
        *(entry_for(name, value) for name, value in named),
        *(() if custom is None else (entry_for(CUSTOM, custom),)),
    )
