"""Lanes that are held: of which as many deliveries wait as may, so that the rest of them is left in the stream.

A held lane has a row with its first event that is not written down. While it has, planning passes its events by. When
enough of it was sent it is planned on from there, by reading the stream again for it: a window of numbers at a time,
so that a step is short however much has happened meanwhile. Payments need no further index for that. Where it has
reached the webhook's position the row goes, in the same transaction, under the lock that planning takes.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store import webhook_planning as planning
from shared.store.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

EXTRA_PENDING = 4_000
"""How much further than new events held lanes may go beyond a webhook's bound: who waits longer is not kept out."""
MAX_LANES = 100
"""Lanes that one step plans on."""


@dataclass(frozen=True, slots=True)
class PlannedOn:
    """What one step has done. `was_idle`: no lane could go on."""

    added: int
    was_idle: bool = False
    has_skipped: bool = False
    """Events that were held had been forgotten."""


_PENDING = """
    SELECT count(*) FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
     WHERE w.id = $1 AND w.state = 'active' AND d.state = 'pending'
"""

# What somebody has had sent again may wait behind the place where the lane is held: it is not in the way.
_READY = f"""
    SELECT h.lane, h.held_from, before.number AS waiting
      FROM webhook_held_lanes h
     CROSS JOIN LATERAL ({planning.waiting("h.lane", "h.held_from - 1", "$2 + 1")}) AS before
     WHERE h.webhook_id = $1 AND before.number <= $2
     ORDER BY h.held_from LIMIT $3
"""

# Both sides are read along the numbers, and end with the window or with as many as are wanted.
_PLAN_ON = f"""
    WITH ready AS MATERIALIZED (
      SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS r (lane, held_from, room)
    ), bounds AS MATERIALIZED (
      SELECT first.id AS first, least(first.id + $8::bigint - 1, $6::bigint) AS last FROM (
        SELECT least((SELECT min(id) FROM events WHERE id >= $5 AND id <= $6),
                     (SELECT min(id) FROM payments WHERE id >= $5 AND id <= $6)) AS id
      ) AS first
    ), page AS MATERIALIZED (
      SELECT *, coalesce(aa_address, '') AS lane FROM (
        (SELECT * FROM ({planning.EVENTS}) AS e
          WHERE id >= (SELECT first FROM bounds) AND id <= (SELECT last FROM bounds)
            AND coalesce(aa_address, '') = ANY($2) AND {planning.is_wanted("$9")}
          ORDER BY id LIMIT $7)
        UNION ALL
        ({planning.PAYMENTS}
          WHERE id >= (SELECT first FROM bounds) AND id <= (SELECT last FROM bounds)
            AND coalesce(aa_address, '') = ANY($2)
            AND ($9::text[] IS NULL OR '{EventKind.PAYMENT_RECEIVED}' = ANY($9))
          ORDER BY id LIMIT $7)
      ) AS merged ORDER BY id LIMIT $7
    ), seen AS MATERIALIZED (
      SELECT CASE WHEN (SELECT count(*) FROM page) = $7 THEN (SELECT max(id) FROM page)
                  ELSE coalesce((SELECT last FROM bounds), $6) END AS id
    ), judged AS MATERIALIZED (
      SELECT page.*, row_number() OVER (PARTITION BY lane ORDER BY page.id) > ready.room AS is_over
        FROM page JOIN ready USING (lane)
       WHERE page.id >= ready.held_from
    ), next AS MATERIALIZED (
      SELECT ready.lane, min(judged.event_at) FILTER (WHERE is_over) AS event_at,
             coalesce(min(judged.id) FILTER (WHERE is_over), greatest(ready.held_from, seen.id + 1)) AS held_from
        FROM ready CROSS JOIN seen LEFT JOIN judged USING (lane)
       GROUP BY ready.lane, ready.held_from, seen.id
    ), {planning.written_down("judged", "$10")}, moved AS (
      UPDATE webhook_held_lanes AS h SET held_from = next.held_from, event_at = coalesce(next.event_at, h.event_at)
        FROM next
       WHERE h.webhook_id = $1 AND h.lane = next.lane AND next.held_from <= $6 AND next.held_from <> h.held_from
    ), ended AS (
      DELETE FROM webhook_held_lanes AS h USING next
       WHERE h.webhook_id = $1 AND h.lane = next.lane AND next.held_from > $6
    )
    SELECT (SELECT count(*) FROM planned) AS added, $5 <= gone_id AS has_skipped FROM event_stream
"""


async def can_go_on(conn: Connection, webhook_id: int) -> bool:
    """Whether a lane of this webhook is held of which enough was sent. With nothing locked."""
    pending = await conn.fetchval(_PENDING, webhook_id)
    return bool(await _ready(conn, webhook_id, pending))


async def plan_on(conn: Connection, webhook_id: int, *, turn: int, now: datetime) -> PlannedOn:
    """Make deliveries of what was held of lanes of which enough was sent: one window of the stream. In a transaction.

    `turn`: which of those lanes the window begins with, so that one which is far behind does not keep the others
    waiting; it grows from step to step. Worker only.
    """
    found = await planning.lock_to_plan(conn, webhook_id)
    if found is None:
        return PlannedOn(0, was_idle=True)
    ready = await _ready(conn, webhook_id, found["pending"])
    if not ready:
        return PlannedOn(0, was_idle=True)
    ready = ready[turn % len(ready) :]
    bound, most = planning.lane_bound(found["pending"]), planning.MAX_PENDING + EXTRA_PENDING
    [row] = await conn.fetch(
        _PLAN_ON,
        webhook_id,
        [lane["lane"] for lane in ready],
        [lane["held_from"] for lane in ready],
        [bound - lane["waiting"] for lane in ready],
        ready[0]["held_from"],
        found["position"],
        min(planning.MAX_PAGE, most - found["pending"]),
        planning.WINDOW,
        found["types"],
        now,
    )
    return PlannedOn(row["added"], has_skipped=row["has_skipped"])


async def _ready(conn: Connection, webhook_id: int, pending: int) -> Sequence[asyncpg.Record]:
    """Return the lanes that can go on, with how many of each wait: those that are furthest behind first."""
    if pending >= planning.MAX_PENDING + EXTRA_PENDING:
        return []
    return await conn.fetch(_READY, webhook_id, planning.lane_bound(pending) // 2, MAX_LANES)
