"""ILPv4 packets (RFC-0027): a type, then all of its fields as one VarOctetString.

    type         fields, in this order
    -----------  ---------------------------------------------------------------------------------------------------
    12 prepare   amount UInt64 · expiresAt 17 digits · executionCondition 32 bytes · destination · data
    13 fulfill   fulfillment 32 bytes · data
    14 reject    code 3 characters · triggeredBy (an address or empty) · message UTF-8 · data

Destination, triggeredBy, message and data are VarOctetStrings. A fulfill is worth something only if SHA-256 of its
fulfillment is the condition of the prepare (ILP-3).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from shared.interledger import oer
from shared.interledger.addresses import MAX_ADDRESS_LENGTH, address_octets, read_address
from shared.interledger.errors import DecodingError, EncodingError
from shared.interledger.timestamps import ILP_TIMESTAMP_BYTES, ilp_timestamp, read_ilp_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

PREPARE = 12
FULFILL = 13
REJECT = 14
CONDITION_BYTES = 32
CODE_BYTES = 3
MAX_DATA_BYTES = 32_767
MAX_MESSAGE_BYTES = 8_192
"""Of a message we write; one we read may fill the packet."""
MAX_PACKET_BYTES = 65_535
"""More than the largest packet: whatever a peer appends is ignored, but not without end."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Money on its way: `amount` is for whoever shows the preimage of `condition` before `expires_at`."""

    amount: int
    expires_at: datetime
    condition: bytes
    destination: str
    data: bytes = field(default=b"", repr=False)

    def is_answered_by(self, fulfillment: bytes) -> bool:
        """Whether `fulfillment` is the preimage of the condition."""
        return hmac.compare_digest(condition_of(fulfillment), self.condition)


@dataclass(frozen=True, slots=True)
class Fulfill:
    """Money that has arrived."""

    fulfillment: bytes = field(repr=False)
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reject:
    """Money that has not moved; `code` says why, `triggered_by` where ("" for nowhere in particular)."""

    code: str
    triggered_by: str = ""
    message: str = ""
    data: bytes = field(default=b"", repr=False)


Packet: TypeAlias = Prepare | Fulfill | Reject


def condition_of(fulfillment: bytes) -> bytes:
    """Return the condition that `fulfillment` answers."""
    return hashlib.sha256(fulfillment).digest()


def decode_packet(octets: bytes) -> Packet:
    """Read any of the three packets. Raises DecodingError."""
    if len(octets) > MAX_PACKET_BYTES:
        raise DecodingError("too_long", "packet", f"has {len(octets)} bytes, at most {MAX_PACKET_BYTES} are allowed")
    envelope = oer.Reader(octets)
    kind = envelope.uint8("type")
    read = _DECODERS.get(kind)
    if read is None:
        raise DecodingError("unknown_type", "type", f"should be 12, 13 or 14, not {kind}")
    return read(oer.Reader(envelope.var_octets("contents")))


def decode_prepare(octets: bytes) -> Prepare:
    """Read a packet that has to be a prepare. Raises DecodingError, `wrong_type` for an answer."""
    packet = decode_packet(octets)
    if not isinstance(packet, Prepare):
        raise DecodingError("wrong_type", "type", "should be 12, a prepare")
    return packet


def decode_reply(octets: bytes) -> Fulfill | Reject:
    """Read a packet that has to be an answer. Raises DecodingError, `wrong_type` for a prepare."""
    packet = decode_packet(octets)
    if isinstance(packet, Prepare):
        raise DecodingError("wrong_type", "type", "should be 13 or 14, an answer")
    return packet


def encode_packet(packet: Packet) -> bytes:
    """Write a packet. Raises EncodingError for a field that the wire cannot carry."""
    if isinstance(packet, Prepare):
        kind, contents = PREPARE, _prepare_octets(packet)
    elif isinstance(packet, Fulfill):
        kind, contents = FULFILL, _fulfill_octets(packet)
    elif isinstance(packet, Reject):
        kind, contents = REJECT, _reject_octets(packet)
    else:
        raise EncodingError("bad_value", "packet", "should be a Prepare, a Fulfill or a Reject")
    return bytes((kind,)) + oer.var_octets(contents, "contents")


def _read_prepare(reader: oer.Reader) -> Prepare:
    return Prepare(
        amount=reader.uint64("amount"),
        expires_at=read_ilp_timestamp(reader.octets(ILP_TIMESTAMP_BYTES, "expiresAt")),
        condition=reader.octets(CONDITION_BYTES, "executionCondition"),
        destination=read_address(reader.var_octets("destination", MAX_ADDRESS_LENGTH), "destination"),
        data=reader.var_octets("data", MAX_DATA_BYTES),
    )


def _read_fulfill(reader: oer.Reader) -> Fulfill:
    return Fulfill(reader.octets(CONDITION_BYTES, "fulfillment"), reader.var_octets("data", MAX_DATA_BYTES))


def _read_reject(reader: oer.Reader) -> Reject:
    code = oer.ascii_text(reader.octets(CODE_BYTES, "code"), "code")
    triggered_by = reader.var_octets("triggeredBy", MAX_ADDRESS_LENGTH)
    return Reject(
        code=code,
        triggered_by=read_address(triggered_by, "triggeredBy") if triggered_by else "",
        # A message is for people: what is no UTF-8 is shown as such and does not make a refusal unreadable.
        message=reader.var_octets("message").decode(errors="replace"),
        data=reader.var_octets("data", MAX_DATA_BYTES),
    )


_DECODERS: Final[dict[int, Callable[[oer.Reader], Packet]]] = {
    PREPARE: _read_prepare,
    FULFILL: _read_fulfill,
    REJECT: _read_reject,
}


def _prepare_octets(packet: Prepare) -> bytes:
    return (
        oer.uint64(packet.amount, "amount")
        + ilp_timestamp(packet.expires_at)
        + _exactly(packet.condition, "executionCondition")
        + oer.var_octets(address_octets(packet.destination, "destination"), "destination")
        + oer.var_octets(packet.data, "data", MAX_DATA_BYTES)
    )


def _fulfill_octets(packet: Fulfill) -> bytes:
    return _exactly(packet.fulfillment, "fulfillment") + oer.var_octets(packet.data, "data", MAX_DATA_BYTES)


def _reject_octets(packet: Reject) -> bytes:
    if not isinstance(packet.code, str) or len(packet.code) != CODE_BYTES or not packet.code.isascii():
        raise EncodingError("bad_value", "code", "should be three ASCII characters")
    triggered_by = address_octets(packet.triggered_by, "triggeredBy") if packet.triggered_by else b""
    return (
        packet.code.encode("ascii")
        + oer.var_octets(triggered_by, "triggeredBy")
        + oer.utf8_octets(packet.message, "message", MAX_MESSAGE_BYTES)
        + oer.var_octets(packet.data, "data", MAX_DATA_BYTES)
    )


def _exactly(octets: bytes, name: str) -> bytes:
    if not isinstance(octets, bytes) or len(octets) != CONDITION_BYTES:
        raise EncodingError("bad_value", name, f"should be {CONDITION_BYTES} bytes")
    return octets
