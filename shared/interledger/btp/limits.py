"""How much a BTP connection takes, so that no peer can take more."""

from __future__ import annotations

from dataclasses import dataclass

from shared.interledger.btp.frames import MAX_FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection, in bytes, numbers and seconds."""

    frame_bytes: int = MAX_FRAME_BYTES
    first_frame_bytes: int = 8_192
    """Of a stranger; a login needs no more."""
    answering: int = 1_000
    """Requests of the peer that wait for our answer (LPI-22)."""
    answering_bytes: int = 4 * 1024 * 1024
    """The same, in bytes of all of them."""
    pending: int = 1_000
    """Requests of ours that wait for the peer's answer."""
    held_frames: int = 32
    """Requests kept while a login is being decided."""
    held_bytes: int = MAX_FRAME_BYTES
    """The same, in bytes of all of them."""
    login_s: float = 10.0
    """How long a stranger may say nothing (BTP-8)."""
    response_s: float = 35.0
    """More than the 30 s of ILP packets: a late packet must come back as a reject, not as a failure (BTP-19)."""
