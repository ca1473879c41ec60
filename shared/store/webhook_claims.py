"""Sending deliveries: who attempts which, and what came of it.

    claim        lanes that are due, one to each sender; of each the oldest deliveries are sent, with nothing locked
    settle       under the webhook's lock: the outcomes of attempts, of each lane one, if the claims still hold

A lane is the channel of the events, or none. Its deliveries are attempted one after the other: a later one waits until
the outcome of the one before is on record. Who has claimed a lane keeps it from one outcome to the next, up to so many.
A sender that dies leaves claims that end; what has no outcome is then sent again, under the same id.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store.webhook_deliveries import COLUMNS, Delivery, DeliveryState, delivery_of, waiting_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.store.database import Connection
    from shared.store.webhook_deliveries import Attempt

MAX_DURATION_MS = 2**31 - 1
MAX_EVENT = 2**63 - 1


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
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Settlement:
    """What follows from an attempt. `next_attempt_at`: with `PENDING` only. `disables`: why the webhook ends."""

    state: DeliveryState
    failing_since: datetime | None
    next_attempt_at: datetime | None = None
    disables: str | None = None
    tells: bool = False
    """Whether it is told that the webhook fails."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be written down of a claimed delivery. Without an attempt nothing was sent.

    `keeps_until`: the lane stays claimed, now until then, for the next delivery that was claimed with this one.
    """

    claim: Claim
    settlement: Settlement
    attempt: Attempt | None
    keeps_until: datetime | None = None


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

_HEADS = f"""
    SELECT {COLUMNS}, wanted.claim
      FROM unnest($2::text[], $3::bigint[]) AS wanted (lane, claim)
     CROSS JOIN LATERAL ({waiting_in("wanted.lane", str(MAX_EVENT), "$4")}) AS d
     ORDER BY wanted.lane, d.event_id
"""

_UNCLAIM = """
    UPDATE webhook_lanes SET due_at = least(due_at, $2), claimed_term = NULL WHERE claimed_term <= $1
"""


async def due(conn: Connection, now: datetime) -> list[int]:
    """Return the active webhooks that have something to send now."""
    return [row["id"] for row in await conn.fetch(_DUE, now)]


async def claim(
    conn: Connection, webhook_id: int, *, now: datetime, until: datetime, term: int, limit: int, each: int = 1
) -> list[list[Claim]]:
    """Take lanes that are due, until `until`; return of each the oldest deliveries, at most `each`. Worker only.

    Several that ask at once get different ones.
    """
    lanes = await conn.fetch(_CLAIM, webhook_id, now, limit, until, term)
    if not lanes:
        return []
    rows = await conn.fetch(_HEADS, webhook_id, [row["lane"] for row in lanes], [row["claim"] for row in lanes], each)
    found: dict[str, list[Claim]] = {}
    for row in rows:
        claimed = Claim(delivery_of(row), row["claim"])
        found.setdefault(lane_of(claimed.delivery), []).append(claimed)
    return list(found.values())


async def unclaim(conn: Connection, term: int, now: datetime) -> None:
    """Free what senders of earlier terms have claimed, and those of this one that are no more. Worker only."""
    await conn.execute(_UNCLAIM, term, now)


# ------------------------------------------------------------------------------------------------------------ settling

_LOCK_TO_SETTLE = "SELECT failing_since, failing_told_at, state FROM webhooks WHERE id = $1 FOR UPDATE"

_HOLDING = """
    SELECT l.lane, l.claim FROM webhook_lanes l
      JOIN unnest($2::text[], $3::bigint[]) AS ours (lane, claim) ON l.lane = ours.lane AND l.claim = ours.claim
     WHERE l.webhook_id = $1
