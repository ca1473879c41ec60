"""Planning deliveries: events of the stream become rows, in the transaction that moves a webhook's position.

Only events whose numbers are decided (`shared.store.events`) are looked at: exactly the committed ones become
deliveries, each once, and whoever commits payments knows nothing of it.

What waits as rows is bounded twice, and the stream is the queue behind both bounds:

    of a lane       `lane_bound`: with as many the lane is held (`shared.store.webhook_holding`), and only that one;
                    the position moves on
    of a webhook    `MAX_PENDING`: with as many the position stays where it is
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store.events import EventKind
from shared.store.webhook_deliveries import waiting_in

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

MAX_PAGE = 1_000
WINDOW = 10_000
"""Numbers of the stream that one step looks at: those of held lanes are passed by without a page for each."""
MAX_PENDING = 20_000
"""Deliveries of one webhook that may wait; with as many the rest waits in the stream."""
LANE_BOUNDS = ((5_000, 1_000), (10_000, 100))
"""While fewer than so many deliveries of a webhook wait, so many may wait of each lane: many lanes share the room."""
LEAST_OF_A_LANE = 16
"""So many may always wait of a lane: as many as a sender claims at once."""
_NO_BOUND = 2**31


@dataclass(frozen=True, slots=True)
class Place:
    """Where a webhook stands: deliveries are written down up to `position`, but for those of lanes that are held."""

    position: int
    has_held: bool


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


_ACTIVE = """
    SELECT id, position, EXISTS (SELECT FROM webhook_held_lanes h WHERE h.webhook_id = w.id) AS has_held
      FROM webhooks w WHERE state = 'active' ORDER BY id
