"""Deliveries of webhooks, as they are on record: which event, which attempts, which outcome.

They are made by `webhook_planning` and carried out by `webhook_claims`.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

MAX_PAGE = 200
MAX_KEPT = 20_000
"""Deliveries of one webhook that stay on record after their end, at most."""
MAX_EXCERPT = 1_024
"""Characters of an answer that are kept with the attempt."""


class DeliveryState(StrEnum):
    """What became of a delivery. `given_up`: the event was forgotten before it could be sent."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a webhook."""

    webhook_id: int
    event_id: int
    stream: str
    kind: str
    aa_address: str | None
    event_at: datetime
    state: DeliveryState
    attempts: int
    tries: int
    """Attempts since it was last asked for."""
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `status`: of the answer, None without one; `error`: a stable code, None for a success."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries."""

    state: DeliveryState | None = None
    kind: str | None = None
    aa_address: str | None = None


# ------------------------------------------------------------------------------------------------------------- reading

COLUMNS = """
    d.webhook_id, d.event_id, d.stream, d.kind, d.aa_address, d.event_at, d.state, d.attempts, d.tries,
    d.next_attempt_at, d.created_at, d.finished_at
"""


def waiting_in(lane: str, until: str, limit: str) -> str:
    """Return the statement for what waits of a lane of webhook `$1` up to event `until`, at most the oldest `limit`.

    It has to be read along the index by lanes, whatever the statistics say, or every other lane is walked past. So the
    order names the whole of that index, and what waits is told by what no other index is about.
    """
    return f"""
       SELECT * FROM webhook_deliveries
        WHERE finished_at IS NULL AND (webhook_id, lane, event_id) > ($1, {lane}, 0)
          AND (webhook_id, lane, event_id) <= ($1, {lane}, {until})
        ORDER BY webhook_id, lane, event_id LIMIT {limit}
    """


_FIND = f"SELECT {COLUMNS} FROM webhook_deliveries d WHERE webhook_id = $1 AND event_id = $2"

_PAGE = f"""
    SELECT {COLUMNS} FROM webhook_deliveries d
     WHERE webhook_id = $1 AND event_id < $2
       AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR kind = $4)
       AND ($5::text IS NULL OR aa_address = $5)
     ORDER BY event_id DESC LIMIT $6
"""

_ATTEMPTS = """
    SELECT at, duration_ms, status, error, excerpt FROM webhook_attempts
     WHERE webhook_id = $1 AND event_id = $2 ORDER BY number DESC LIMIT $3
"""

_LAG = """
    SELECT w.id, extract(epoch FROM $1 - least(oldest.event_at, held.event_at))::float8 AS age_s
      FROM webhooks w
      LEFT JOIN LATERAL (
        SELECT event_at FROM webhook_deliveries d
         WHERE d.webhook_id = w.id AND d.state = 'pending' ORDER BY event_id LIMIT 1
      ) AS oldest ON true
     CROSS JOIN LATERAL (
        SELECT min(event_at) AS event_at FROM webhook_held_lanes h WHERE h.webhook_id = w.id
      ) AS held
     ORDER BY w.id
"""


async def find(conn: Connection, webhook_id: int, event_id: int) -> Delivery | None:
    """Return the delivery of an event, None if there is none."""
    row = await conn.fetchrow(_FIND, webhook_id, event_id)
    return None if row is None else delivery_of(row)


async def page(conn: Connection, webhook_id: int, wanted: Filter, *, before: int, limit: int) -> list[Delivery]:
    """Return deliveries, those of the newest events first, of events numbered below `before`."""
    rows = await conn.fetch(
        _PAGE,
        webhook_id,
        before,
        None if wanted.state is None else wanted.state.value,
        wanted.kind,
        wanted.aa_address,
        min(limit, MAX_PAGE),
    )
    return [delivery_of(row) for row in rows]


async def attempts(conn: Connection, webhook_id: int, event_id: int, *, limit: int = 100) -> Sequence[Attempt]:
    """Return the attempts of a delivery, the newest first."""
    return [Attempt(**row) for row in await conn.fetch(_ATTEMPTS, webhook_id, event_id, limit)]


async def oldest_ages_s(conn: Connection, now: datetime) -> dict[int, float]:
    """Return for each webhook how long ago the oldest event happened that waits to be delivered; 0 without one."""
    return {row["id"]: max(0.0, row["age_s"] or 0.0) for row in await conn.fetch(_LAG, now)}


# --------------------------------------------------------------------------------------------- again, and forgetting

_AGAIN = """
    UPDATE webhook_deliveries SET state = 'pending', tries = 0, next_attempt_at = NULL, finished_at = NULL
     WHERE webhook_id = $1 AND event_id = $2
    RETURNING lane
"""

_WAKE_LANE = """
    INSERT INTO webhook_lanes (webhook_id, lane, due_at) VALUES ($1, $2, now())
    ON CONFLICT (webhook_id, lane) DO UPDATE SET due_at = least(webhook_lanes.due_at, now())
     WHERE webhook_lanes.claimed_term IS NULL
"""

_FORGET = """
    DELETE FROM webhook_deliveries d USING (
      SELECT webhook_id, event_id FROM webhook_deliveries WHERE finished_at < $1 ORDER BY finished_at LIMIT $2
    ) AS old
     WHERE d.webhook_id = old.webhook_id AND d.event_id = old.event_id AND d.state <> 'pending'
"""

_LAST_KEPT = """
    SELECT w.id AS webhook_id, last.event_id
      FROM webhooks w
     CROSS JOIN LATERAL (
       SELECT event_id FROM webhook_deliveries WHERE webhook_id = w.id AND state <> 'pending'
        ORDER BY event_id DESC OFFSET $1 LIMIT 1
     ) AS last
"""

_FORGET_BELOW = """
    DELETE FROM webhook_deliveries d USING (
      SELECT event_id FROM webhook_deliveries
       WHERE webhook_id = $1 AND event_id <= $2 AND state <> 'pending' ORDER BY event_id LIMIT $3
    ) AS old
     WHERE d.webhook_id = $1 AND d.event_id = old.event_id AND d.state <> 'pending'
"""

_FORGET_SECRETS = "DELETE FROM webhook_secrets WHERE ends_at < now()"


async def again(conn: Connection, webhook_id: int, event_id: int) -> bool:
    """Send an event again, with all attempts; False if there is no such delivery.

    In a transaction that has locked the webhook. One that is being attempted goes on as it is.
    """
    lane = await conn.fetchval(_AGAIN, webhook_id, event_id)
    if lane is None:
        return False
    await conn.execute(_WAKE_LANE, webhook_id, lane)
    return True


async def forget(conn: Connection, *, before: datetime, limit: int = 1_000) -> int:
    """Delete deliveries that have ended before a time or are more than are kept; return how many, at most `limit` each.

    Worker only.
    """
    gone = _count(await conn.execute(_FORGET, before, limit))
    for row in await conn.fetch(_LAST_KEPT, MAX_KEPT):
        gone += _count(await conn.execute(_FORGET_BELOW, row["webhook_id"], row["event_id"], limit))
    await conn.execute(_FORGET_SECRETS)
    return gone


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])


def delivery_of(row: asyncpg.Record) -> Delivery:
    """Read a row of `COLUMNS`."""
    values = {name: row[name] for name in Delivery.__slots__}
    values["state"] = DeliveryState(row["state"])
    return Delivery(**values)
