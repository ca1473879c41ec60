"""Checksummed hashes: what Obyte addresses are made of (Obyte, ocore `chash.js`).

A c-hash is a hash with 32 bits of its own checksum scattered among its bits, at places read off the digits of pi.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from operator import itemgetter
from typing import TypeGuard

from Crypto.Hash import RIPEMD160

from shared.obyte.hashing import sha256
from shared.obyte.serialization import utf8

_PI_FRACTION = "14159265358979323846264338327950288419716939937510"
_CHECKSUM_BYTES = (5, 13, 21, 29)  # which bytes of the clean data's SHA-256 are the checksum
_BITS_160 = 160
_BITS_288 = 288
_DROPPED_BYTES = 4  # 128 bits of RIPEMD-160 leave room for 32 bits of checksum
_ADDRESS_CHARACTERS = 32
_ADDRESS = re.compile("[A-Z2-7]{32}")
_BASE32_TO_INT = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHIJKLMNOPQRSTUV")


class _Places:
    """Where in a c-hash of so many bits its parts are. Texts of bits are picked apart and mixed in one call each."""

    def __init__(self, length: int, step_bonus: int) -> None:
        """The checksum lies at the running sums of pi's digits, zeros skipped."""
        checksum: list[int] = []
        place = 0
        for digit in map(int, _PI_FRACTION):
            if digit == 0:
                continue
            place += digit + step_bonus
            if place >= length:
                break
            checksum.append(place)
        clean = [place for place in range(length) if place not in checksum]
        at = {place: index for index, place in enumerate(clean + checksum)}
        self.checksum_of = itemgetter(*checksum)
        self.clean_of = itemgetter(*clean)
        self.mixed_of = itemgetter(*(at[place] for place in range(length)))
        """Of the clean bits with the checksum's behind them."""


_PLACES = {_BITS_160: _Places(_BITS_160, 0), _BITS_288: _Places(_BITS_288, 4)}


def chash160(data: str) -> str:
    """Return the 32-character c-hash of a text: an address when the text is a definition's source."""
    clean = RIPEMD160.new(utf8(data)).digest()[_DROPPED_BYTES:]
    return base64.b32encode(_mix(clean, _BITS_160)).decode()


def chash288(data: str) -> str:
    """Return the 48-character c-hash of a text, in base64."""
    return base64.b64encode(_mix(sha256(utf8(data)), _BITS_288)).decode()


def is_valid_address(address: object) -> TypeGuard[str]:
    """Tell whether `address` is a payment address: 32 characters A-Z2-7 whose checksum holds."""
    # What strangers send is looked up only if it is short: the cache keeps what it is asked.
    return isinstance(address, str) and len(address) == _ADDRESS_CHARACTERS and _is_valid_address(address)


def is_valid_device_address(address: object) -> bool:
    """Tell whether `address` is a device address: the digit 0 and a valid c-hash, 33 characters."""
    return isinstance(address, str) and address.startswith("0") and is_valid_address(address[1:])


def is_valid_base64(text: object, length: int | None = None) -> bool:
    """Tell whether decoding and encoding again gives the same text, so that a value has one spelling only.

    `length`, when given, is the number of characters the text must have.
    """
    if length is not None and (not isinstance(text, str) or len(text) != length):
        return False
    return decode_base64(text) is not None


def decode_base64(text: object) -> bytes | None:
    """Return the bytes of canonical base64 (alphabet, padding and unused bits as an encoder writes them), else None."""
    if not isinstance(text, str):
        return None
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return data if binascii.b2a_base64(data, newline=False).decode() == text else None


@lru_cache(maxsize=16_384)  # the same ones come again with every payment
def _is_valid_address(address: str) -> bool:
    if _ADDRESS.fullmatch(address) is None:
        return False
    mixed = f"{int(address.translate(_BASE32_TO_INT), 32):0{_BITS_160}b}"
    places = _PLACES[_BITS_160]
    return _bytes(places.checksum_of(mixed)) == _checksum(_bytes(places.clean_of(mixed)))


def _mix(clean: bytes, length: int) -> bytes:
    return _bytes(_PLACES[length].mixed_of(_bits(clean) + _bits(_checksum(clean))))


def _checksum(clean: bytes) -> bytes:
    digest = sha256(clean)
    return bytes(digest[index] for index in _CHECKSUM_BYTES)


def _bits(data: bytes) -> str:
    return f"{int.from_bytes(data):0{len(data) * 8}b}"


def _bytes(bits: tuple[str, ...]) -> bytes:
    return int("".join(bits), 2).to_bytes(len(bits) // 8)
