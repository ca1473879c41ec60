"""QR codes as SVG, without colours or sizes of their own: the page decides."""

from __future__ import annotations

import io
from functools import lru_cache

import segno

_BORDER = 4
"""Modules of white around it, which readers rely on."""


@lru_cache(maxsize=256)
def svg_of(text: str) -> bytes:
    """Return the QR code of a text: black on white, of error correction M, in an SVG of any size."""
    file = io.BytesIO()
    code = segno.make_qr(text, error="m", boost_error=False)
    code.save(file, kind="svg", border=_BORDER, dark="#000", light="#fff", omitsize=True, xmldecl=False, nl=False)
    return file.getvalue()
