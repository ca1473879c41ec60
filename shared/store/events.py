"""The stream of events: payments and everything else that happened, in one order that skips nothing.

A payment is an event by being on record; other events have a table of their own. Both are numbered by one sequence, so
the stream is the two merged by number. Numbers are given out before the commit: one that is not seen yet may come, or
never. Which are decided is found out in three steps, each a statement of its own:

    newest_id          every number up to here has been given out, each to a transaction that had its id already
    barrier            a transaction id greater than all of those
    oldest_running     as soon as this has reached the barrier, all of them have ended: no number up to here is open

Whoever changes a channel holds its lock when he takes a number: a channel's events are in the order of its changes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.store.json_text import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

MAX_PAGE = 200


class EventKind(StrEnum):
    """Every event there is. The names are stable; those of the reference library are its own."""

    CHANNEL_CREATED_BY_PEER = "channel_created_by_peer"
    CHANNEL_EXPIRED = "channel_expired"
    CHANNEL_REVIVED = "channel_revived"
    PAYMENT_RECEIVED = "payment_received"
    PAYMENT_REFUSED = "payment_refused"
    MY_DEPOSIT_BECAME_STABLE = "my_deposit_became_stable"
    PEER_DEPOSIT_BECAME_STABLE = "peer_deposit_became_stable"
    REFUSED_DEPOSIT = "refused_deposit"
    CHANNEL_REFILLED = "channel_refilled"
    CHANNEL_CLOSING = "channel_closing"
    CHANNEL_CLOSED = "channel_closed"
    CHANNEL_CLOSED_WITH_FRAUD_PROOF = "channel_closed_with_fraud_proof"
    COMMAND_SUCCEEDED = "command_succeeded"
    COMMAND_FAILED = "command_failed"
    ALARM_RAISED = "alarm_raised"
    ALARM_CLEARED = "alarm_cleared"
    WEBHOOK_FAILING = "webhook_failing"
    WEBHOOK_DISABLED = "webhook_disabled"
    WEBHOOK_TEST = "webhook_test"
    PAYMENT_REQUEST_PARTIALLY_PAID = "payment_request_partially_paid"
    PAYMENT_REQUEST_PAID = "payment_request_paid"
    PAYMENT_REQUEST_OVERPAID = "payment_request_overpaid"
    PAYMENT_REQUEST_LATE = "payment_request_late"
    PAYMENT_REQUEST_OTHER_ASSET = "payment_request_other_asset"
    PAYMENT_REQUEST_EXPIRED = "payment_request_expired"
    PAYMENT_REQUEST_CANCELLED = "payment_request_cancelled"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be told with the change that it is about. `data` is JSON for everyone with a key to read."""

    kind: EventKind
    aa_address: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened and is committed. A later release may know further kinds."""

    id: int
    kind: str
    aa_address: str | None
    data: dict[str, Any] = field(repr=False)
    recorded_at: datetime
    size: int = field(default=0, compare=False)
    """Characters of text in it, as a measure of what it takes to keep."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Which stream the numbers belong to, and up to which number events may have been forgotten."""

    name: str
    gone_id: int


# ------------------------------------------------------------------------------------------------------------ telling

_ADD = "INSERT INTO events (kind, aa_address, data) SELECT * FROM unnest($1::text[], $2::text[], $3::json[])"


async def add(conn: Connection, *new: NewEvent) -> None:
    """Tell of changes, in the transaction that makes them and under the locks that they are made under."""
    await conn.execute(
        _ADD,
        [event.kind.value for event in new],
        [event.aa_address for event in new],
        [to_text(dict(event.data)) for event in new],
    )


# ------------------------------------------------------------------------------------------------------------ reading

_NEWEST_ID = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM payments_id_seq"

_BARRIER = "SELECT pg_current_xact_id()::text::bigint"

_OLDEST_RUNNING = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

_LAST_ID = """
    SELECT greatest((SELECT max(id) FROM payments WHERE id <= $1), (SELECT max(id) FROM events WHERE id <= $1), 0)
"""

_STREAM = "SELECT name, gone_id FROM event_stream"

