"""The receiver as a device: its permanent public key, its hub, and its temporary keys, sealed by the worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class StoredDeviceKeys:
    """What the database knows of our device. The sealed keys mean nothing without the wallet's seed."""

    pubkey: str
    hub: str
    """Where peers leave messages for us: host and path."""
    temp_key: bytes = field(repr=False)
    previous_temp_key: bytes | None = field(repr=False)
    is_used: bool
    """Whether a message was read with the current temporary key."""
    age_s: float
    """How long ago the current temporary key was made."""


_READ = """
    SELECT pubkey, hub, temp_key, previous_temp_key, is_used,
           date_part('epoch', clock_timestamp() - rotated_at) AS age_s
      FROM device_keys
"""

_DECLARE = """
    INSERT INTO device_keys (pubkey, hub, temp_key) VALUES ($1, $2, $3)
    ON CONFLICT (is_the_one) DO UPDATE SET hub = excluded.hub WHERE device_keys.hub <> excluded.hub
"""

_REPLACE = """
    UPDATE device_keys
       SET pubkey = $1, temp_key = $2, previous_temp_key = NULL, is_used = false, rotated_at = clock_timestamp()
"""

_ROTATE = """
    UPDATE device_keys
       SET previous_temp_key = temp_key, temp_key = $1, is_used = false, rotated_at = clock_timestamp()
"""

_MARK_USED = "UPDATE device_keys SET is_used = true WHERE NOT is_used"


async def read(conn: Connection) -> StoredDeviceKeys | None:
    """Return what is known of our device, None before a worker has first exchanged messages."""
    row = await conn.fetchrow(_READ)
    return None if row is None else StoredDeviceKeys(**row)


async def declare(conn: Connection, *, pubkey: str, hub: str, temp_key: bytes) -> StoredDeviceKeys:
    """Write down our hub, and our keys unless there are some already; return what counts then. Worker only."""
    await conn.execute(_DECLARE, pubkey, hub, temp_key)
    [row] = await conn.fetch(_READ)
    return StoredDeviceKeys(**row)


async def replace(conn: Connection, *, pubkey: str, temp_key: bytes) -> None:
    """Start again, when the keys on record are another device's or cannot be opened. Worker only."""
    await conn.execute(_REPLACE, pubkey, temp_key)


async def rotate(conn: Connection, temp_key: bytes) -> None:
    """Make a sealed key the current one and keep the one before it. Worker only."""
    await conn.execute(_ROTATE, temp_key)


async def mark_used(conn: Connection) -> None:
    """Note that a message was read with the current temporary key. Worker only."""
    await conn.execute(_MARK_USED)
