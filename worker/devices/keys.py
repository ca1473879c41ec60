"""The keys of our device: the permanent one of the seed, and temporary ones that every worker of this receiver shares.

Peers encrypt to the temporary key. It changes at most once an hour and only after it was used, and the one before it
is kept: a message may have been under way. The database holds them sealed with a key that follows from the permanent
one, so a stand-by can open them and nobody else can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.logs import get_logger
from shared.obyte.device_encryption import new_key
from shared.obyte.device_login import temporary_key_package
from shared.obyte.errors import SignatureError
from shared.obyte.keys import KeyPair
from shared.store import device_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.obyte.serialization import JsonValue
    from shared.store.database import Connection
    from shared.store.device_keys import StoredDeviceKeys
    from worker.guard import Guard

logger = get_logger(__name__)

ROTATE_AFTER_S = 3600.0
_NONCE_BYTES = 12
_PURPOSE = b"sluice: temporary keys of our device"


class KeyRing:
    """Our device's keys for one term of the lease. Nothing can be read before `load`."""

    def __init__(self, guard: Guard, permanent: KeyPair, hub: str, random_bytes: Callable[[int], bytes]) -> None:
        self.permanent = permanent
        self._guard = guard
        self._hub = hub
        self._random_bytes = random_bytes
        self._box = ChaCha20Poly1305(HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(permanent.private_key))
        self._temporary = permanent
        self._previous: KeyPair | None = None

    @property
    def address(self) -> str:
        """Our device address."""
        return self.permanent.device_address

    @property
    def by_pubkey(self) -> Mapping[str, KeyPair]:
        """Every key that a message may be encrypted to."""
        keys = (self.permanent, self._temporary, self._previous)
        return {key.pubkey_b64: key for key in keys if key is not None}

    @property
    def published(self) -> dict[str, JsonValue]:
        """What tells peers, through the hub, which key to encrypt to now."""
        return temporary_key_package(self._temporary.pubkey_b64, self.permanent)

    async def load(self) -> None:
        """Read the keys, or make the first. Raises StoreError."""
        pubkey = self.permanent.pubkey_b64
        first = self._seal(new_key(self._random_bytes))
        async with self._guard.transaction() as conn:
            found = await device_keys.declare(conn, pubkey=pubkey, hub=self._hub, temp_key=first)
            if not self._open(found):
                # Without these keys a few messages under way cannot be read; their senders ask again.
                logger.warning("device_keys_replaced", device=self.address)
                await device_keys.replace(conn, pubkey=pubkey, temp_key=first)
                self._temporary, self._previous = self._unseal(first) or self.permanent, None

    async def mark_used(self, conn: Connection, pubkey: str) -> None:
        """Note, in the transaction of a message's effect, by which key it was read."""
        if pubkey == self._temporary.pubkey_b64:
            await device_keys.mark_used(conn)

    async def rotate_if_due(self) -> bool:
        """Make a new temporary key when it is time to; True when it has to be published. Raises StoreError."""
        async with self._guard.transaction() as conn:
            found = await device_keys.read(conn)
            if found is None or not found.is_used or found.age_s < ROTATE_AFTER_S:
                return False
            fresh = new_key(self._random_bytes)
            await device_keys.rotate(conn, self._seal(fresh))
        self._previous, self._temporary = self._temporary, fresh
        logger.info("device_key_rotated", device=self.address)
        return True

    def _open(self, found: StoredDeviceKeys) -> bool:
        temporary = self._unseal(found.temp_key)
        if found.pubkey != self.permanent.pubkey_b64 or temporary is None:
            return False
        previous = found.previous_temp_key
        self._temporary = temporary
        self._previous = None if previous is None else self._unseal(previous)
        return True

    def _seal(self, key: KeyPair) -> bytes:
        nonce = self._random_bytes(_NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, key.private_key, self.permanent.pubkey_b64.encode())

    def _unseal(self, sealed: bytes) -> KeyPair | None:
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return KeyPair(self._box.decrypt(nonce, ciphertext, self.permanent.pubkey_b64.encode()))
        except (InvalidTag, ValueError, SignatureError):
            return None
