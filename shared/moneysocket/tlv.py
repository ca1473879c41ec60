"""Type, length, value: the records a beacon is made of (Lightning, BOLT 1), type and length as BigSize.

A stream of them is read as it comes. Whether an order, a duplicate or an unknown type matters is decided by whoever
reads the stream: the reference libraries enforce none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.moneysocket.bigsize import encode_bigsize, read_bigsize
from shared.moneysocket.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Tlv:
    """One record."""

    type: int
    value: bytes

    def encode(self) -> bytes:
        """The record as bytes."""
        return encode_bigsize(self.type) + encode_bigsize(len(self.value)) + self.value


def read_tlv(data: bytes, at: int = 0) -> tuple[Tlv, int]:
    """Read the record that begins at offset `at`, and the offset behind it.

    Raises EncodingError `truncated` or `not_minimal`.
    """
    kind, at = read_bigsize(data, at)
    length, at = read_bigsize(data, at)
    end = at + length
    if end > len(data):
        raise EncodingError("truncated", f"a record of type {kind} ends after {len(data) - at} of {length} bytes")
    return Tlv(kind, data[at:end]), end


def iterate_tlvs(data: bytes) -> Iterator[Tlv]:
    """Read a stream of records to its last byte; raises as `read_tlv` does."""
    at = 0
    while at < len(data):
        record, at = read_tlv(data, at)
        yield record
