"""Where a channel's peer is reached: a base URL, a device, both or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Contact:
    """Ways to a peer. `url` was named by the peer himself unless we opened the channel."""

    url: str | None
    device: str | None
    """Device address."""


_OF = "SELECT peer_url AS url, peer_device AS device FROM channels WHERE aa_address = $1"

_HAS_OPEN_CHANNEL = "SELECT EXISTS (SELECT FROM channels WHERE peer_device = $1 AND status <> 'closed')"

_NOTE = "UPDATE channels SET peer_device = $2 WHERE aa_address = $1 AND peer_device IS NULL"

_REPLACE = "UPDATE channels SET peer_device = $2 WHERE aa_address = $1 AND peer_device IS DISTINCT FROM $2"


async def of(conn: Connection, aa_address: str) -> Contact | None:
    """Return the ways to a channel's peer, None for an unknown channel."""
    row = await conn.fetchrow(_OF, aa_address)
    return None if row is None else Contact(**row)


async def has_open_channel(conn: Connection, device_address: str) -> bool:
    """Whether a device is the contact of a channel that is not closed."""
    found: bool = await conn.fetchval(_HAS_OPEN_CHANNEL, device_address)
    return found


async def note_device(conn: Connection, aa_address: str, device_address: str) -> None:
    """Note the device that a channel was asked for from; later askers prove nothing and change nothing. Worker only."""
    await conn.execute(_NOTE, aa_address, device_address)


async def replace_device(conn: Connection, aa_address: str, device_address: str) -> None:
    """Note the device that a payment of the channel's peer has come from. Worker only."""
    await conn.execute(_REPLACE, aa_address, device_address)
