"""The envelope of the draft of version 1, and the two messages that were built: a ping and a pong of the transport.

One record of type 0, with nothing behind it, holds

| type | record          | value                                                              |
|------|-----------------|--------------------------------------------------------------------|
| 0    | sender version  | three bytes                                                        |
| 1    | message type    | class (one byte: 0 request, 1 notification), subtype (BigSize)     |
| 2    | language object | JSON, see `_check`                                                 |
| else | additional      | kept; never 0, 1 or 2                                              |

The numbers of record 1 are not compared with the names in the language object (the reference looks them up the wrong
way round), and are written anew from the class. A request with the subtype of the pong is a ping. The draft gives
away more numbers (rendezvous 1; as notifications not ready 2 and end 3), but nothing can read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.moneysocket.bigsize import encode_bigsize, read_bigsize
from shared.moneysocket.errors import BeaconError, EncodingError, MessageError
from shared.moneysocket.frames import MAX_FRAME_BYTES
from shared.moneysocket.json_text import JsonValue, read_json, write_json
from shared.moneysocket.tlv import Tlv, iterate_tlvs, read_tlv
from shared.moneysocket.v1.features import check_features, check_uuid4
from shared.moneysocket.v1.version import DRAFT, Version

REQUEST, NOTIFICATION = "REQUEST", "NOTIFICATION"
TRANSPORT_PING, TRANSPORT_PONG = "TRANSPORT_PING", "TRANSPORT_PONG"
MAX_AHEAD_S = 3600
"""How far in the future a timestamp may lie, by the receiver's clock."""

_CLASS_NUMBERS = {REQUEST: 0, NOTIFICATION: 1}
_SUBTYPE_NUMBERS = {TRANSPORT_PING: 0, TRANSPORT_PONG: 0}
_VERSION, _TYPE, _LANGUAGE_OBJECT = range(3)
_DEFINED = frozenset({_VERSION, _TYPE, _LANGUAGE_OBJECT})


@dataclass(frozen=True, slots=True)
class MessageV1:
    """A ping or a pong: `language_object` as it came, with every key."""

    language_object: dict[str, Any]
    version: Version = DRAFT
    additional: tuple[Tlv, ...] = ()

    @property
    def is_ping(self) -> bool:
        """Whether it wants an answer; a notification is the answer."""
        return bool(self.language_object["type"] == REQUEST)

    @property
    def type_numbers(self) -> tuple[int, int]:
        """Class and subtype as numbers."""
        return _CLASS_NUMBERS[self.language_object["type"]], _SUBTYPE_NUMBERS[self.language_object["subtype"]]

    def encode(self) -> bytes:
        """The message as bytes; raises EncodingError for what JSON cannot hold."""
        kind, subtype = self.type_numbers
        records = (
            Tlv(_VERSION, self.version.encode()),
            Tlv(_TYPE, bytes([kind]) + encode_bigsize(subtype)),
            Tlv(_LANGUAGE_OBJECT, write_json(self.language_object)),
            *self.additional,
        )
        return Tlv(0, b"".join(record.encode() for record in records)).encode()


def transport_ping(request_uuid: str, timestamp: float) -> MessageV1:
    """Ask the other end of the transport for a sign of life."""
    return MessageV1(_language_object(REQUEST, TRANSPORT_PING, request_uuid, timestamp))


def transport_pong(ping: MessageV1, timestamp: float) -> MessageV1:
    """Answer a ping."""
    request_uuid = ping.language_object["request_uuid"]
    return MessageV1(_language_object(NOTIFICATION, TRANSPORT_PONG, request_uuid, timestamp))


def decode_message_v1(data: bytes, now_s: float) -> MessageV1:
    """Read a message; `now_s` in Unix seconds. Raises EncodingError, BeaconError `bad_version` or MessageError."""
    if len(data) > MAX_FRAME_BYTES:
        raise EncodingError("too_long", f"a message has at most {MAX_FRAME_BYTES} bytes, this one {len(data)}")
    outer, end = read_tlv(data)
    if end != len(data) or outer.type != 0:
        raise MessageError("bad_envelope", "a message of version 1 is exactly one record of type 0")
    records = list(iterate_tlvs(outer.value))
    if [record.type for record in records[: len(_DEFINED)]] != sorted(_DEFINED):
        raise MessageError("bad_envelope", "a message has version, type and language object, in this order")
    first, kind, spoken, *additional = records
    if any(record.type in _DEFINED for record in additional):
        raise MessageError("bad_envelope", "an additional record has a type that is already taken")
    version = Version.from_bytes(first.value)
    if not kind.value or read_bigsize(kind.value, 1)[1] != len(kind.value):
        raise MessageError("bad_envelope", "the message type is one byte and a BigSize")
    return MessageV1(_check(read_json(spoken.value), version, now_s), version, tuple(additional))


def _language_object(kind: str, subtype: str, request_uuid: str, timestamp: float) -> dict[str, Any]:
    return {
        "timestamp": timestamp,
        "version": {"major": DRAFT.major, "minor": DRAFT.minor, "patch": DRAFT.patch},
        "type": kind,
        "subtype": subtype,
        "subtype_data": {},
        "request_uuid": request_uuid,
        "features": [],
        "feature_data": {},
    }


def _check(value: JsonValue, version: Version, now_s: float) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MessageError("not_an_object", "a language object is a JSON object")
    timestamp = value.get("timestamp")
    is_number = isinstance(timestamp, int | float) and not isinstance(timestamp, bool)
    if not is_number or not 0 <= timestamp <= now_s + MAX_AHEAD_S:  # type: ignore[operator]
        raise MessageError("bad_envelope", "timestamp is not a number of seconds up to an hour from now")
    if _version(value.get("version")) != version:
        raise MessageError("bad_envelope", "the version of the language object is not that of the message")
    check_features(value)
    kind, subtype = value.get("type"), value.get("subtype")
    if kind not in (REQUEST, NOTIFICATION) or subtype not in (TRANSPORT_PING, TRANSPORT_PONG):
        raise MessageError("unknown_kind", "only the ping and the pong of the transport are known")
    check_uuid4(value.get("request_uuid"), "request_uuid")
    if not isinstance(value.get("subtype_data"), dict):
        raise MessageError("bad_field", "subtype_data is not an object")
    return value


def _version(value: object) -> Version:
    if not isinstance(value, dict) or not {"major", "minor", "patch"} <= value.keys():
        raise MessageError("bad_envelope", "version is an object of major, minor and patch")
    try:
        return Version(value["major"], value["minor"], value["patch"])
    except BeaconError as error:
        raise MessageError("bad_envelope", error.text) from None
