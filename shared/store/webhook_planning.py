"""Planning deliveries: events of the stream become rows, in the transaction that moves a webhook's position.

Only events whose numbers are decided (`shared.store.events`) are looked at: exactly the committed ones become
deliveries, each once, and whoever commits payments knows nothing of it.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store.events import EventKind

if TYPE_CHECKING:
    from datetime import datetime

    from shared.store.database import Connection

MAX_PAGE = 1_000
MAX_PENDING = 20_000
"""Deliveries of one webhook that may wait; with as many the rest waits in the stream."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What one step has done: how many deliveries it has made, and where the webhook stands now."""

    added: int
    position: int
    is_last: bool = False
    """There was nothing more to look at."""
    is_full: bool = False
    """There is no room for more, or the webhook is not active."""
    has_skipped: bool = False
    """Events after the old position had been forgotten."""


_ACTIVE = "SELECT id, position FROM webhooks WHERE state = 'active' ORDER BY id"

_LOCK_TO_PLAN = """
    SELECT position, types,
           (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending') AS pending
      FROM webhooks w WHERE id = $1 AND state = 'active' FOR UPDATE
"""

# A test is for the webhook that it names. What has ended before is sent again: somebody has moved the position back.
_PLAN = f"""
    WITH page AS MATERIALIZED (
      SELECT * FROM (
        (SELECT id, kind, aa_address, recorded_at AS event_at,
                CASE WHEN kind = '{EventKind.WEBHOOK_TEST}' THEN (data ->> 'webhook_id')::bigint END AS addressee
           FROM events WHERE id > $2 AND id <= $3 ORDER BY id LIMIT $4)
        UNION ALL
        (SELECT id, '{EventKind.PAYMENT_RECEIVED}', aa_address, accepted_at, NULL
           FROM payments WHERE id > $2 AND id <= $3 ORDER BY id LIMIT $4)
      ) AS merged ORDER BY id LIMIT $4
    ), planned AS (
      INSERT INTO webhook_deliveries (webhook_id, event_id, stream, kind, aa_address, event_at)
      SELECT $1, page.id, event_stream.name, page.kind, page.aa_address, page.event_at
        FROM page CROSS JOIN event_stream
       WHERE CASE WHEN page.kind = '{EventKind.WEBHOOK_TEST}' THEN page.addressee = $1
                  ELSE $5::text[] IS NULL OR page.kind = ANY($5) END
       ORDER BY page.id
      ON CONFLICT (webhook_id, event_id) DO UPDATE
         SET state = 'pending', tries = 0, next_attempt_at = NULL, finished_at = NULL
       WHERE webhook_deliveries.state <> 'pending'
      RETURNING lane
    ), lanes AS (
      INSERT INTO webhook_lanes (webhook_id, lane, due_at)
      SELECT DISTINCT $1::bigint, lane, $6::timestamptz FROM planned
      ON CONFLICT DO NOTHING
    )
    UPDATE webhooks SET position = (SELECT max(id) FROM page)
     WHERE id = $1 AND EXISTS (SELECT FROM page)
    RETURNING position, (SELECT count(*) FROM page) AS seen, (SELECT count(*) FROM planned) AS added,
              $2 < (SELECT gone_id FROM event_stream) AS has_skipped
"""


async def active(conn: Connection) -> dict[int, int]:
    """Return the webhooks that are sent to, and up to where their deliveries are written down."""
    return {row["id"]: row["position"] for row in await conn.fetch(_ACTIVE)}


async def plan(conn: Connection, webhook_id: int, *, until: int, now: datetime) -> Planned:
    """Make deliveries of the next events up to `until`, which is decided: at most a page, and as many as may wait.

    In a transaction. A position is always an event's: a database that crashes may give out again what nobody has used.
    Worker only.
    """
    found = await conn.fetchrow(_LOCK_TO_PLAN, webhook_id)
    if found is None or found["pending"] >= MAX_PENDING:
        return Planned(0, -1, is_full=True)
    limit = min(MAX_PAGE, MAX_PENDING - found["pending"])
    row = await conn.fetchrow(_PLAN, webhook_id, found["position"], until, limit, found["types"], now)
    if row is None:
        return Planned(0, found["position"], is_last=True)
    return Planned(row["added"], row["position"], is_last=row["seen"] < limit, has_skipped=row["has_skipped"])
