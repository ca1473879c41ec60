"""bech32 (BIP 173, not bech32m) over bytes, without the BIP's limit of 90 characters: beacons are longer.

| rule        |                                                                                            |
|-------------|--------------------------------------------------------------------------------------------|
| text        | prefix, `1`, data, six characters of checksum; all lower case or all upper case             |
| separator   | the last `1`: the prefix may hold others                                                    |
| data        | eight bits become five, the last group padded with zero bits                                |
| refused     | mixed case, characters outside ASCII 33 to 126, a padding of five bits or more or not zero |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.moneysocket.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CHARS = 20_000
"""What the JavaScript library takes; the Python library has no limit."""

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {char: value for value, char in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_CHARS = 6
_CONSTANT = 1
_FIRST_CHAR, _LAST_CHAR = 33, 126
_WORD_BITS = 5
_BYTE_BITS = 8


def encode_bech32(prefix: str, data: bytes) -> str:
    """Write `data` behind `prefix` (lower case). Raises EncodingError `too_long` or `not_bech32` (the prefix)."""
    if not prefix or prefix != prefix.lower() or not _is_printable(prefix):
        raise EncodingError("not_bech32", "the prefix of a bech32 text is lower-case ASCII")
    words = _regroup(data, _BYTE_BITS, _WORD_BITS)
    residue = _residue([*_expand(prefix), *words, *([0] * _CHECKSUM_CHARS)]) ^ _CONSTANT
    checksum = [(residue >> _WORD_BITS * (_CHECKSUM_CHARS - 1 - place)) & 31 for place in range(_CHECKSUM_CHARS)]
    text = prefix + "1" + "".join(_CHARSET[word] for word in [*words, *checksum])
    _check_length(text)
    return text


def decode_bech32(text: str) -> tuple[str, bytes]:
    """Read prefix (in lower case) and data.

    Raises EncodingError `too_long`, `not_bech32`, `bad_checksum`, `bad_padding`.
    """
    _check_length(text)
    if not _is_printable(text) or (text != text.lower() and text != text.upper()):
        raise EncodingError("not_bech32", "a bech32 text is printable ASCII in one case")
    prefix, separator, payload = text.lower().rpartition("1")
    if not separator or not prefix or len(payload) < _CHECKSUM_CHARS:
        raise EncodingError("not_bech32", "a bech32 text is a prefix, a 1, data and a checksum")
    if any(char not in _VALUES for char in payload):
        raise EncodingError("not_bech32", "a bech32 text holds a character that encodes nothing")
    words = [_VALUES[char] for char in payload]
    if _residue([*_expand(prefix), *words]) != _CONSTANT:
        raise EncodingError("bad_checksum", "the checksum of the bech32 text does not match: a character is wrong")
    return prefix, _to_bytes(words[:-_CHECKSUM_CHARS])


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARS:
        raise EncodingError("too_long", f"a bech32 text has at most {MAX_CHARS} characters, this one {len(text)}")


def _is_printable(text: str) -> bool:
    return all(_FIRST_CHAR <= ord(char) <= _LAST_CHAR for char in text)


def _expand(prefix: str) -> list[int]:
    return [*(ord(char) >> 5 for char in prefix), 0, *(ord(char) & 31 for char in prefix)]


def _residue(values: Iterable[int]) -> int:
    """Divide by the BCH generator polynomial of BIP 173."""
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, coefficient in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= coefficient
    return remainder


def _regroup(values: Iterable[int], from_bits: int, to_bits: int) -> list[int]:
    """Cut the bits anew, the last group filled with zeros."""
    groups, buffer, held = [], 0, 0
    for value in values:
        buffer = (buffer << from_bits) | value
        held += from_bits
        while held >= to_bits:
            held -= to_bits
            groups.append(buffer >> held)
            buffer &= (1 << held) - 1
    if held:
        groups.append(buffer << to_bits - held)
    return groups


def _to_bytes(words: list[int]) -> bytes:
    spare = len(words) * _WORD_BITS % _BYTE_BITS
    if spare >= _WORD_BITS or (words and words[-1] & (1 << spare) - 1):
        raise EncodingError("bad_padding", "the bech32 data does not end on a byte filled up with zero bits")
    return bytes(_regroup(words, _WORD_BITS, _BYTE_BITS)[: len(words) * _WORD_BITS // _BYTE_BITS])
