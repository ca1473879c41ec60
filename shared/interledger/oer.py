"""Octet Encoding Rules (ITU-T X.696) as Interledger uses them: big-endian, lengths in their shortest form.

    what            bytes
    --------------  ------------------------------------------------------------------------------------------------
    UInt8/32/64     1, 4, 8
    length          below 128 one byte; else 0x80|k and k bytes without leading zeros, k from 1 to 6
    VarOctetString  length, that many bytes
    VarUInt         length from 1 to 8, the value; leading zeros in the value are accepted, as every known peer does
    SEQUENCE OF     how many as VarUInt (of at most 6 bytes), the elements one after the other

A `Reader` never reads past its end and never allocates what is not there: each length is held to what is left.
"""

from __future__ import annotations

from shared.interledger.amounts import MAX_AMOUNT, check_uint
from shared.interledger.errors import DecodingError, EncodingError

LONG_FORM = 0x80
MAX_LENGTH_BYTES = 6
MAX_COUNT_BYTES = 6
MAX_VARUINT_BYTES = 8


class Reader:
    """Reads one structure from its beginning. Every method raises DecodingError, whatever the bytes are.

    Bytes that nobody asks for are extensions of the format and are ignored (RFC-0030).
    """

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._end = len(data)

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._position

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return self._end - self._position

    def octets(self, length: int, field: str) -> bytes:
        """Read exactly `length` bytes. Codes: `cut_short`."""
        start = self._position
        stop = start + length
        if stop > self._end:
            raise DecodingError("cut_short", field, f"should have {length} more bytes, {self._end - start} are there")
        self._position = stop
        return self._data[start:stop]

    def uint8(self, field: str) -> int:
        """Read one byte. Codes: `cut_short`."""
        position = self._position
        if position >= self._end:
            raise DecodingError("cut_short", field, "should have one more byte")
        self._position = position + 1
        return self._data[position]

    def uint32(self, field: str) -> int:
        """Read four bytes. Codes: `cut_short`."""
        return int.from_bytes(self.octets(4, field), "big")

    def uint64(self, field: str) -> int:
        """Read eight bytes. Codes: `cut_short`."""
        return int.from_bytes(self.octets(8, field), "big")

    def length(self, field: str) -> int:
        """Read a length; whether so many bytes follow is not asked here. Codes: `cut_short`, `bad_length`."""
        first = self.uint8(field)
        if first < LONG_FORM:
            return first
        size = first & ~LONG_FORM
        if not 1 <= size <= MAX_LENGTH_BYTES:
            raise DecodingError(
                "bad_length", field, f"has a length of {size} bytes; 1 to {MAX_LENGTH_BYTES} are allowed"
            )
        digits = self.octets(size, field)
        value = int.from_bytes(digits, "big")
        if digits[0] == 0 or value < LONG_FORM:
            raise DecodingError("bad_length", field, "has a length that is not in its shortest form")
        return value

    def var_octets(self, field: str, limit: int | None = None) -> bytes:
        """Read a VarOctetString. Codes: `cut_short`, `bad_length`, `too_long` (more than `limit` bytes)."""
        length = self.length(field)
        if limit is not None and length > limit:
            raise DecodingError("too_long", field, f"has {length} bytes, at most {limit} are allowed")
        return self.octets(length, field)

    def var_uint(self, field: str) -> int:
        """Read a VarUInt of at most 64 bits. Codes: `cut_short`, `bad_length`."""
        return int.from_bytes(self._var_uint_octets(field, MAX_VARUINT_BYTES), "big")

    def saturating_var_uint(self, field: str) -> int:
        """Read a VarUInt; more than 8 bytes mean "as much as there is" and read as 2^64-1. Codes as `var_uint`."""
        octets = self.var_octets(field)
        if not octets:
            raise DecodingError("bad_length", field, "is a number of no bytes")
        return MAX_AMOUNT if len(octets) > MAX_VARUINT_BYTES else int.from_bytes(octets, "big")

    def count(self, field: str, limit: int) -> int:
        """Read how many elements follow. Codes: `cut_short`, `bad_length`, `too_many` (more than `limit`)."""
        value = int.from_bytes(self._var_uint_octets(field, MAX_COUNT_BYTES), "big")
        if value > limit:
            raise DecodingError("too_many", field, f"are {value}, at most {limit} are allowed")
        return value

    def ascii(self, field: str, limit: int | None = None) -> str:
        """Read a VarOctetString of ASCII (OER-2). Codes: `cut_short`, `bad_length`, `too_long`, `not_ascii`."""
        return ascii_text(self.var_octets(field, limit), field)

    def _var_uint_octets(self, field: str, limit: int) -> bytes:
        length = self.length(field)
        if not 1 <= length <= limit:
            raise DecodingError("bad_length", field, f"is a number of {length} bytes, 1 to {limit} are allowed")
        return self.octets(length, field)


