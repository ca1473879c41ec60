"""Frames: one message, in clear or encrypted, in one binary WebSocket message.

    frame = iv || AES-256-CBC(key of the seed, iv, text || 1 to 16 zero bytes)

There is no flag: a frame is in clear if and only if it is JSON. There is no authentication either: whoever relays a
frame can replay it, cut it at a block or change what its first sixteen bytes decrypt to (the timestamp). What follows
from that is dealt with above, in `replay` and in the layers.

| frame                                      | with the seed | without (a matchmaker)             |
|--------------------------------------------|---------------|------------------------------------|
| rendezvous message in clear                | taken         | taken                              |
| application message in clear               | `clear_message` (PYTHON takes it) | `clear_message` |
| application message encrypted              | taken         | `no_seed`: opaque, to be forwarded |
| rendezvous message encrypted               | `encrypted_message` | `no_seed`                    |
| under another key, or junk                 | `undecryptable` | `no_seed`                        |
| no iv and whole blocks                     | `impossible_length` | `no_seed`                    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from shared.moneysocket.dialects import SLUICE, Dialect
from shared.moneysocket.errors import EncodingError, FrameError
from shared.moneysocket.json_text import read_json
from shared.moneysocket.message_text import message_from_json, write_message
from shared.moneysocket.messages import VERSION_0, Catalogue, Message

if TYPE_CHECKING:
    from shared.moneysocket.seeds import SharedSeed

BLOCK_BYTES = 16
MAX_FRAME_BYTES = 65_536
"""Larger frames are refused; the largest honest message, an invoice with many hints, has a few thousand bytes."""


def encode_frame(message: Message, seed: SharedSeed, iv: bytes, dialect: Dialect = SLUICE) -> bytes:
    """The frame for a message. `iv` are sixteen fresh random bytes, unused for what goes in clear.

    Raises EncodingError for a message no JSON text can hold, and FrameError `too_long`, `impossible_length` (the iv).
    """
    text = write_message(message, dialect)
    frame = text if message.IN_CLEAR else _encrypt(text, seed, iv)
    if len(frame) > MAX_FRAME_BYTES:
        raise FrameError("too_long", f"a frame has at most {MAX_FRAME_BYTES} bytes, this message makes {len(frame)}")
    return frame


def encode_clear_frame(message: Message, dialect: Dialect = SLUICE) -> bytes:
    """The frame for a rendezvous message, from a matchmaker that has no seed; raises FrameError `clear_message`."""
    if not message.IN_CLEAR:
        raise FrameError("clear_message", f"{message.NAME} never goes in clear")
    return write_message(message, dialect)


def decode_frame(
    frame: bytes, seed: SharedSeed | None, dialect: Dialect = SLUICE, catalogue: Catalogue = VERSION_0
) -> Message:
    """Read a frame. Without a seed only what is in clear can be read.

    Raises FrameError as the table says or `too_long`; EncodingError, MessageError or WadError for a message in clear
    or well encrypted that breaks a rule.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise FrameError("too_long", f"a frame has at most {MAX_FRAME_BYTES} bytes, this one {len(frame)}")
    try:
        value = read_json(frame, dialect)
    except EncodingError as error:
        if error.code == "nested_too_deep":
            raise
    else:
        message = message_from_json(value, dialect, catalogue)
        if not message.IN_CLEAR and not dialect.clear_messages:
            raise FrameError("clear_message", f"{message.NAME} came in clear; it must be encrypted")
        return message
    if seed is None:
        raise FrameError("no_seed", "the frame is encrypted for someone else")
    try:
        value = read_json(_decrypt(frame, seed), dialect)
    except EncodingError as error:
        if error.code == "nested_too_deep":
            raise
        raise FrameError("undecryptable", "the frame is not encrypted with this seed, or damaged") from None
    message = message_from_json(value, dialect, catalogue)
    if message.IN_CLEAR:
        raise FrameError("encrypted_message", f"{message.NAME} came encrypted; it must be in clear")
    return message


def _encrypt(text: bytes, seed: SharedSeed, iv: bytes) -> bytes:
    if len(iv) != BLOCK_BYTES:
        raise FrameError("impossible_length", f"an iv has {BLOCK_BYTES} bytes")
    padded = text + bytes(BLOCK_BYTES - len(text) % BLOCK_BYTES)
    encryptor = Cipher(AES256(seed.frame_key), CBC(iv)).encryptor()
    return iv + encryptor.update(padded) + encryptor.finalize()


def _decrypt(frame: bytes, seed: SharedSeed) -> bytes:
    if len(frame) < BLOCK_BYTES or len(frame) % BLOCK_BYTES:
        raise FrameError("impossible_length", "an encrypted frame is an iv and whole blocks of 16 bytes")
    decryptor = Cipher(AES256(seed.frame_key), CBC(frame[:BLOCK_BYTES])).decryptor()
    return (decryptor.update(frame[BLOCK_BYTES:]) + decryptor.finalize()).rstrip(b"\0")
