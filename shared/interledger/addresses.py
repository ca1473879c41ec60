"""ILP addresses (RFC-0015): an allocation scheme and at least one more segment, dots between them.

Case matters. `g` is the live network, `test…` are test networks, `peer` never leaves the two ends of one account.
"""

from __future__ import annotations

import re

from shared.interledger.errors import DecodingError, EncodingError

MAX_ADDRESS_LENGTH = 1023
PEER_PREFIX = "peer."

_ADDRESS = re.compile(r"(?:g|private|example|peer|self|test[1-3]?|local)(?:\.[A-Za-z0-9_~-]+)+")
_SEGMENT = re.compile(r"[A-Za-z0-9_~-]+")


def is_address(text: str) -> bool:
    """Whether `text` is an ILP address, all of it."""
    return len(text) <= MAX_ADDRESS_LENGTH and _ADDRESS.fullmatch(text) is not None


def is_peer_address(address: str) -> bool:
    """Whether what is sent there concerns the two ends of one account only, and is never forwarded (DCP-3)."""
    return address.startswith(PEER_PREFIX)


def is_at(address: str, ours: str) -> bool:
    """Whether `address` is `ours` or lies below it, segment by segment: `test.bobby` is not below `test.bob`."""
    return address == ours or address.startswith(f"{ours}.")


def child_address(parent: str, segment: str) -> str:
    """Return the address one segment below `parent`. Raises EncodingError `bad_address`."""
    if not _SEGMENT.fullmatch(segment):
        raise EncodingError("bad_address", "segment", "should be one or more letters, digits, '_', '~' or '-'")
    address = f"{parent}.{segment}"
    if not is_address(address):
        raise EncodingError("bad_address", "address", f"should be an ILP address of at most {MAX_ADDRESS_LENGTH}")
    return address


def read_address(octets: bytes, field: str) -> str:
    """Read an address from the wire; bytes above 127 make it none (OER-2). Raises DecodingError `bad_address`."""
    # Latin-1 keeps every byte apart, so what is not ASCII cannot pass for something that is.
    address = octets.decode("latin-1")
    if not is_address(address):
        raise DecodingError("bad_address", field, "should be an ILP address")
    return address


def address_octets(address: str, field: str) -> bytes:
    """Return the bytes of an address. Raises EncodingError `bad_address`."""
    if not isinstance(address, str) or not is_address(address):
        raise EncodingError("bad_address", field, "should be an ILP address")
    return address.encode("ascii")