def ascii_text(octets: bytes, field: str) -> str:
    """Read ASCII; a byte above 127 is refused and never stripped of its highest bit (OER-2). Codes: `not_ascii`."""
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise DecodingError("not_ascii", field, "should be ASCII") from None


def uint8(value: int, field: str) -> bytes:
    """Write one byte. Raises EncodingError `bad_value`."""
    return check_uint(value, 8, field).to_bytes(1, "big")


def uint32(value: int, field: str) -> bytes:
    """Write four bytes. Raises EncodingError `bad_value`."""
    return check_uint(value, 32, field).to_bytes(4, "big")


def uint64(value: int, field: str) -> bytes:
    """Write eight bytes; what does not fit is refused, never wrapped (OER-1). Raises EncodingError `bad_value`."""
    return check_uint(value, 64, field).to_bytes(8, "big")


def length(value: int, field: str) -> bytes:
    """Write a length. Raises EncodingError `bad_value`."""
    check_uint(value, 8 * MAX_LENGTH_BYTES, field)
    if value < LONG_FORM:
        return value.to_bytes(1, "big")
    size = (value.bit_length() + 7) // 8
    return bytes((LONG_FORM | size,)) + value.to_bytes(size, "big")


def var_octets(octets: bytes, field: str, limit: int | None = None) -> bytes:
    """Write a VarOctetString. Raises EncodingError: `bad_value` (no bytes), `too_long` (more than `limit`)."""
    if not isinstance(octets, bytes | bytearray | memoryview):
        raise EncodingError("bad_value", field, "should be bytes")
    octets = bytes(octets)
    if limit is not None and len(octets) > limit:
        raise EncodingError("too_long", field, f"has {len(octets)} bytes, at most {limit} are allowed")
    return length(len(octets), field) + octets


def var_uint(value: int, field: str) -> bytes:
    """Write a VarUInt in as few bytes as can be; zero takes one. Raises EncodingError `bad_value`."""
    check_uint(value, 64, field)
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes((size,)) + value.to_bytes(size, "big")


def count(value: int, field: str, limit: int) -> bytes:
    """Write how many elements follow. Raises EncodingError `too_many`."""
    if value > limit:
        raise EncodingError("too_many", field, f"are {value}, at most {limit} are allowed")
    return var_uint(value, field)


def ascii_octets(text: str, field: str, limit: int | None = None) -> bytes:
    """Write ASCII text as a VarOctetString. Raises EncodingError: `bad_value`, `too_long`."""
    if not isinstance(text, str) or not text.isascii():
        raise EncodingError("bad_value", field, "should be ASCII text")
    return var_octets(text.encode("ascii"), field, limit)


def utf8_octets(text: str, field: str, limit: int | None = None) -> bytes:
    """Write text as a VarOctetString of UTF-8. Raises EncodingError: `bad_value` (lone surrogates), `too_long`."""
    try:
        octets = text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise EncodingError("bad_value", field, "should be text that UTF-8 can carry") from None
    return var_octets(octets, field, limit)
