"""ECDSA signatures over secp256k1 (Obyte, ocore `signature.js`), made and checked by libsecp256k1.

A signature is 64 bytes r, s in base64, 88 characters. Signing is deterministic (RFC 6979) with low s. Verification is
strict: it takes canonical base64 and compressed keys only, where the reference also reads sloppy base64 and
uncompressed keys. Whatever passes here also passes there and in agents.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from coincurve import PrivateKey, PublicKey

from shared.obyte.addresses import PUBKEY_CHARACTERS
from shared.obyte.chash import decode_base64
from shared.obyte.errors import SignatureError

SIGNATURE_CHARACTERS = 88
DIGEST_BYTES = 32
PUBKEY_BYTES = 33

_SIGNATURE_BYTES = 64
_SCALAR_BYTES = 32


def sign(digest: bytes, private_key: bytes) -> str:
    """Sign a 32-byte digest with a 32-byte private key and return 88 characters of base64.

    Raises `SignatureError` (`invalid_digest`, `invalid_private_key`).
    """
    return sign_with(parse_private_key(private_key), digest)


def sign_with(key: PrivateKey, digest: bytes) -> str:
    """Sign as `sign` does, with a key already parsed."""
    _check_digest(digest)
    # The recoverable form is the compact signature with one byte more, which the protocol does not carry.
    return base64.b64encode(key.sign_recoverable(digest, hasher=None)[:_SIGNATURE_BYTES]).decode()


def parse_private_key(private_key: bytes) -> PrivateKey:
    """Return the key object of 32 bytes. Raises `SignatureError` (`invalid_private_key`)."""
    try:
        if len(private_key) == _SCALAR_BYTES:
            return PrivateKey(private_key)
    except ValueError:
        pass
    raise SignatureError("invalid_private_key", "a private key must be 32 bytes, a number between 1 and n - 1")


def verify(digest: bytes, signature_b64: object, pubkey_b64: object) -> bool:
    """Tell whether a signature over a 32-byte digest is that of the key; anything malformed is simply wrong.

    Raises `SignatureError` (`invalid_digest`) when the digest is not 32 bytes, which is the caller's mistake.
    """
    signature = decode_signature(signature_b64)
    if signature is None:
        _check_digest(digest)
        return False
    return verify_decoded(digest, signature, pubkey_b64)


def decode_signature(signature_b64: object) -> bytes | None:
    """Return the 64 bytes of a signature in canonical base64, else None."""
    signature = decode_base64(signature_b64)
    return signature if signature is not None and len(signature) == _SIGNATURE_BYTES else None


def verify_decoded(digest: bytes, signature: bytes, pubkey_b64: object) -> bool:
    """Verify as `verify` does what `decode_signature` has returned."""
    _check_digest(digest)
    if not isinstance(pubkey_b64, str) or (pubkey := _parsed(pubkey_b64)) is None:
        return False
    body = _der_integer(signature[:_SCALAR_BYTES]) + _der_integer(signature[_SCALAR_BYTES:])
    return pubkey.verify(bytes((0x30, len(body))) + body, digest, hasher=None)


def is_valid_pubkey(pubkey_b64: object) -> bool:
    """Tell whether a text is a compressed point of the curve in canonical base64, 44 characters."""
    return isinstance(pubkey_b64, str) and _parsed(pubkey_b64) is not None


def _parsed(pubkey_b64: str) -> PublicKey | None:
    # What strangers send is looked up only if it is short: the cache keeps what it is asked.
    return _parsed_pubkey(pubkey_b64) if len(pubkey_b64) == PUBKEY_CHARACTERS else None


@lru_cache(maxsize=16_384)  # parsing costs a square root; payers come again
def _parsed_pubkey(pubkey_b64: str) -> PublicKey | None:
    data = decode_base64(pubkey_b64)
    if data is None or len(data) != PUBKEY_BYTES:
        return None
    try:
        return PublicKey(data)
    except ValueError:
        return None


def _der_integer(scalar: bytes) -> bytes:
    """Write a scalar as ASN.1 does: minimal, with a zero byte in front where it would look negative."""
    digits = scalar.lstrip(b"\0") or b"\0"
    if digits[0] >= 0x80:  # noqa: PLR2004 (the sign bit)
        digits = b"\0" + digits
    return bytes((0x02, len(digits))) + digits


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise SignatureError("invalid_digest", "only a digest of 32 bytes can be signed")
