"""The QR code holds the address and nothing else. Read back by rules of ISO/IEC 18004, apart from the library's writer.

A reader with a camera is heavy, and what is in question is the text alone: so the modules are read as a reader does
after it has found them. Masks, format bits, the zigzag, interleaved blocks and segments are undone here.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from front.pages.qr import svg_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Error correction M, by version: code words of data in each block, and where alignment patterns are centred.
BLOCKS = {3: [44], 4: [32, 32], 5: [43, 43], 6: [27] * 4}
CENTRES = {3: (6, 22), 4: (6, 26), 5: (6, 30), 6: (6, 34)}
MASKS: dict[int, Callable[[int, int], bool]] = {
    0: lambda row, column: (row + column) % 2 == 0,
    1: lambda row, column: row % 2 == 0,  # noqa: ARG005
    2: lambda row, column: column % 3 == 0,  # noqa: ARG005
    3: lambda row, column: (row + column) % 3 == 0,
    4: lambda row, column: (row // 2 + column // 3) % 2 == 0,
    5: lambda row, column: row * column % 2 + row * column % 3 == 0,
    6: lambda row, column: (row * column % 2 + row * column % 3) % 2 == 0,
    7: lambda row, column: ((row + column) % 2 + row * column % 3) % 2 == 0,
}
BORDER = 4


def modules_of(image: bytes) -> list[list[bool]]:
    """Rasterise the SVG: horizontal strokes of one unit, with relative moves."""
    root = ET.fromstring(image)  # noqa: S314 - our own
    size = int(root.attrib["viewBox"].split()[2])
    [path] = [part for part in root.iter() if part.attrib.get("stroke") == "#000"]
    assert [part.attrib["fill"] for part in root.iter() if "fill" in part.attrib] == ["#fff"]
    dark = [[False] * size for _ in range(size)]
    column, row = 0.0, 0.0
    for kind, numbers in re.findall(r"([Mmh])([-0-9. ]+)", path.attrib["d"]):
        values = [float(number) for number in numbers.split()]
        if kind == "h":
            for place in range(int(column), int(column + values[0])):
                dark[int(row)][place] = True
            column += values[0]
        elif kind == "M":
            column, row = values
        else:
            column, row = column + values[0], row + values[1]
    assert not any(any(line) for line in dark[:BORDER] + dark[-BORDER:])
    return [line[BORDER:-BORDER] for line in dark[BORDER:-BORDER]]


def places_of_data(size: int, version: int) -> Iterator[tuple[int, int]]:
    """Where data is, in the order in which it is read: up and down in pairs of columns, from the right."""
    centres = CENTRES[version]
    corners = {(6, 6), (6, centres[-1]), (centres[-1], 6)}
    alignment = [(row, column) for row in centres for column in centres if (row, column) not in corners]

    def is_pattern(row: int, column: int) -> bool:
        is_finder = (row < 9 and (column < 9 or column >= size - 8)) or (row >= size - 8 and column < 9)
        return is_finder or 6 in (row, column) or any(abs(row - y) <= 2 and abs(column - x) <= 2 for y, x in alignment)

    right, goes_up = size - 1, True
    while right > 0:
        if right == 6:
            right -= 1
        for step in range(size):
            row = size - 1 - step if goes_up else step
            yield from ((row, column) for column in (right, right - 1) if not is_pattern(row, column))
        right, goes_up = right - 2, not goes_up


def text_of(image: bytes) -> str:
    dark = modules_of(image)
    size = len(dark)
    version = (size - 17) // 4
    form = sum(dark[8][column] << (4 - column) for column in range(5)) ^ 0b10101
    assert form >> 3 == 0  # error correction M
    mask = MASKS[form & 0b111]
    bits = [dark[row][column] ^ mask(row, column) for row, column in places_of_data(size, version)]
    words = [
        sum(bit << (7 - place) for place, bit in enumerate(bits[start : start + 8]))
        for start in range(0, len(bits) - 7, 8)
    ]
    blocks: list[list[int]] = [[] for _ in BLOCKS[version]]
    taken = iter(words)
    for place in range(max(BLOCKS[version])):
        for block, length in zip(blocks, BLOCKS[version], strict=True):
            if place < length:
                block.append(next(taken))
    data = bytes(word for block in blocks for word in block)
    stream = int.from_bytes(data)
    total = len(data) * 8
    assert stream >> (total - 4) == 0b0100  # bytes
    length = stream >> (total - 12) & 0xFF
    return (stream >> (total - 12 - 8 * length) & (1 << 8 * length) - 1).to_bytes(length).decode()


@pytest.mark.parametrize(
    "host", ["http://a.io/", "https://pay.example/", "https://payments.a-longer-name.example/base/"]
)
def test_the_code_holds_the_address_of_the_page(host: str) -> None:
    for letter in "Ax_-":
        url = f"{host}pay/{letter * 22}"
        assert text_of(svg_of(url)) == url


def test_the_image_brings_nothing_but_shapes() -> None:
    image = svg_of(f"https://pay.example/pay/{'A' * 22}")
    assert not re.search(rb"<(?!/?(svg|path)\b)|href|style|script|on[a-z]+=", image)
    assert len(image) < 8_000
