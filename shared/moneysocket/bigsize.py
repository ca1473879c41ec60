"""BigSize, the variable-length unsigned integer of Lightning (BOLT 1), big endian.

| value                 | bytes                    |
|-----------------------|--------------------------|
| up to 0xfc            | one byte                 |
| 0xfd to 0xffff        | `fd` and two bytes       |
| 0x10000 to 0xffffffff | `fe` and four bytes      |
| above                 | `ff` and eight bytes     |

Only the shortest form is valid. JavaScript's library cannot use what lies above 2^32 - 1; nothing in the protocol
needs it.
"""

from __future__ import annotations

from shared.moneysocket.errors import EncodingError

MAX_VALUE = 2**64 - 1
_WIDTHS = {0xFD: (2, 0xFD), 0xFE: (4, 0x1_0000), 0xFF: (8, 0x1_0000_0000)}
"""First byte: how many bytes follow, and the smallest value they may hold."""


def encode_bigsize(value: int) -> bytes:
    """Write `value`; raises EncodingError `integer_out_of_range` below 0 and above 2^64 - 1."""
    if not 0 <= value <= MAX_VALUE:
        raise EncodingError("integer_out_of_range", f"a BigSize lies between 0 and 2^64 - 1, this is {value}")
    first = None
    for prefix, (_, smallest) in _WIDTHS.items():
        if value >= smallest:
            first = prefix
    if first is None:
        return bytes([value])
    return bytes([first]) + value.to_bytes(_WIDTHS[first][0], "big")


def read_bigsize(data: bytes, at: int = 0) -> tuple[int, int]:
    """Read the value that begins at offset `at`, and the offset behind it.

    Raises EncodingError `truncated` or `not_minimal`.
    """
    if at >= len(data):
        raise EncodingError("truncated", "a BigSize is missing")
    first = data[at]
    if first not in _WIDTHS:
        return first, at + 1
    width, smallest = _WIDTHS[first]
    end = at + 1 + width
    if end > len(data):
        raise EncodingError("truncated", f"a BigSize of {width + 1} bytes ends early")
    value = int.from_bytes(data[at + 1 : end], "big")
    if value < smallest:
        raise EncodingError("not_minimal", f"{value} is written in more bytes than it needs")
    return value, end