"""

_LOCK_TO_PLAN = """
    SELECT position, types, has_table_privilege('webhook_held_lanes', 'INSERT') AS may_hold,
           (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending') AS pending
      FROM webhooks w WHERE id = $1 AND state = 'active' FOR UPDATE
"""


def is_wanted(types: str) -> str:
    """Return the condition that an event is for webhook `$1`, which wants `types`: a test is for the one it names."""
    return f"""CASE WHEN kind = '{EventKind.WEBHOOK_TEST}' THEN addressee = $1
                  ELSE {types}::text[] IS NULL OR kind = ANY({types}) END"""


EVENTS = f"""
    SELECT id, kind, aa_address, recorded_at AS event_at,
           CASE WHEN kind = '{EventKind.WEBHOOK_TEST}' THEN (data ->> 'webhook_id')::bigint END AS addressee
      FROM events
"""

PAYMENTS = f"SELECT id, '{EventKind.PAYMENT_RECEIVED}', aa_address, accepted_at, NULL FROM payments"


def waiting(lane: str, until: str, limit: str) -> str:
    """Return the statement that counts what waits of a lane up to the event `until`, and no further than `limit`."""
    return f"SELECT count(*) AS number FROM ({waiting_in(lane, until, limit)}) AS first"


def written_down(source: str, now: str) -> str:
    """Return the parts of a statement that make deliveries of the rows of `source`, and wake their lanes.

    What has ended before is sent again: somebody has moved the position back.
    """
    return f"""planned AS (
      INSERT INTO webhook_deliveries (webhook_id, event_id, stream, kind, aa_address, event_at)
      SELECT $1, source.id, event_stream.name, source.kind, source.aa_address, source.event_at
        FROM {source} AS source CROSS JOIN event_stream
       WHERE NOT source.is_over
       ORDER BY source.id
      ON CONFLICT (webhook_id, event_id) DO UPDATE
         SET state = 'pending', tries = 0, next_attempt_at = NULL, finished_at = NULL
       WHERE webhook_deliveries.state <> 'pending'
      RETURNING lane
    ), lanes AS (
      INSERT INTO webhook_lanes (webhook_id, lane, due_at)
      SELECT DISTINCT $1::bigint, lane, {now}::timestamptz FROM planned
      ON CONFLICT DO NOTHING
    )"""


_HOLD = """, held AS (
      INSERT INTO webhook_held_lanes (webhook_id, lane, held_from, event_at)
      SELECT $1, lane, min(id), min(event_at) FROM judged WHERE is_over GROUP BY lane
    )"""

_PASSED = """
     WHERE id > $2 AND id <= (SELECT last FROM bounds)
       AND coalesce(aa_address, '') NOT IN (SELECT h.lane FROM webhook_held_lanes h WHERE h.webhook_id = $1)
     ORDER BY id LIMIT $4
"""

_PLAN = f"""
    WITH bounds AS MATERIALIZED (
      SELECT least(first.id + $8::bigint - 1, $3::bigint) AS last FROM (
        SELECT least((SELECT min(id) FROM events WHERE id > $2 AND id <= $3),
                     (SELECT min(id) FROM payments WHERE id > $2 AND id <= $3)) AS id
      ) AS first
    ), page AS MATERIALIZED (
      SELECT *, coalesce(aa_address, '') AS lane
        FROM (({EVENTS} {_PASSED}) UNION ALL ({PAYMENTS} {_PASSED})) AS merged
       ORDER BY id LIMIT $4
    ), seen AS MATERIALIZED (
      SELECT CASE WHEN (SELECT count(*) FROM page) = $4 THEN (SELECT max(id) FROM page)
                  ELSE greatest((SELECT max(id) FROM events WHERE id > $2 AND id <= (SELECT last FROM bounds)),
                                (SELECT max(id) FROM payments WHERE id > $2 AND id <= (SELECT last FROM bounds)))
             END AS id
    ), wanted AS MATERIALIZED (
      SELECT page.*, row_number() OVER (PARTITION BY lane ORDER BY id) AS place
        FROM page
       WHERE {is_wanted("$5")}
    ), before AS MATERIALIZED (
      SELECT busy.lane, waiting.number
        FROM (SELECT DISTINCT lane FROM wanted) AS busy
       CROSS JOIN LATERAL ({waiting("busy.lane", "$2::bigint", "$7")}) AS waiting
    ), judged AS MATERIALIZED (
      SELECT wanted.*, place + before.number > $7::bigint AS is_over FROM wanted JOIN before USING (lane)
    ), {written_down("judged", "$6")}{{hold}}
    UPDATE webhooks SET position = (SELECT id FROM seen)
     WHERE id = $1 AND EXISTS (SELECT FROM seen WHERE id IS NOT NULL)
    RETURNING position, (SELECT count(*) FROM planned) AS added,
              (SELECT count(*) FROM page) < $4 AND (SELECT last FROM bounds) = $3 AS is_last,
              $2 < (SELECT gone_id FROM event_stream) AS has_skipped
"""

_PLAN_AND_HOLD, _PLAN_ALL = _PLAN.format(hold=_HOLD), _PLAN.format(hold="")


async def active(conn: Connection) -> dict[int, Place]:
    """Return the webhooks that are sent to, and where they stand."""
    return {row["id"]: Place(row["position"], row["has_held"]) for row in await conn.fetch(_ACTIVE)}


async def lock_to_plan(conn: Connection, webhook_id: int) -> asyncpg.Record | None:
    """Lock an active webhook; return `position`, `types`, `pending` and whether lanes may be held. In a transaction."""
    return await conn.fetchrow(_LOCK_TO_PLAN, webhook_id)


def lane_bound(pending: int) -> int:
    """Return how many deliveries may wait of each lane of a webhook of which so many wait in all."""
    return next((bound for below, bound in LANE_BOUNDS if pending < below), LEAST_OF_A_LANE)


async def plan(conn: Connection, webhook_id: int, *, until: int, now: datetime) -> Planned:
    """Make deliveries of the next events up to `until`, which is decided: at most a page, and as many as may wait.

    In a transaction. A position is always an event's: a database that crashes may give out again what nobody has used.
    Worker only.
    """
    found = await lock_to_plan(conn, webhook_id)
    if found is None or found["pending"] >= MAX_PENDING:
        return Planned(0, -1, is_full=True)
    limit = min(MAX_PAGE, MAX_PENDING - found["pending"])
    # Before the contracting step a worker of the release before may come next, which knows nothing of held lanes.
    statement = _PLAN_AND_HOLD if found["may_hold"] else _PLAN_ALL
    bound = lane_bound(found["pending"]) if found["may_hold"] else _NO_BOUND
    row = await conn.fetchrow(
        statement, webhook_id, found["position"], until, limit, found["types"], now, bound, WINDOW
    )
    if row is None:
        return Planned(0, found["position"], is_last=True)
    return Planned(row["added"], row["position"], is_last=row["is_last"], has_skipped=row["has_skipped"])
