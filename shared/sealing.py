"""Texts for one reader: sealed by whoever holds the reader's public key, opened by whoever knows his secret.

A signed package is worth money to whoever holds it. The worker's answers stand in rows that every front reads, so a
package goes into them sealed: to a key that follows from the API key of who asked. The database has only hashes of API
keys; a front can open the answer while its owner is asking for it, and nobody else ever can.

X25519 with a key pair for each text, HKDF-SHA256, ChaCha20-Poly1305 (RFC 7748, 5869, 8439).
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_NONCE = bytes(12)
"""Every text has a key of its own, so one nonce serves."""


class SealingError(Exception):
    """No public key, or nothing that this reader can open."""

    code = "sealing"


class Reader:
    """Who may open sealed texts: the holder of a secret."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: at least 128 random bits. The same secret makes the same reader."""
        self._private = X25519PrivateKey.from_private_bytes(_derived(secret, b"sluice reader"))

    @property
    def public_key(self) -> str:
        """What texts are sealed with: 32 bytes in base64."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def open(self, sealed: str) -> str:
        """Return the text. Raises SealingError when it was sealed for somebody else, or was changed."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            theirs, box = raw[:KEY_BYTES], raw[KEY_BYTES:]
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
            own = self._private.public_key().public_bytes_raw()
            return ChaCha20Poly1305(_key(shared, theirs, own)).decrypt(_NONCE, box, None).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise SealingError("the text was sealed for somebody else") from None


def seal(text: str, public_key: str) -> str:
    """Seal a text for a reader; base64. Raises SealingError for what is no public key."""
    try:
        theirs = base64.b64decode(public_key, validate=True)
        once = X25519PrivateKey.generate()
        shared = once.exchange(X25519PublicKey.from_public_bytes(theirs))
    except (ValueError, binascii.Error):
        raise SealingError("a public key is 32 bytes in base64, and not one of the weak ones") from None
    own = once.public_key().public_bytes_raw()
    box = ChaCha20Poly1305(_key(shared, own, theirs)).encrypt(_NONCE, text.encode(), None)
    return base64.b64encode(own + box).decode()


def _key(shared: bytes, once: bytes, reader: bytes) -> bytes:
    """Both public keys belong to the key, so that a text cannot be passed off as sealed for another reader."""
    return _derived(shared, b"sluice sealed text" + once + reader)


def _derived(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)
