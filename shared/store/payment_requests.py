"""Payment requests and the payments that were made for them.

The link between a payment and its request is made by a trigger, in the payment's transaction and without the request's
lock. Whoever tells of payments holds that lock, so each is told of once and the sums are exact. What was not told of
yet is added when a request is read.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.requests.standing import RequestState, Standing
from shared.store.json_text import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

MAX_PAGE = 200
ID_PATTERN = r"^[A-Za-z0-9_-]{22}$"
OBYTE = "obyte"
"""The rail of payments through channels; `reference` is the number of the payment then."""
_ID_BYTES = 16
_LAST_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to be recorded. `created_by`: the id of an API key, None by the command line."""

    amount: int
    asset: str = "base"
    memo: str | None = None
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    public_metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    return_url: str | None = None
    expires_at: datetime | None = None
    created_by: int | None = None


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """A request on record. `now`: the database's clock when it was read, which alone decides what is late.

    `in_time`, `late`: what came in the request's asset. `payments`: how many payments came, `foreign`: how many of them
    in other assets.
    """

    id: str
    number: int
    amount: int
    asset: str
    memo: str | None
    metadata: dict[str, Any] | None = field(repr=False)
    public_metadata: dict[str, Any] | None = field(repr=False)
    return_url: str | None
    created_by: int | None
    created_at: datetime
    expires_at: datetime | None
    cancelled_at: datetime | None
    in_time: int
    late: int
    payments: int
    foreign: int
    now: datetime

    @property
    def standing(self) -> Standing:
        """Where it stands at `now`."""
        return Standing(
            amount=self.amount,
            in_time=self.in_time,
            late=self.late,
            is_expired=self.expires_at is not None and self.expires_at <= self.now,
            is_cancelled=self.cancelled_at is not None,
        )


@dataclass(frozen=True, slots=True)
class RequestPayment:
    """A payment for a request. `reference`: what it is called on its rail, for `obyte` the payment's number.

    `is_counted`: in the asset that was asked for. `is_late`: after the expiry, or after it was cancelled.
    """

    id: int
    request_id: str
    rail: str
    reference: str
    asset: str
    amount: int
    is_counted: bool
    is_late: bool
    received_at: datetime


class NotCancellableError(Exception):
    """The request has come to its end already: it is paid or expired."""

    code = "not_cancellable"


# ------------------------------------------------------------------------------------------------------------ asking

_INSERT = """
    INSERT INTO payment_requests
      (id, amount, asset, memo, metadata, public_metadata, return_url, expires_at, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

_LOCK = "SELECT id FROM payment_requests WHERE id = $1 FOR NO KEY UPDATE"

_CANCEL = "UPDATE payment_requests SET cancelled_at = clock_timestamp() WHERE id = $1"


async def insert(conn: Connection, new: NewRequest) -> PaymentRequest:
    """Record a request under a new id, which nobody can guess."""
    while (request_id := secrets.token_urlsafe(_ID_BYTES)).startswith("-"):
        pass  # a command line would take it for an option
    await conn.execute(
        _INSERT,
        request_id,
        new.amount,
        new.asset,
        new.memo,
        None if new.metadata is None else to_text(dict(new.metadata)),
        None if new.public_metadata is None else to_text(dict(new.public_metadata)),
        new.return_url,
        new.expires_at,
        new.created_by,
    )
    return await _existing(conn, request_id)


async def cancel(conn: Connection, request_id: str) -> PaymentRequest | None:
    """Cancel a request; once more changes nothing. None if there is none. Needs a transaction.

    Payments whose transactions began to write before this one commits may still count as in time. Raises
    NotCancellableError.
    """
    if await conn.fetchval(_LOCK, request_id) is None:
        return None
    request = await _existing(conn, request_id)
    state = request.standing.state
    if state is RequestState.CANCELLED:
        return request
    if state not in {RequestState.OPEN, RequestState.PARTIALLY_PAID}:
        raise NotCancellableError(f"the request is {state.value}")
    await conn.execute(_CANCEL, request_id)
    return await _existing(conn, request_id)


# ----------------------------------------------------------------------------------------------------------- reading

_COLUMNS = """r.id, r.number, r.amount, r.asset, r.memo, r.metadata::text AS metadata,
           r.public_metadata::text AS public_metadata, r.return_url, r.created_by, r.created_at, r.expires_at,
           r.cancelled_at"""

_REQUESTS = f"""
    SELECT {_COLUMNS},
           (r.told_in_time + coalesce(u.in_time, 0)) AS in_time,
           (r.told_late + coalesce(u.late, 0)) AS late,
           (r.told_payments + u.payments) AS payments,
           (r.told_foreign + u.foreign_payments) AS foreign,
           statement_timestamp() AS now
      FROM payment_requests r
     CROSS JOIN LATERAL (
        SELECT count(*) AS payments, count(*) FILTER (WHERE NOT is_counted) AS foreign_payments,
               sum(amount) FILTER (WHERE is_counted AND NOT is_late) AS in_time,
               sum(amount) FILTER (WHERE is_counted AND is_late) AS late
          FROM request_payments WHERE request_id = r.id AND NOT is_told
      ) u
