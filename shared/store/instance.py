"""What every process has to know about this receiver: its network, its address, and whether its watcher is awake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store.errors import InstanceMismatchError

if TYPE_CHECKING:
    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Instance:
    """The receiver that the database belongs to."""

    network: str
    own_address: str
    watcher_age_s: float | None
    """How long ago the watcher was last in step with the ledger; None if it never was."""
    now_s: float
    """The database's clock when this was read, as seconds since 1970."""


_READ = """
    SELECT network, own_address, date_part('epoch', clock_timestamp() - watcher_synced_at) AS watcher_age_s,
           date_part('epoch', clock_timestamp()) AS now_s
      FROM instance
"""

_DECLARE = "INSERT INTO instance (network, own_address) VALUES ($1, $2) ON CONFLICT DO NOTHING"

_HEARTBEAT = "UPDATE instance SET watcher_synced_at = clock_timestamp()"


async def read(conn: Connection) -> Instance | None:
    """Return what is known of the receiver, None before its worker has started for the first time."""
    row = await conn.fetchrow(_READ)
    return None if row is None else Instance(**row)


async def declare(conn: Connection, *, network: str, own_address: str) -> None:
    """Write down whose database this is, once. Raises InstanceMismatchError if it is somebody else's. Worker only."""
    await conn.execute(_DECLARE, network, own_address)
    found = await read(conn)
    if found is None or (found.network, found.own_address) != (network, own_address):
        raise InstanceMismatchError(
            f"this database belongs to {found and found.own_address} on {found and found.network}, "
            f"not to {own_address} on {network}"
        )


async def heartbeat(conn: Connection) -> None:
    """Note that the watcher has seen everything there is on the ledger now. Worker only."""
    await conn.execute(_HEARTBEAT)
