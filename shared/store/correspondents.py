"""Devices we are paired with, and the secrets that invite further ones."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from shared.store.database import Connection

MAX_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Correspondent:
    """A device that may send us requests."""

    device_address: str
    pubkey: str
    hub: str
    """Where messages for it are left: host and path."""
    name: str
    is_confirmed: bool
    """Whether it has proved that it holds our invitation, or accepted with ours."""
    paired_at: datetime
    heard_at: datetime | None
    """When it was last heard, to the hour."""


_COLUMNS = "device_address, pubkey, hub, name, is_confirmed, paired_at, heard_at"

_FIND = f"SELECT {_COLUMNS} FROM correspondents WHERE device_address = $1"

_PAGE = f"""
    SELECT {_COLUMNS}
      FROM correspondents
     WHERE ($1::text IS NULL
            OR (paired_at, device_address) < (SELECT paired_at, device_address FROM correspondents
                                               WHERE device_address = $1))
     ORDER BY paired_at DESC, device_address DESC
     LIMIT $2
"""

_COUNT = "SELECT count(*) FROM correspondents"

_ADD = f"""
    INSERT INTO correspondents (device_address, pubkey, hub, name, is_confirmed) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (device_address) DO UPDATE
       SET hub = excluded.hub,
           -- What it calls itself counts once: when it first proves who it is.
           name = CASE WHEN correspondents.is_confirmed THEN correspondents.name ELSE excluded.name END,
           is_confirmed = correspondents.is_confirmed OR excluded.is_confirmed
    RETURNING {_COLUMNS}
"""

_HEARD = """
    UPDATE correspondents
       SET hub = coalesce($2, hub), heard_at = clock_timestamp()
     WHERE device_address = $1
       AND (hub <> coalesce($2, hub) OR heard_at IS NULL OR heard_at < clock_timestamp() - interval '1 hour')
"""

_DOUBT = "UPDATE correspondents SET is_confirmed = false WHERE device_address = $1"

_FORGET = "DELETE FROM correspondents WHERE device_address = $1"

_FORGET_IDLE = """
    DELETE FROM correspondents
     WHERE device_address IN (
             SELECT device_address
               FROM correspondents
              WHERE coalesce(heard_at, paired_at) < clock_timestamp() - $1::interval
                AND NOT EXISTS (SELECT FROM channels WHERE peer_device = correspondents.device_address)
              ORDER BY coalesce(heard_at, paired_at)
              LIMIT $2
           )
"""


async def find(conn: Connection, device_address: str) -> Correspondent | None:
    """Return a device we are paired with, or have asked to be paired."""
    row = await conn.fetchrow(_FIND, device_address)
    return None if row is None else Correspondent(**row)


async def page(conn: Connection, *, after: str | None = None, limit: int = 100) -> list[Correspondent]:
    """Return correspondents, newest first. The cursor `after` is the last one's device address."""
    return [Correspondent(**row) for row in await conn.fetch(_PAGE, after, min(limit, MAX_PAGE))]


async def count(conn: Connection) -> int:
    """Return how many there are."""
    return int(await conn.fetchval(_COUNT))


async def add(
    conn: Connection, device_address: str, *, pubkey: str, hub: str, name: str, is_confirmed: bool
) -> Correspondent:
    """Add a correspondent, or confirm one and note its hub. A confirmed one keeps its name. Worker only."""
    [row] = await conn.fetch(_ADD, device_address, pubkey, hub, name, is_confirmed)
    return Correspondent(**row)


async def heard(conn: Connection, device_address: str, hub: str | None) -> None:
    """Note that a correspondent has written, and from where if it said so. Worker only."""
    await conn.execute(_HEARD, device_address, hub)


async def doubt(conn: Connection, device_address: str) -> None:
    """Note that a device says it is not paired with us: it has to be asked again. Worker only."""
    await conn.execute(_DOUBT, device_address)


async def forget(conn: Connection, device_address: str) -> bool:
    """Unpair a device; False if it was none of ours. Its channels stay. Worker only."""
    return await conn.execute(_FORGET, device_address) == "DELETE 1"


async def forget_idle(conn: Connection, silent_for_s: float, *, limit: int = 100) -> int:
    """Unpair devices without a channel that have been silent for so long; return how many. Worker only."""
    done = await conn.execute(_FORGET_IDLE, timedelta(seconds=silent_for_s), limit)
    return int(done.rpartition(" ")[2])


# ------------------------------------------------------------------------------------------------- pairing secrets

_INVITE = """
    INSERT INTO pairing_secrets (secret_hash, for_device, expires_at)
    VALUES ($1, $2, clock_timestamp() + $3::interval)
"""

_REDEEM = """
    DELETE FROM pairing_secrets
     WHERE secret_hash = $1 AND expires_at > clock_timestamp() AND (for_device IS NULL OR for_device = $2)
"""

_DROP_EXPIRED = "DELETE FROM pairing_secrets WHERE expires_at <= clock_timestamp()"


async def invite(conn: Connection, secret: str, *, lifetime_s: float, for_device: str | None = None) -> None:
    """Keep the hash of a secret that pairs once; those that nobody has used in time go. Worker only."""
    await conn.execute(_DROP_EXPIRED)
    await conn.execute(_INVITE, _hash(secret), for_device, timedelta(seconds=lifetime_s))


async def redeem(conn: Connection, secret: str, device_address: str) -> bool:
    """Use a secret up; False unless it was a valid one, and this device's if it was made for one. Worker only."""
    return await conn.execute(_REDEEM, _hash(secret), device_address) == "DELETE 1"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