# Each side reads its own index and no further than the page.
_PAGE = """
    SELECT * FROM (
      (SELECT id, kind, aa_address, data::text AS data, recorded_at, NULL::text AS asset, NULL::bigint AS period,
              NULL::bigint AS amount_spent, NULL::bigint AS amount, NULL::text AS message
         FROM events WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3)
      UNION ALL
      (SELECT id, 'payment_received', aa_address, NULL, accepted_at, asset, period, amount_spent, payment_amount,
              message
         FROM payments WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3)
    ) AS merged
    ORDER BY id LIMIT $3
"""


_FIND = """
    SELECT id, kind, aa_address, data::text AS data, recorded_at, NULL::text AS asset, NULL::bigint AS period,
           NULL::bigint AS amount_spent, NULL::bigint AS amount, NULL::text AS message
      FROM events WHERE id = ANY($1)
    UNION ALL
    SELECT id, 'payment_received', aa_address, NULL, accepted_at, asset, period, amount_spent, payment_amount, message
      FROM payments WHERE id = ANY($1)
"""


async def newest_id(conn: Connection) -> int:
    """Return the greatest number given out so far, to whomever. Not in a statement with anything else."""
    newest: int = await conn.fetchval(_NEWEST_ID)
    return newest


async def barrier(conn: Connection) -> int:
    """Return a new transaction id: every transaction that has one already has a smaller one."""
    taken: int = await conn.fetchval(_BARRIER)
    return taken


async def oldest_running(conn: Connection) -> int:
    """Return the transaction id before which every transaction of this cluster has ended."""
    oldest: int = await conn.fetchval(_OLDEST_RUNNING)
    return oldest


async def last_id(conn: Connection, until: int) -> int:
    """Return the number of the last event that is committed and not beyond `until`; 0 without one."""
    last: int = await conn.fetchval(_LAST_ID, until)
    return last


async def page(conn: Connection, *, after: int, until: int, limit: int = MAX_PAGE) -> list[Event]:
    """Return the events numbered above `after` and at most `until`, in order. All of them must be decided."""
    return [_event_of(row) for row in await conn.fetch(_PAGE, after, until, min(limit, MAX_PAGE))]


async def find(conn: Connection, numbers: Sequence[int]) -> dict[int, Event]:
    """Return the events with these numbers, as far as they are kept."""
    return {row["id"]: _event_of(row) for row in await conn.fetch(_FIND, list(numbers))}


async def stream(conn: Connection) -> Stream:
    """Return which stream this is. Ask after reading a page: what is forgotten meanwhile may be missing in it."""
    [row] = await conn.fetch(_STREAM)
    return Stream(row["name"], row["gone_id"])


# --------------------------------------------------------------------------------------------------------- forgetting

# Along the key, a bounded number at a time. What is on record as a payment stays on record, and leaves the stream.
_FORGET = """
    WITH boundary AS (
      SELECT max(id) AS id
        FROM (SELECT id, recorded_at FROM events ORDER BY id LIMIT $2) AS oldest
       WHERE recorded_at < now() - make_interval(secs => $1)
    ), moved AS (
      UPDATE event_stream SET gone_id = greatest(gone_id, boundary.id) FROM boundary WHERE boundary.id IS NOT NULL
    )
    DELETE FROM events USING boundary WHERE events.id <= boundary.id
"""

_BEGIN_ANEW = "UPDATE event_stream SET name = left(md5(gen_random_uuid()::text), 8)"


async def forget(conn: Connection, older_than_s: float, *, limit: int = 1_000) -> int:
    """Delete the oldest events, at most `limit`, that are older than this; return how many. Worker only."""
    return int((await conn.execute(_FORGET, older_than_s, limit)).removeprefix("DELETE "))


async def begin_anew(conn: Connection) -> None:
    """Let no cursor from before be used any more: the database was restored and gives its numbers out again.

    Worker only.
    """
    await conn.execute(_BEGIN_ANEW)


def _event_of(row: asyncpg.Record) -> Event:
    data: dict[str, Any]
    if row["data"] is None:
        message = row["message"]
        data = {
            "payment_id": row["id"],
            "amount": row["amount"],
            "asset": row["asset"],
            "period": row["period"],
            "amount_spent": row["amount_spent"],
            "message": None if message is None else json.loads(message),
        }
        size = len(message or "")
    else:
        data = from_text(row["data"])
        size = len(row["data"])
    return Event(row["id"], row["kind"], row["aa_address"], data, row["recorded_at"], size)