"""

# As `Standing.state`; a test holds the two together.
_STATE = """CASE
           WHEN in_time >= amount THEN CASE WHEN in_time + late > amount THEN 'overpaid' ELSE 'paid' END
           WHEN cancelled_at IS NOT NULL THEN 'cancelled'
           WHEN expires_at <= now THEN CASE WHEN late > 0 THEN 'late' ELSE 'expired' END
           WHEN in_time > 0 THEN 'partially_paid'
           ELSE 'open' END"""

_PAGE = f"""
    SELECT * FROM ({_REQUESTS} WHERE r.number < $2) AS requests
     WHERE $1::text IS NULL OR {_STATE} = $1
     ORDER BY number DESC LIMIT $3
"""

_FIND = f"{_REQUESTS} WHERE r.id = ANY($1::text[])"

_PAYMENTS = """
    SELECT id, request_id, rail, reference, asset, amount, is_counted, is_late, received_at
      FROM request_payments WHERE request_id = $1
"""

_PAYMENTS_PAGE = f"{_PAYMENTS} AND id > $2 ORDER BY id LIMIT $3"


async def find(conn: Connection, request_ids: Collection[str]) -> dict[str, PaymentRequest]:
    """Return those of the requests that there are."""
    return {row["id"]: _request_of(row) for row in await conn.fetch(_FIND, list(request_ids))}


async def get(conn: Connection, request_id: str) -> PaymentRequest | None:
    """Return one request."""
    return (await find(conn, [request_id])).get(request_id)


async def page(
    conn: Connection, *, state: RequestState | None = None, before: int | None = None, limit: int = 50
) -> list[PaymentRequest]:
    """Return requests, the newest first. The cursor `before` is the number of the last one of the page before."""
    start = _LAST_NUMBER if before is None else before
    return [_request_of(row) for row in await conn.fetch(_PAGE, state, start, min(limit, MAX_PAGE))]


async def payments_page(conn: Connection, request_id: str, *, after: int = 0, limit: int = 50) -> list[RequestPayment]:
    """Return the payments for a request, oldest first. The cursor `after` is the id of the last one before."""
    rows = await conn.fetch(_PAYMENTS_PAGE, request_id, after, min(limit, MAX_PAGE))
    return [RequestPayment(**row) for row in rows]


# ------------------------------------------------------------------------------------------- telling, the worker only

_TO_TELL = "SELECT request_id FROM request_payments WHERE NOT is_told GROUP BY request_id ORDER BY min(id) LIMIT $1"

_EXPIRED = """
    SELECT id FROM payment_requests
     WHERE NOT is_expiry_told AND expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1
"""

_TOLD = """
    SELECT r.amount, r.asset, r.cancelled_at, r.expires_at, r.told_in_time AS in_time, r.told_late AS late,
           r.is_expiry_told, clock_timestamp() AS now
      FROM payment_requests r WHERE r.id = $1 FOR NO KEY UPDATE
"""

_UNTOLD = f"{_PAYMENTS} AND NOT is_told ORDER BY id LIMIT $2"

_MARK_TOLD = "UPDATE request_payments SET is_told = true WHERE id = ANY($1::bigint[])"

_ADD_TOLD = """
    UPDATE payment_requests
       SET told_in_time = $2, told_late = $3, told_payments = told_payments + $4, told_foreign = told_foreign + $5,
           is_expiry_told = is_expiry_told OR $6
     WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class ToldSoFar:
    """What was told of a request, as it was read under its lock."""

    asset: str
    standing: Standing
    is_expiry_told: bool


async def with_untold_payments(conn: Connection, limit: int) -> list[str]:
    """Return requests with payments that are still to be told of, the one that waits longest first."""
    return [row["request_id"] for row in await conn.fetch(_TO_TELL, limit)]


async def expired(conn: Connection, limit: int) -> list[str]:
    """Return requests that are past their expiry, of which it was not told yet; the first to expire first."""
    return [row["id"] for row in await conn.fetch(_EXPIRED, limit)]


async def lock_told(conn: Connection, request_id: str) -> ToldSoFar:
    """Lock a request, to tell of what came for it."""
    [row] = await conn.fetch(_TOLD, request_id)
    standing = Standing(
        amount=row["amount"],
        in_time=int(row["in_time"]),
        late=int(row["late"]),
        is_expired=row["expires_at"] is not None and row["expires_at"] <= row["now"],
        is_cancelled=row["cancelled_at"] is not None,
    )
    return ToldSoFar(row["asset"], standing, is_expiry_told=row["is_expiry_told"])


async def untold(conn: Connection, request_id: str, limit: int) -> list[RequestPayment]:
    """Return payments that are to be told of, oldest first. Call it under the request's lock, as the next statement."""
    return [RequestPayment(**row) for row in await conn.fetch(_UNTOLD, request_id, limit)]


async def mark_told(
    conn: Connection,
    request_id: str,
    payments: Sequence[RequestPayment],
    standing: Standing,
    *,
    is_expiry_told: bool = False,
) -> None:
    """Write down what was told: these payments, after which the request stands so."""
    await conn.execute(_MARK_TOLD, [payment.id for payment in payments])
    foreign = sum(not payment.is_counted for payment in payments)
    await conn.execute(_ADD_TOLD, request_id, standing.in_time, standing.late, len(payments), foreign, is_expiry_told)


async def _existing(conn: Connection, request_id: str) -> PaymentRequest:
    request = await get(conn, request_id)
    if request is None:
        raise LookupError(f"there is no payment request {request_id}")
    return request


def _request_of(row: asyncpg.Record) -> PaymentRequest:
    values = dict(row)
    values["metadata"] = from_text(values["metadata"])
    values["public_metadata"] = from_text(values["public_metadata"])
    for name in ("in_time", "late"):
        values[name] = int(values[name])
    return PaymentRequest(**values)
