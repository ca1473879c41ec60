"""Leases: who of several workers may act. By the database's clock, with a term that grows at each acquisition.

    holder                                       stand-by
    acquire: term 7
    renew, renew, …                              acquire: None
    write: assert_held (shares the key), …       acquire: waits for that transaction, then None or term 8
    (frozen longer than the lease)               acquire: term 8
    write: assert_held raises LeaseLostError     write: assert_held, …

A take-over changes the term, which is part of a key, and therefore waits for every transaction that has shared the key.
A renewal changes no key and waits for nobody. Whoever froze in the middle of a transaction is not waited for: what he
has begun is rolled back (`end_frozen`), because the server waits for him without an end when he was between two
messages of one statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.store.errors import LeaseLostError

if TYPE_CHECKING:
    from datetime import datetime

    from shared.store.database import Connection


WALLET = "wallet"
"""The lease of the worker that acts."""


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

_EXPIRED_AT = "SELECT expires_at FROM lease WHERE name = $1 AND expires_at <= clock_timestamp()"

# By the login's own right: who may only act as the worker's role may not end sessions of the login.
_OWN_RIGHTS = "SET LOCAL ROLE NONE"

_END_FROZEN = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
      FROM pg_stat_activity
     WHERE pid = ANY(pg_blocking_pids($1)) AND xact_start < $2
"""

_ACTIVE = "SELECT holder FROM lease WHERE name = $1 AND expires_at > clock_timestamp()"

_LEFT_S = """
    SELECT CASE WHEN isfinite(expires_at) THEN date_part('epoch', expires_at - clock_timestamp()) ELSE 0 END
      FROM lease WHERE name = $1
"""

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


async def left_s(conn: Connection, name: str) -> float:
    """Return in how many seconds the lease ends unless it is renewed; 0 when nobody holds it."""
    return max(0.0, await conn.fetchval(_LEFT_S, name) or 0.0)


async def active(conn: Connection, name: str) -> str | None:
    """Return who holds the lease now, None when nobody does. Fronts may ask, too."""
    holder: str | None = await conn.fetchval(_ACTIVE, name)
    return holder


async def own_pid(conn: Connection) -> int:
    """Return what the server calls this connection, for `end_frozen`."""
    pid: int = await conn.fetchval("SELECT pg_backend_pid()")
    return pid


async def end_frozen(conn: Connection, name: str, waiting: int) -> int:
    """End the sessions that keep a take-over waiting; return how many. Call it in a transaction.

    `waiting`: the connection that has asked for the lease. Only transactions are ended that began before the lease
    ran out, and only when it has.
    """
    expired_at = await conn.fetchval(_EXPIRED_AT, name)
    if expired_at is None:
        return 0
    await conn.execute(_OWN_RIGHTS)
    ended: int = await conn.fetchval(_END_FROZEN, waiting, expired_at)
    return ended


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
