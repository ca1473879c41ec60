"""The keys of a STREAM connection, and what is made with them (RFC-0029).

what                 how; HMAC is HMAC-SHA256 with the key first
-------------------  -----------------------------------------------------------------------------------------
encryption key       HMAC(shared secret, "ilp_stream_encryption")
fulfillment key      HMAC(shared secret, "ilp_stream_fulfillment")
fulfillment          HMAC(fulfillment key, the data of the prepare as it came, sealed)
condition            SHA-256(fulfillment)
packet id            HMAC(shared secret, "ilp_stream_packet_id" ‖ sequence as UInt64)
sealed data          IV of 12 bytes ‖ tag of 16 bytes ‖ AES-256-GCM ciphertext, no associated data
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.interledger import oer
from shared.interledger.errors import SealError
from shared.interledger.packets import condition_of

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET_BYTES = 32
IV_BYTES = 12
TAG_BYTES = 16
SEAL_BYTES = IV_BYTES + TAG_BYTES


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA256."""
    return hmac.digest(key, message, "sha256")


def seal(key: bytes, plaintext: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """Encrypt under a key of 32 bytes. `random_bytes` gives the IV: under one key it must never give one twice."""
    iv = random_bytes(IV_BYTES)
    encrypted = AESGCM(key).encrypt(iv, plaintext, None)
    return iv + encrypted[-TAG_BYTES:] + encrypted[:-TAG_BYTES]


def open_sealed(key: bytes, sealed: bytes) -> bytes:
    """Decrypt what was sealed under this key. Raises SealError: `too_short`, `not_opened`."""
    if len(sealed) < SEAL_BYTES:
        # Some libraries take a shortened tag for a whole one, which can be guessed byte by byte.
        raise SealError("too_short", "sealed data", f"should have at least {SEAL_BYTES} bytes")
    iv, tag, ciphertext = sealed[:IV_BYTES], sealed[IV_BYTES:SEAL_BYTES], sealed[SEAL_BYTES:]
    try:
        return AESGCM(key).decrypt(iv, ciphertext + tag, None)
    except InvalidTag:
        raise SealError("not_opened", "sealed data", "was not sealed with this secret") from None


class ConnectionKeys:
    """What both ends of a connection derive from the secret that they share. It shows itself nowhere."""

    __slots__ = ("_encryption_key", "_fulfillment_key", "_shared_secret")

    def __init__(self, shared_secret: bytes) -> None:
        self._shared_secret = shared_secret
        self._encryption_key = hmac_sha256(shared_secret, b"ilp_stream_encryption")
        self._fulfillment_key = hmac_sha256(shared_secret, b"ilp_stream_fulfillment")

    def seal(self, plaintext: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
        """Encrypt for the other end."""
        return seal(self._encryption_key, plaintext, random_bytes)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what the other end has sealed. Raises SealError."""
        return open_sealed(self._encryption_key, sealed)

    def fulfillment(self, data: bytes) -> bytes:
        """Return what pays out a prepare with this data, sealed as it came."""
        return hmac_sha256(self._fulfillment_key, data)

    def condition(self, data: bytes) -> bytes:
        """Return the condition that a sender puts on a prepare with this data."""
        return condition_of(self.fulfillment(data))

    def packet_id(self, sequence: int) -> bytes:
        """Return the name of a packet, by which it is credited once (STR-1). Raises EncodingError."""
        return hmac_sha256(self._shared_secret, b"ilp_stream_packet_id" + oer.uint64(sequence, "sequence"))
