"""Receipts (RFC-0039): how much a stream has received, in a form that a third party can verify.

    version 1 UInt8 · nonce 16 bytes · stream id UInt8 · total UInt64 · HMAC-SHA256(secret, the 26 bytes before)

Who asked for receipts chose nonce and secret; the sender of the money never learns the secret.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from shared.interledger import oer
from shared.interledger.errors import EncodingError, SealError
from shared.interledger.stream.crypto import hmac_sha256

VERSION = 1
NONCE_BYTES = 16
SECRET_BYTES = 32
RECEIPT_BYTES = 58
_SIGNED_BYTES = 26


@dataclass(frozen=True, slots=True)
class ReceiptSetup:
    """What receipts of one connection are made with. Raises EncodingError `bad_value` for other lengths."""

    nonce: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_BYTES:
            raise EncodingError("bad_value", "receipt nonce", f"should be {NONCE_BYTES} bytes")
        if len(self.secret) != SECRET_BYTES:
            raise EncodingError("bad_value", "receipt secret", f"should be {SECRET_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says; true if it was verified."""

    nonce: bytes
    stream_id: int
    total_received: int


def make_receipt(setup: ReceiptSetup, stream_id: int, total_received: int) -> bytes:
    """Return a receipt of 58 bytes. Raises EncodingError: stream ids above 255 have none."""
    said = (
        bytes((VERSION,))
        + setup.nonce
        + oer.uint8(stream_id, "stream id")
        + oer.uint64(total_received, "total received")
    )
    return said + hmac_sha256(setup.secret, said)


def read_receipt(octets: bytes, secret: bytes) -> Receipt:
    """Verify and read a receipt. Raises SealError `bad_receipt`."""
    if len(octets) != RECEIPT_BYTES or octets[0] != VERSION:
        raise SealError("bad_receipt", "receipt", f"should be {RECEIPT_BYTES} bytes of version {VERSION}")
    said, signature = octets[:_SIGNED_BYTES], octets[_SIGNED_BYTES:]
    if not hmac.compare_digest(hmac_sha256(secret, said), signature):
        raise SealError("bad_receipt", "receipt", "was not made with this secret")
    reader = oer.Reader(said[1:])
    return Receipt(reader.octets(NONCE_BYTES, "nonce"), reader.uint8("stream id"), reader.uint64("total received"))
