"""Sending deliveries: who attempts which, and what came of it.

    claim        lanes that are due, one to each sender; of each the oldest delivery is sent, with nothing locked
    settle       under the webhook's lock: the outcome of an attempt, if the claim still holds

A lane is the channel of the events, or none. It holds one delivery at a time: later ones wait until that one has ended.
A sender that dies leaves a claim that ends; the delivery is then sent again, under the same id.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store.webhook_deliveries import COLUMNS, Delivery, DeliveryState, delivery_of

if TYPE_CHECKING:
    from datetime import datetime

    from shared.store.database import Connection
    from shared.store.webhook_deliveries import Attempt

MAX_DURATION_MS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to attempt one delivery. It is no lock: when it has ended somebody else may have it, too."""

    delivery: Delivery
    number: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a webhook has done so far."""

    failing_since: datetime | None
    told_at: datetime | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What follows from an attempt. `next_attempt_at`: with `PENDING` only. `disables`: why the webhook ends."""

    state: DeliveryState
    failing_since: datetime | None
    next_attempt_at: datetime | None = None
    disables: str | None = None
    tells: bool = False
    """Whether it is told that the webhook fails."""


# ------------------------------------------------------------------------------------------------------------ claiming

_DUE = """
    SELECT w.id FROM webhooks w
     WHERE w.state = 'active'
       AND EXISTS (SELECT FROM webhook_lanes l WHERE l.webhook_id = w.id AND l.due_at <= $1)
     ORDER BY w.id
"""

_CLAIM = """
    WITH due AS (
      SELECT webhook_id, lane FROM webhook_lanes
       WHERE webhook_id = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    UPDATE webhook_lanes AS l SET due_at = $4, claim = claim + 1, claimed_term = $5
      FROM due WHERE l.webhook_id = due.webhook_id AND l.lane = due.lane
    RETURNING l.lane, l.claim
"""

# The order names the whole of one index, so that no other one is walked past other lanes, whatever the statistics say.
_HEADS = f"""
    SELECT {COLUMNS}, wanted.claim
      FROM unnest($2::text[], $3::bigint[]) AS wanted (lane, claim)
     CROSS JOIN LATERAL (
       SELECT * FROM webhook_deliveries
        WHERE state = 'pending' AND (webhook_id, lane, event_id) > ($1, wanted.lane, 0)
        ORDER BY webhook_id, lane, event_id LIMIT 1
     ) AS d
     WHERE d.webhook_id = $1 AND d.lane = wanted.lane
"""

_UNCLAIM = """
    UPDATE webhook_lanes SET due_at = least(due_at, $2), claimed_term = NULL WHERE claimed_term < $1
"""


async def due(conn: Connection, now: datetime) -> list[int]:
    """Return the active webhooks that have something to send now."""
    return [row["id"] for row in await conn.fetch(_DUE, now)]


async def claim(
    conn: Connection, webhook_id: int, *, now: datetime, until: datetime, term: int, limit: int
) -> list[Claim]:
    """Take lanes that are due, until `until`, and return the oldest delivery of each. Worker only.

    Several that ask at once get different ones.
    """
    lanes = await conn.fetch(_CLAIM, webhook_id, now, limit, until, term)
    rows = await conn.fetch(_HEADS, webhook_id, [row["lane"] for row in lanes], [row["claim"] for row in lanes])
    return [Claim(delivery_of(row), row["claim"]) for row in rows]


async def unclaim(conn: Connection, term: int, now: datetime) -> None:
    """Free what holders of earlier terms of the lease have claimed: they can settle nothing any more. Worker only."""
    await conn.execute(_UNCLAIM, term, now)


# ------------------------------------------------------------------------------------------------------------ settling

_LOCK_TO_SETTLE = "SELECT failing_since, failing_told_at FROM webhooks WHERE id = $1 FOR UPDATE"

_HOLDS = "SELECT count(*) > 0 FROM webhook_lanes WHERE webhook_id = $1 AND lane = $2 AND claim = $3"

_LOG = """
    INSERT INTO webhook_attempts (webhook_id, event_id, number, at, duration_ms, status, error, excerpt)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

_SETTLE = """
    UPDATE webhook_deliveries
       SET state = $3, attempts = attempts + $4, tries = tries + $4, next_attempt_at = $5, finished_at = $6
     WHERE webhook_id = $1 AND event_id = $2 AND state = 'pending'
"""

_LEAVE_LANE = """
    UPDATE webhook_lanes SET due_at = $3, claimed_term = NULL
     WHERE webhook_id = $1 AND lane = $2
       AND EXISTS (SELECT FROM webhook_deliveries
                    WHERE webhook_id = $1 AND lane = $2 AND state = 'pending')
"""

_END_LANE = "DELETE FROM webhook_lanes WHERE webhook_id = $1 AND lane = $2"

_JUDGE = """
    UPDATE webhooks
       SET failing_since = $2, last_success_at = coalesce($3, last_success_at),
           last_failure_at = coalesce($4, last_failure_at),
           failing_told_at = CASE WHEN $5 THEN coalesce($3, $4) ELSE failing_told_at END
     WHERE id = $1
"""

_DISABLE = "UPDATE webhooks SET state = 'disabled', reason = $2, updated_at = now() WHERE id = $1 AND state = 'active'"


async def lock_to_settle(conn: Connection, claimed: Claim) -> Standing | None:
    """Return how the webhook has done, and lock it; None when the claim has ended. Worker only."""
    delivery = claimed.delivery
    row = await conn.fetchrow(_LOCK_TO_SETTLE, delivery.webhook_id)
    if row is None or not await conn.fetchval(_HOLDS, delivery.webhook_id, lane_of(delivery), claimed.number):
        return None
    return Standing(row["failing_since"], row["failing_told_at"])


async def settle(
    conn: Connection, claimed: Claim, settlement: Settlement, *, attempt: Attempt | None, now: datetime
) -> bool:
    """Record what became of a claimed delivery, under the lock of `lock_to_settle`; whether the webhook was disabled.

    Without an attempt nothing was sent. Worker only.
    """
    delivery, lane = claimed.delivery, lane_of(claimed.delivery)
    key = (delivery.webhook_id, delivery.event_id)
    if attempt is not None:
        await conn.execute(
            _LOG,
            *key,
            delivery.attempts + 1,
            attempt.at,
            min(attempt.duration_ms, MAX_DURATION_MS),
            attempt.status,
            attempt.error,
            attempt.excerpt,
        )
        has_succeeded = settlement.state is DeliveryState.DELIVERED
        await conn.execute(
            _JUDGE,
            delivery.webhook_id,
            settlement.failing_since,
            now if has_succeeded else None,
            None if has_succeeded else now,
            settlement.tells,
        )
    is_over = settlement.state is not DeliveryState.PENDING
    await conn.execute(
        _SETTLE,
        *key,
        settlement.state.value,
        int(attempt is not None),
        settlement.next_attempt_at,
        now if is_over else None,
    )
    if await conn.execute(_LEAVE_LANE, delivery.webhook_id, lane, settlement.next_attempt_at or now) == "UPDATE 0":
        await conn.execute(_END_LANE, delivery.webhook_id, lane)
    if settlement.disables is None:
        return False
    return await conn.execute(_DISABLE, delivery.webhook_id, settlement.disables) == "UPDATE 1"


def lane_of(delivery: Delivery) -> str:
    """Return the lane of a delivery, as its row has it."""
    return delivery.aa_address or ""
