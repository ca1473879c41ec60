"""Hierarchical keys: BIP32, and the variant of it that existing Obyte wallets use.

The wallet library of the reference writes the parent key of a hardened child *without* its leading zero bytes. One
seed in about eighty is affected, and its money lies at addresses that standard BIP32 never finds. The variant is
therefore the default; standard BIP32 is for seeds that no such wallet will ever open.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from Crypto.Hash import RIPEMD160

from shared.obyte.errors import KeyDerivationError
from shared.obyte.hashing import sha256
from shared.obyte.signatures import parse_private_key

HARDENED = 2**31
"""Added to a child number to derive from the private instead of the public key: what paths write as an apostrophe."""

_XPRV_VERSION = bytes.fromhex("0488ade4")
_XPUB_VERSION = bytes.fromhex("0488b21e")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """A private key that has children. `strict_bip32` tells which way its hardened children are derived."""

    private_key: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)
    strict_bip32: bool = False
    depth: int = 0
    parent_fingerprint: bytes = b"\0\0\0\0"
    child_number: int = 0

    @classmethod
    def from_seed(cls, seed: bytes, *, strict_bip32: bool = False) -> ExtendedKey:
        """Return the master key of a seed."""
        left, right = _halves(b"Bitcoin seed", seed)
        return cls(left, right, strict_bip32)

    def child(self, number: int) -> ExtendedKey:
        """Return one child; numbers from `HARDENED` up are hardened. Raises `KeyDerivationError`."""
        if not 0 <= number < 2 * HARDENED:
            raise KeyDerivationError("invalid_path", "a child number must be between 0 and 2^32 - 1")
        parent = parse_private_key(self.private_key)
        pubkey = parent.public_key.format()
        left, right = _halves(self.chain_code, self._derivation_data(number, pubkey) + number.to_bytes(4))
        try:
            private_key = parent.add(left).secret
        except ValueError:
            raise KeyDerivationError("invalid_path", "this child number has no key, take the next one") from None
        return ExtendedKey(private_key, right, self.strict_bip32, self.depth + 1, _hash160(pubkey)[:4], number)

    def descendant(self, *numbers: int) -> ExtendedKey:
        """Follow a path of child numbers. Raises `KeyDerivationError`."""
        key = self
        for number in numbers:
            key = key.child(number)
        return key

    def xprv(self) -> str:
        """Return the private extended key in base58. It is as secret as the seed."""
        return self._text(_XPRV_VERSION, b"\0" + self.private_key)

    def xpub(self) -> str:
        """Return the public extended key in base58. Raises `SignatureError` for an impossible private key."""
        return self._text(_XPUB_VERSION, parse_private_key(self.private_key).public_key.format())

    def _derivation_data(self, number: int, pubkey: bytes) -> bytes:
        if number < HARDENED:
            return pubkey
        return b"\0" + (self.private_key if self.strict_bip32 else self.private_key.lstrip(b"\0"))

    def _text(self, version: bytes, key: bytes) -> str:
        place = bytes((self.depth,)) + self.parent_fingerprint + self.child_number.to_bytes(4)
        return _base58check(version + place + self.chain_code + key)


def _halves(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    digest = hmac.digest(key, data, hashlib.sha512)
    return digest[:32], digest[32:]


def _hash160(data: bytes) -> bytes:
    return RIPEMD160.new(sha256(data)).digest()


def _base58check(data: bytes) -> str:
    # Extended keys start with a byte other than zero, so base58's rule about leading zeros never applies.
    number = int.from_bytes(data + sha256(sha256(data))[:4])
    text = ""
    while number:
        number, digit = divmod(number, len(_BASE58))
        text = _BASE58[digit] + text
    return text
