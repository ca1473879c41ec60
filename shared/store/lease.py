"""Leases: who of several workers may act. By the database's clock, with a term that grows at each acquisition.

    holder                                       stand-by
    acquire: term 7
    renew, renew, …                              acquire: None
    write: assert_held (shares the key), …       acquire: waits for that transaction, then None or term 8
    (frozen longer than the lease)               acquire: term 8
    write: assert_held raises LeaseLostError     write: assert_held, …

A take-over changes the term, which is part of a key, and therefore waits for every transaction that has shared the key.
A renewal changes no key and waits for nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.store.errors import LeaseLostError

if TYPE_CHECKING:
    from datetime import datetime

    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act under a name, until `expires_at` by the database's clock."""

    name: str
    holder: str
    term: int
    """The fencing token: whoever acquires the lease later has a greater one."""
    expires_at: datetime


_CREATE = """
    INSERT INTO lease (name, holder, term, expires_at) VALUES ($1, $2, 1, clock_timestamp() + $3::interval)
    ON CONFLICT DO NOTHING
    RETURNING name, holder, term, expires_at
"""

_TAKE_OVER = """
    UPDATE lease
       SET holder = $2, term = term + 1, expires_at = clock_timestamp() + $3::interval
     WHERE name = $1 AND (expires_at <= clock_timestamp() OR holder = $2)
    RETURNING name, holder, term, expires_at
"""

_RENEW = """
    UPDATE lease
       SET expires_at = clock_timestamp() + $4::interval
     WHERE name = $1 AND holder = $2 AND term = $3 AND expires_at > clock_timestamp()
    RETURNING name, holder, term, expires_at
"""

_RELEASE = "UPDATE lease SET expires_at = '-infinity' WHERE name = $1 AND holder = $2 AND term = $3"

_ASSERT_HELD = """
    SELECT FROM lease
     WHERE name = $1 AND holder = $2 AND term = $3 AND expires_at > clock_timestamp()
       FOR KEY SHARE
"""


async def acquire(conn: Connection, name: str, holder: str, ttl_s: float) -> Lease | None:
    """Take the lease if it is free or has expired, None if somebody holds it.

    `holder` names one life of one process: who acquires again under the same name ends his own earlier term.
    Waits while the previous holder commits a write.
    """
    ttl = timedelta(seconds=ttl_s)
    row = await conn.fetchrow(_TAKE_OVER, name, holder, ttl) or await conn.fetchrow(_CREATE, name, holder, ttl)
    return None if row is None else Lease(**row)


async def renew(conn: Connection, lease: Lease, ttl_s: float) -> Lease:
    """Hold the lease for longer. Raises LeaseLostError if it has expired, even if nobody took it since."""
    row = await conn.fetchrow(_RENEW, lease.name, lease.holder, lease.term, timedelta(seconds=ttl_s))
    if row is None:
        raise _lost(lease)
    return Lease(**row)


async def release(conn: Connection, lease: Lease) -> bool:
    """Give the lease up, so that another can take it at once; False if it was lost already."""
    return await conn.execute(_RELEASE, lease.name, lease.holder, lease.term) == "UPDATE 1"


async def assert_held(conn: Connection, lease: Lease) -> None:
    """Make sure, inside a write transaction, that it commits under the lease: no take-over can come before its end.

    Raises LeaseLostError, and the transaction must not commit.
    """
    if await conn.execute(_ASSERT_HELD, lease.name, lease.holder, lease.term) != "SELECT 1":
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLostError:
    return LeaseLostError(f"{lease.holder} no longer holds the lease {lease.name} (term {lease.term})")