"""

# Each part sees what was there before the whole: a delivery that ends here is left out where it is asked what waits.
_SETTLE = """
    WITH outcomes AS MATERIALIZED (
      SELECT * FROM unnest(
        $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
        $8::boolean[], $9::integer[], $10::timestamptz[], $11::integer[], $12::integer[], $13::text[], $14::text[]
      ) AS o (event_id, lane, state, next_attempt_at, finished_at, due_at, is_kept,
              number, at, duration_ms, status, error, excerpt)
    ), logged AS (
      INSERT INTO webhook_attempts (webhook_id, event_id, number, at, duration_ms, status, error, excerpt)
      SELECT $1, event_id, number, at, duration_ms, status, error, excerpt FROM outcomes WHERE at IS NOT NULL
    ), settled AS (
      UPDATE webhook_deliveries AS d
         SET state = o.state, attempts = attempts + (o.at IS NOT NULL)::integer,
             tries = tries + (o.at IS NOT NULL)::integer, next_attempt_at = o.next_attempt_at,
             finished_at = o.finished_at
        FROM outcomes o
       WHERE d.webhook_id = $1 AND d.event_id = o.event_id AND d.state = 'pending'
    ), lanes AS MATERIALIZED (
      SELECT o.lane, o.due_at, o.is_kept, EXISTS (
               SELECT FROM webhook_deliveries d
                WHERE d.webhook_id = $1 AND d.lane = o.lane AND d.finished_at IS NULL
                  AND (d.event_id <> o.event_id OR o.state = 'pending')
             ) AS goes_on
        FROM outcomes o
    ), kept AS (
      UPDATE webhook_lanes AS l
         SET due_at = lanes.due_at, claimed_term = CASE WHEN lanes.is_kept THEN claimed_term END
        FROM lanes WHERE l.webhook_id = $1 AND l.lane = lanes.lane AND lanes.goes_on
    ), ended AS (
      DELETE FROM webhook_lanes AS l USING lanes
       WHERE l.webhook_id = $1 AND l.lane = lanes.lane AND NOT lanes.goes_on
    )
    UPDATE webhooks
       SET failing_since = $15, last_success_at = coalesce($16, last_success_at),
           last_failure_at = coalesce($17, last_failure_at), failing_told_at = $18
     WHERE id = $1
"""

_DISABLE = "UPDATE webhooks SET state = 'disabled', reason = $2, updated_at = now() WHERE id = $1 AND state = 'active'"


async def lock_to_settle(
    conn: Connection, webhook_id: int, claims: Sequence[Claim]
) -> tuple[Standing | None, list[Claim]]:
    """Lock a webhook; return how it has done, and which of the claims still hold. None without it. Worker only."""
    row = await conn.fetchrow(_LOCK_TO_SETTLE, webhook_id)
    if row is None:
        return None, []
    lanes, numbers = [lane_of(claim.delivery) for claim in claims], [claim.number for claim in claims]
    # A statement of its own: it sees what whoever had the lock before has committed.
    held = {(found["lane"], found["claim"]) for found in await conn.fetch(_HOLDING, webhook_id, lanes, numbers)}
    standing = Standing(row["failing_since"], row["failing_told_at"], row["state"] == "active")
    return standing, [claim for claim in claims if (lane_of(claim.delivery), claim.number) in held]


async def settle(
    conn: Connection, webhook_id: int, outcomes: Sequence[Outcome], *, standing: Standing, now: datetime
) -> bool:
    """Record what became of claimed deliveries of a webhook, under the lock of `lock_to_settle`.

    Of each lane at most one, in the order in which the attempts ended. `standing`: how the webhook has done after them.
    Returns whether the webhook was disabled. Worker only.
    """
    attempted = [outcome.settlement for outcome in outcomes if outcome.attempt is not None]
    has_succeeded = any(settlement.state is DeliveryState.DELIVERED for settlement in attempted)
    has_failed = any(settlement.state is not DeliveryState.DELIVERED for settlement in attempted)
    await conn.execute(
        _SETTLE,
        webhook_id,
        *([*column] for column in zip(*(_written(outcome, now) for outcome in outcomes), strict=True)),
        standing.failing_since,
        now if has_succeeded else None,
        now if has_failed else None,
        standing.told_at,
    )
    reason = next((found.disables for found in attempted if found.disables is not None), None)
    if reason is None:
        return False
    return await conn.execute(_DISABLE, webhook_id, reason) == "UPDATE 1"


def lane_of(delivery: Delivery) -> str:
    """Return the lane of a delivery, as its row has it."""
    return delivery.aa_address or ""


def _written(outcome: Outcome, now: datetime) -> tuple[object, ...]:
    delivery, settlement, attempt = outcome.claim.delivery, outcome.settlement, outcome.attempt
    is_over = settlement.state is not DeliveryState.PENDING
    return (
        delivery.event_id,
        lane_of(delivery),
        settlement.state.value,
        settlement.next_attempt_at,
        now if is_over else None,
        outcome.keeps_until or settlement.next_attempt_at or now,
        outcome.keeps_until is not None,
        None if attempt is None else delivery.attempts + 1,
        None if attempt is None else attempt.at,
        None if attempt is None else min(attempt.duration_ms, MAX_DURATION_MS),
        None if attempt is None else attempt.status,
        None if attempt is None else attempt.error,
        None if attempt is None else attempt.excerpt,
    )
