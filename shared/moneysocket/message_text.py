"""Messages from and to JSON text, in a dialect.

Reading checks, in this order: an object; its class and name are known; the envelope; every field by its rule.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from shared.moneysocket.dialects import JAVASCRIPT, SLUICE, Dialect
from shared.moneysocket.errors import MessageError
from shared.moneysocket.json_text import JsonValue, read_json, write_json
from shared.moneysocket.messages import PROTOCOL, REQUEST, VERSION_0, Catalogue, Message

if TYPE_CHECKING:
    from shared.moneysocket.rules import Rule

_NAME_KEYS = {True: "request_name", False: "notification_name"}
_BEFORE_NAME = frozenset({"request_uuid", "notification_uuid", "request_reference_uuid"})
_FIELDS: dict[type[Message], tuple[tuple[str, Rule, bool], ...]] = {}  # filled as kinds are met


def write_message(message: Message, dialect: Dialect = SLUICE) -> bytes:
    """The message as JSON text. Raises EncodingError for values that no JSON text can hold."""
    head: dict[str, Any] = {
        "timestamp": message.timestamp,
        "protocol": PROTOCOL,
        "protocol_version": message.protocol_version,
        "message_class": message.CLASS,
    }
    values: dict[str, Any] = {}
    name_key = _NAME_KEYS[message.CLASS == REQUEST]
    for key, rule, is_envelope in _fields(type(message)):
        if not is_envelope and name_key not in values:
            values[name_key] = message.NAME
        if rule.is_omitted and key in message.left_out and dialect is JAVASCRIPT:
            continue
        values[key] = rule.write(getattr(message, key), dialect)
    values.setdefault(name_key, message.NAME)
    return write_json({**head, **values, **message.extra}, dialect)


def read_message(raw: bytes | str, dialect: Dialect = SLUICE, catalogue: Catalogue = VERSION_0) -> Message:
    """Read one message from bytes or text; raises EncodingError, MessageError or WadError as they document."""
    return message_from_json(read_json(raw, dialect), dialect, catalogue)


def message_from_json(value: JsonValue, dialect: Dialect = SLUICE, catalogue: Catalogue = VERSION_0) -> Message:
    """Read one message from the value its text holds; raises MessageError or WadError."""
    if not isinstance(value, dict):
        raise MessageError("not_an_object", "a message is a JSON object")
    name_key = _NAME_KEYS[value.get("message_class") == REQUEST]
    kind = catalogue.find(value.get("message_class"), value.get(name_key))
    if kind is None or (dialect is JAVASCRIPT and "__proto__" in value):
        raise MessageError("unknown_kind", "the message has a class or a name that is not known")
    _check_envelope(value, dialect)
    values: dict[str, Any] = {}
    left_out = set()
    for key, rule, _ in _fields(kind):
        if key not in value:
            if not (rule.is_optional and dialect.optional_keys):
                raise MessageError("missing_field", f"{key} is missing")
            left_out.add(key)
        try:
            values[key] = rule.read(value.get(key), dialect)
        except MessageError as error:
            raise MessageError(error.code, f"{key} {error.text}") from None
    known = {"timestamp", "protocol", "protocol_version", "message_class", name_key, *values}
    return kind(
        timestamp=value["timestamp"],  # type: ignore[arg-type] # _check_envelope has seen that it is a number
        protocol_version=str(value["protocol_version"]),
        extra={key: item for key, item in value.items() if key not in known},
        left_out=frozenset(left_out),
        **values,
    )


def _check_envelope(value: dict[str, JsonValue], dialect: Dialect) -> None:
    timestamp = value.get("timestamp")
    is_number = isinstance(timestamp, int | float) and not isinstance(timestamp, bool)
    if not is_number or timestamp < 0 or (timestamp == 0 and not dialect.zero_timestamp):  # type: ignore[operator]
        raise MessageError("bad_envelope", "timestamp is not a number of seconds")
    if value.get("protocol") != PROTOCOL:
        raise MessageError("bad_envelope", f"protocol is not {PROTOCOL}")
    if not isinstance(value.get("protocol_version"), str):
        raise MessageError("bad_envelope", "protocol_version is not a text")


def _fields(kind: type[Message]) -> tuple[tuple[str, Rule, bool], ...]:
    """Key, rule, and whether it stands before the name, in the order they are written."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(
            (field.name, field.metadata["rule"], field.name in _BEFORE_NAME)
            for field in dataclasses.fields(kind)
            if "rule" in field.metadata
        )
    return _FIELDS[kind]
