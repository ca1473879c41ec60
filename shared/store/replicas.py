"""Stand-bys to read from: how far the primary has written, and how far a stand-by has come after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.store.database import Connection

# Whoever commits here waits for his record to be written, and is seen afterwards (`synchronous_commit`): so whatever an
# earlier statement has seen was written before this.
_WRITTEN = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"

_REPLAYED = """
    SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END
"""


async def written(conn: Connection) -> int:
    """Return up to which byte of its log the primary has written. Ask the primary."""
    position: int = await conn.fetchval(_WRITTEN)
    return position


async def replayed(conn: Connection) -> int | None:
    """Return up to which byte of the primary's log is seen here; None if this is no stand-by (any more).

    A statement that is sent afterwards sees at least as much.
    """
    position: int | None = await conn.fetchval(_REPLAYED)
    return position
