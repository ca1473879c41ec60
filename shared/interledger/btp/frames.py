"""Frames of BTP 2.0 (RFC-0023): one in each binary WebSocket message.

    byte 0   type: 1 RESPONSE, 2 ERROR, 6 MESSAGE, 7 TRANSFER; 3, 4 and 5 were of version 1 and are unknown now
    byte 1   requestId UInt32
    byte 5   contents, a VarOctetString:

    MESSAGE, RESPONSE   entries
    TRANSFER            amount UInt64 · entries
    ERROR               code 3 characters · name · triggeredAt · data UTF-8 · entries

    entries             how many as VarUInt, then for each: name · contentType UInt8 · data

Names, triggeredAt and data are VarOctetStrings, names are ASCII. Bytes after the last field are ignored, and never
sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from shared.interledger import oer
from shared.interledger.errors import DecodingError, EncodingError
from shared.interledger.timestamps import btp_timestamp, read_btp_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

MAX_FRAME_BYTES = 65_536
MAX_ENTRIES = 1_024
MAX_NAME_BYTES = 255
MAX_ERROR_DATA_BYTES = 8_192
CODE_BYTES = 3

RESPONSE = 1
ERROR = 2
MESSAGE = 6
TRANSFER = 7


class ContentType(IntEnum):
    """What the data of an entry is; any other number means octets."""

    OCTETS = 0
    TEXT = 1
    JSON = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One sub-protocol of a frame. Its data may be a token or a claim, so it is shown nowhere."""

    name: str
    content_type: int
    data: bytes = field(repr=False)


Entries: TypeAlias = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A request that moves no money."""

    request_id: int
    entries: Entries = ()


@dataclass(frozen=True, slots=True)
class Transfer:
    """A request that says "I owe you `amount` more"; what proves it is among the entries (BTP-21)."""

    request_id: int
    amount: int
    entries: Entries = ()


@dataclass(frozen=True, slots=True)
class Response:
    """What was asked was done."""

    request_id: int
    entries: Entries = ()


@dataclass(frozen=True, slots=True)
class Error:
    """What was asked was not done. `triggered_at` is None when the peer wrote no date that exists."""

    request_id: int
    code: str
    name: str
    triggered_at: datetime | None
    data: str = ""
    entries: Entries = ()


Frame: TypeAlias = Message | Transfer | Response | Error


def decode_frame(octets: bytes, limit: int = MAX_FRAME_BYTES) -> Frame:
    """Read one frame of at most `limit` bytes (BTP-3, BTP-4). Raises DecodingError."""
    if len(octets) > limit:
        raise DecodingError("too_long", "frame", f"has {len(octets)} bytes, at most {limit} are allowed")
    envelope = oer.Reader(octets)
    kind = envelope.uint8("type")
    request_id = envelope.uint32("requestId")
    contents = envelope.var_octets("contents")
    read = _DECODERS.get(kind)
    if read is None:
        raise DecodingError("unknown_type", "type", f"should be 1, 2, 6 or 7, not {kind}")
    return read(request_id, oer.Reader(contents))


def encode_frame(frame: Frame, limit: int = MAX_FRAME_BYTES) -> bytes:
    """Write one frame. Raises EncodingError for a field that the wire cannot carry, or a frame over `limit` bytes."""
    match frame:
        case Message():
            kind, head = MESSAGE, b""
        case Response():
            kind, head = RESPONSE, b""
        case Transfer():
            kind, head = TRANSFER, oer.uint64(frame.amount, "amount")
        case Error():
            kind, head = ERROR, _error_octets(frame)
        case _:
            raise EncodingError("bad_value", "frame", "should be a Message, a Transfer, a Response or an Error")
    contents = head + _entries_octets(frame.entries)
    octets = bytes((kind,)) + oer.uint32(frame.request_id, "requestId") + oer.var_octets(contents, "contents")
    if len(octets) > limit:
        raise EncodingError("too_long", "frame", f"has {len(octets)} bytes, at most {limit} are allowed")
    return octets


def _read_message(request_id: int, reader: oer.Reader) -> Message:
    return Message(request_id, _read_entries(reader))


def _read_response(request_id: int, reader: oer.Reader) -> Response:
    return Response(request_id, _read_entries(reader))


def _read_transfer(request_id: int, reader: oer.Reader) -> Transfer:
    return Transfer(request_id, reader.uint64("amount"), _read_entries(reader))


def _read_error(request_id: int, reader: oer.Reader) -> Error:
    return Error(
        request_id,
        code=oer.ascii_text(reader.octets(CODE_BYTES, "code"), "code"),
        name=reader.ascii("name", MAX_NAME_BYTES),
        triggered_at=read_btp_timestamp(reader.var_octets("triggeredAt")),
        # For people and logs: what is no UTF-8 is shown as such, the refusal itself stays readable.
        data=reader.var_octets("data").decode(errors="replace"),
        entries=_read_entries(reader),
    )


_DECODERS: Final[dict[int, Callable[[int, oer.Reader], Frame]]] = {
    MESSAGE: _read_message,
    RESPONSE: _read_response,
    TRANSFER: _read_transfer,
    ERROR: _read_error,
}


def _read_entries(reader: oer.Reader) -> Entries:
    return tuple(
        Entry(reader.ascii("name", MAX_NAME_BYTES), reader.uint8("contentType"), reader.var_octets("data"))
        for _ in range(reader.count("entries", MAX_ENTRIES))
    )


def _entries_octets(entries: Entries) -> bytes:
    parts = [oer.count(len(entries), "entries", MAX_ENTRIES)]
    for entry in entries:
        parts += (
            oer.ascii_octets(entry.name, "name", MAX_NAME_BYTES),
            oer.uint8(entry.content_type, "contentType"),
            oer.var_octets(entry.data, "data"),
        )
    return b"".join(parts)


def _error_octets(frame: Error) -> bytes:
    if not isinstance(frame.code, str) or len(frame.code) != CODE_BYTES or not frame.code.isascii():
        raise EncodingError("bad_value", "code", "should be three ASCII characters")
    if frame.triggered_at is None:
        raise EncodingError("bad_value", "triggeredAt", "should be an aware datetime")
    return (
        frame.code.encode("ascii")
        + oer.ascii_octets(frame.name, "name", MAX_NAME_BYTES)
        + oer.var_octets(btp_timestamp(frame.triggered_at), "triggeredAt")
        + oer.utf8_octets(frame.data, "data", MAX_ERROR_DATA_BYTES)
    )
