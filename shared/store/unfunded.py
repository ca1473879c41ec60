"""Channels that were asked for and never saw a deposit: given up after a while, and found again when they are needed.

What is given up is neither watched nor counted. It is on record with all its parameters, and comes back to life with
the first sign that somebody needs it (a trigger of `channels`): nothing that is paid into its address is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.store.database import Connection

# "Nothing was seen" is said only of channels that a worker watches, while it is in step with the ledger.
_GIVE_UP = """
    WITH idle AS (
      SELECT aa_address
        FROM channels
       WHERE last_event_id = 0 AND expired_at IS NULL
         AND role = 'A' AND is_watched AND NOT has_peer_units AND status = 'closed'
         AND spent_by_peer = 0 AND spent_by_me = 0 AND auto_refill_threshold IS NULL
         AND asked_at < now() - make_interval(secs => $1)
         AND EXISTS (SELECT FROM instance WHERE watcher_synced_at > now() - interval '1 minute')
         AND NOT EXISTS (SELECT FROM deposits WHERE deposits.aa_address = channels.aa_address)
         AND NOT EXISTS (SELECT FROM journal WHERE journal.aa_address = channels.aa_address)
         AND NOT EXISTS (
           SELECT FROM commands WHERE commands.aa_address = channels.aa_address AND state IN ('queued', 'running')
         )
       ORDER BY asked_at
       LIMIT $2
         FOR NO KEY UPDATE OF channels SKIP LOCKED
    ), expired AS (
      UPDATE channels SET expired_at = now(), is_watched = false, updated_at = now()
        FROM idle
       WHERE channels.aa_address = idle.aa_address
      RETURNING channels.aa_address, peer_address, asset
    ), told AS (
      INSERT INTO events (kind, aa_address, data)
      SELECT 'channel_expired', aa_address, json_build_object('peer_address', peer_address, 'asset', asset)
        FROM expired
    )
    SELECT aa_address FROM expired
"""

_WAITING = "SELECT count(*) FROM channels WHERE last_event_id = 0 AND expired_at IS NULL"

_GIVEN_UP = """
    SELECT aa_address FROM channels WHERE expired_at IS NOT NULL AND aa_address > $1 ORDER BY aa_address LIMIT $2
"""

_AMONG = "SELECT aa_address FROM channels WHERE expired_at IS NOT NULL AND aa_address = ANY($1)"


async def give_up(conn: Connection, after_s: float, *, limit: int) -> list[str]:
    """Give up channels that nobody has asked for in so many seconds, at most `limit`; return them. Worker only.

    Those that have waited longest come first.
    """
    return [row["aa_address"] for row in await conn.fetch(_GIVE_UP, after_s, limit)]


async def waiting(conn: Connection) -> int:
    """Return how many channels wait for their first deposit, as the limit on them counts."""
    count: int = await conn.fetchval(_WAITING)
    return count


async def given_up(conn: Connection, after: str = "", *, limit: int) -> list[str]:
    """Return channels that were given up, in pages: `after` is the last address of the page before."""
    return [row["aa_address"] for row in await conn.fetch(_GIVEN_UP, after, limit)]


async def among(conn: Connection, addresses: Collection[str]) -> list[str]:
    """Return those of the addresses that are channels which were given up."""
    return [row["aa_address"] for row in await conn.fetch(_AMONG, list(addresses))]
