"""The shared seed, the one secret of a beacon, and what both ends derive from it.

| version | key of the frames            | rendezvous id               |
|---------|------------------------------|-----------------------------|
| 0       | SHA-256 of SHA-256 of seed   | SHA-256 of SHA-256 of key   |
| draft 1 | SHA-256 of seed              | SHA-256 of key              |

Whoever has the seed has everything: it can find, read and write every frame. The rendezvous id travels in clear and
gives nothing away. The two versions never share a key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from shared.moneysocket.errors import BeaconError

SEED_BYTES = 16


@dataclass(frozen=True, slots=True)
class SharedSeed:
    """Sixteen secret bytes. Compared by value, never shown: `repr` and errors leave them out."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raise BeaconError `bad_seed` unless there are sixteen bytes (the JavaScript library takes any number)."""
        if len(self.secret) != SEED_BYTES:
            raise BeaconError("bad_seed", f"a shared seed has {SEED_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def from_hex(cls, text: str) -> SharedSeed:
        """Read 32 hexadecimal digits; raises BeaconError `bad_seed`."""
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            raise BeaconError("bad_seed", "a shared seed is written in hexadecimal digits") from None
        return cls(secret)

    @property
    def frame_key(self) -> bytes:
        """The AES-256 key of every frame of version 0, in both directions. Secret."""
        return _twice(self.secret)

    @property
    def rendezvous_id(self) -> str:
        """The name under which both ends are found at a matchmaker: 64 lower-case hexadecimal digits. Public."""
        return _twice(self.frame_key).hex()

    @property
    def frame_key_v1(self) -> bytes:
        """The AES-256 key in the draft of version 1. Secret."""
        return hashlib.sha256(self.secret).digest()

    @property
    def rendezvous_id_v1(self) -> str:
        """The rendezvous id in the draft of version 1. Public."""
        return hashlib.sha256(self.frame_key_v1).hexdigest()


def _twice(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
