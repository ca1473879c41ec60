"""Device messages whose effect is stored: a hub sends a message again until it was told to delete it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.store.database import Connection

_IS_HANDLED = "SELECT EXISTS (SELECT FROM handled_messages WHERE message_hash = $1)"

_MARK = "INSERT INTO handled_messages (message_hash) VALUES ($1) ON CONFLICT DO NOTHING"

_DROP_OLD = """
    DELETE FROM handled_messages
     WHERE message_hash IN (
             SELECT message_hash
               FROM handled_messages
              WHERE handled_at < clock_timestamp() - $1::interval
              ORDER BY handled_at
              LIMIT $2
           )
"""


async def is_handled(conn: Connection, message_hash: str) -> bool:
    """Whether a message has had its effect."""
    return bool(await conn.fetchval(_IS_HANDLED, message_hash))


async def mark(conn: Connection, message_hash: str) -> None:
    """Note that a message has had its effect, in the transaction of the effect or after it. Worker only."""
    await conn.execute(_MARK, message_hash)


async def drop_old(conn: Connection, older_than_s: float, *, limit: int = 10_000) -> int:
    """Forget messages that no hub sends any more; return how many. Worker only."""
    done = await conn.execute(_DROP_OLD, timedelta(seconds=older_than_s), limit)
    return int(done.rpartition(" ")[2])
