"""STREAM packets (RFC-0029): what is sealed inside the data of an ILP packet.

    version 1 UInt8 · type of the ILP packet UInt8 · sequence VarUInt · prepareAmount VarUInt · frames (SEQUENCE OF)

What follows the frames is padding and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.interledger import oer
from shared.interledger.errors import DecodingError, EncodingError
from shared.interledger.stream.frames import StreamFrame, frame_octets, read_frame

if TYPE_CHECKING:
    from typing import TypeVar

    FrameType = TypeVar("FrameType", bound=StreamFrame)

VERSION = 1
MAX_FRAMES = 1_024


@dataclass(frozen=True, slots=True)
class StreamPacket:
    """One packet. In a prepare `prepare_amount` is the least that must arrive, in an answer it is what arrived."""

    sequence: int
    packet_type: int
    prepare_amount: int
    frames: tuple[StreamFrame, ...] = ()

    def first(self, kind: type[FrameType]) -> FrameType | None:
        """Return the first frame of that kind."""
        return next((frame for frame in self.frames if isinstance(frame, kind)), None)


def decode_stream_packet(octets: bytes) -> StreamPacket:
    """Read a packet that was opened. Raises DecodingError."""
    reader = oer.Reader(octets)
    version = reader.uint8("version")
    if version != VERSION:
        raise DecodingError("wrong_version", "version", f"should be {VERSION}, not {version}")
    packet_type = reader.uint8("packet type")
    sequence = reader.var_uint("sequence")
    prepare_amount = reader.var_uint("prepareAmount")
    found = (read_frame(reader) for _ in range(reader.count("frames", MAX_FRAMES)))
    return StreamPacket(sequence, packet_type, prepare_amount, tuple(frame for frame in found if frame is not None))


def encode_stream_packet(packet: StreamPacket, pad_to: int = 0) -> bytes:
    """Write a packet; zeros up to a length of `pad_to` hide how long it is. Raises EncodingError."""
    octets = (
        bytes((VERSION,))
        + oer.uint8(packet.packet_type, "packet type")
        + oer.var_uint(packet.sequence, "sequence")
        + oer.var_uint(packet.prepare_amount, "prepareAmount")
        + oer.count(len(packet.frames), "frames", MAX_FRAMES)
        + b"".join(frame_octets(frame) for frame in packet.frames)
    )
    if len(octets) > pad_to > 0:
        raise EncodingError("too_long", "packet", f"has {len(octets)} bytes, more than it is padded to")
    return octets.ljust(pad_to, b"\0")
