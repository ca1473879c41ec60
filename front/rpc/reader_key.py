"""The secret of the door on loopback: packages that are signed for its callers are sealed for it.

Callers there have no API key from which one could follow. It is a file of this machine, so that a package whose answer
was lost can be fetched after the front has been started anew. It opens nothing but what was signed through this door.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE = "rpc.key"
_BYTES = 32


class ReaderKeyError(Exception):
    """The file cannot be made or read."""

    code = "rpc_key_unusable"


def read_or_make(home: Path) -> str:
    """Return the secret, made when there is none. Raises ReaderKeyError."""
    file = home / FILE
    try:
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        draft = home / f".{FILE}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as output:
                output.write(secrets.token_hex(_BYTES))
                output.flush()
                os.fsync(output.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)  # complete, and of two who begin at once one
        finally:
            draft.unlink()
        secret = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ReaderKeyError(f"{file} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    if len(secret) < 2 * _BYTES:
        raise ReaderKeyError(f"{file} is not whole: remove it, and packages that were signed before cannot be fetched")
    return secret
