"""The frames of STREAM packets (RFC-0029): a type, then the contents as one VarOctetString.

Frames of unknown types are skipped, bytes after the last field of a frame are ignored. `_TABLE`, at the end, says for
each type which fields it has, in order, and how each is written:

    uint     VarUInt of at most 8 bytes          text    VarOctetString of UTF-8
    uint8    one byte                            octets  VarOctetString
    ample    VarUInt; longer than 8 bytes it means "as much as there is"
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.interledger import oer
from shared.interledger.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Callable


class ErrorCode(IntEnum):
    """Why a connection or a stream is closed; frames may carry any other byte, too."""

    NO_ERROR = 1
    INTERNAL_ERROR = 2
    ENDPOINT_BUSY = 3
    FLOW_CONTROL_ERROR = 4
    STREAM_ID_ERROR = 5
    STREAM_STATE_ERROR = 6
    FRAME_FORMAT_ERROR = 7
    PROTOCOL_VIOLATION = 8
    APPLICATION_ERROR = 9


@dataclass(frozen=True, slots=True)
class ConnectionClose:
    """The sender is done with the whole connection."""

    error_code: int
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionNewAddress:
    """Where packets to the sender go, "" for nowhere. It asks for `ConnectionAssetDetails`."""

    source_account: str


@dataclass(frozen=True, slots=True)
class ConnectionMaxData:
    """Up to which byte of all streams together the sender takes data."""

    max_offset: int


@dataclass(frozen=True, slots=True)
class ConnectionDataBlocked:
    """Up to which byte of all streams together the sender would like to send data."""

    max_offset: int


@dataclass(frozen=True, slots=True)
class ConnectionMaxStreamId:
    """The highest number of a stream that may be opened."""

    max_stream_id: int


@dataclass(frozen=True, slots=True)
class ConnectionStreamIdBlocked:
    """The number of the stream that the sender would like to open."""

    max_stream_id: int


@dataclass(frozen=True, slots=True)
class ConnectionAssetDetails:
    """What the sender's amounts are in: 1 is 10^-scale of the asset."""

    source_asset_code: str
    source_asset_scale: int


@dataclass(frozen=True, slots=True)
class StreamClose:
    """The sender is done with this stream."""

    stream_id: int
    error_code: int
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class StreamMoney:
    """Which share of the packet's amount is for this stream."""

    stream_id: int
    shares: int


@dataclass(frozen=True, slots=True)
class StreamMaxMoney:
    """How much this stream takes altogether, and how much it has."""

    stream_id: int
    receive_max: int
    total_received: int


@dataclass(frozen=True, slots=True)
class StreamMoneyBlocked:
    """How much the sender would like to send to this stream altogether, and how much it has."""

    stream_id: int
    send_max: int
    total_sent: int


@dataclass(frozen=True, slots=True)
class StreamData:
    """Data of this stream, and where it begins."""

    stream_id: int
    offset: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamMaxData:
    """Up to which byte of this stream the sender takes data."""

    stream_id: int
    max_offset: int


@dataclass(frozen=True, slots=True)
class StreamDataBlocked:
    """Up to which byte of this stream the sender would like to send data."""

    stream_id: int
    max_offset: int


@dataclass(frozen=True, slots=True)
class StreamReceipt:
    """A signed statement of how much this stream has received: see `receipts`."""

    stream_id: int
    receipt: bytes = field(repr=False)


StreamFrame: TypeAlias = (
    ConnectionClose
    | ConnectionNewAddress
    | ConnectionMaxData
    | ConnectionDataBlocked
    | ConnectionMaxStreamId
    | ConnectionStreamIdBlocked
    | ConnectionAssetDetails
    | StreamClose
    | StreamMoney
    | StreamMaxMoney
    | StreamMoneyBlocked
    | StreamData
    | StreamMaxData
    | StreamDataBlocked
    | StreamReceipt
)


def read_frame(reader: oer.Reader) -> StreamFrame | None:
    """Read one frame; None for one of a type that nobody knows. Raises DecodingError."""
    kind = reader.uint8("frame type")
    contents = reader.var_octets("frame")
    found = _TABLE.get(kind)
    if found is None:
        return None
    cls, kinds = found
    inside = oer.Reader(contents)
    return cls(*(_READ[how](inside, member.name) for how, member in zip(kinds, fields(cls), strict=True)))


def frame_octets(frame: StreamFrame) -> bytes:
    """Write one frame. Raises EncodingError."""
    kind = _TYPES.get(type(frame))
    if kind is None:
        raise EncodingError("bad_value", "frame", "should be a frame of STREAM")
    _, kinds = _TABLE[kind]
    contents = b"".join(
        _WRITE[how](getattr(frame, member.name), member.name) for how, member in zip(kinds, fields(frame), strict=True)
    )
    return bytes((kind,)) + oer.var_octets(contents, "frame")


def _read_text(reader: oer.Reader, name: str) -> str:
    # For people, or compared with addresses: what is no UTF-8 is shown as such and equals nothing.
    return reader.var_octets(name).decode(errors="replace")


_READ: Final[dict[str, Callable[[oer.Reader, str], Any]]] = {
    "uint": oer.Reader.var_uint,
    "ample": oer.Reader.saturating_var_uint,
    "uint8": oer.Reader.uint8,
    "text": _read_text,
    "octets": oer.Reader.var_octets,
}
_WRITE: Final[dict[str, Callable[[Any, str], bytes]]] = {
    "uint": oer.var_uint,
    "ample": oer.var_uint,
    "uint8": oer.uint8,
    "text": oer.utf8_octets,
    "octets": oer.var_octets,
}

_TABLE: Final[dict[int, tuple[type[StreamFrame], tuple[str, ...]]]] = {
    0x01: (ConnectionClose, ("uint8", "text")),
    0x02: (ConnectionNewAddress, ("text",)),
    0x03: (ConnectionMaxData, ("uint",)),
    0x04: (ConnectionDataBlocked, ("uint",)),
    0x05: (ConnectionMaxStreamId, ("uint",)),
    0x06: (ConnectionStreamIdBlocked, ("uint",)),
    0x07: (ConnectionAssetDetails, ("text", "uint8")),
    0x10: (StreamClose, ("uint", "uint8", "text")),
    0x11: (StreamMoney, ("uint", "uint")),
    0x12: (StreamMaxMoney, ("uint", "ample", "uint")),
    0x13: (StreamMoneyBlocked, ("uint", "ample", "uint")),
    0x14: (StreamData, ("uint", "uint", "octets")),
    0x15: (StreamMaxData, ("uint", "uint")),
    0x16: (StreamDataBlocked, ("uint", "uint")),
    0x17: (StreamReceipt, ("uint", "octets")),
}
_TYPES: Final = {cls: kind for kind, (cls, _) in _TABLE.items()}
