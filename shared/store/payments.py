"""Payments: one row for each package that was credited. The money itself is the key, so each is credited once.

Those of finished periods may be in the archive (`shared.store.archive`): readers find them in both places.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.discreet import Discreet
from shared.store.errors import StaleChannelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from datetime import datetime

    import asyncpg

    from shared.channels.model import Channel
    from shared.store.database import Connection

MAX_PAGE = 1_000

# Named one by one: during a rolling upgrade the table may have columns that this release does not know.
_COLUMNS = "id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at"

PaymentKey = tuple[str, int, int, int]
"""Channel, period, amount_spent, payment_amount: what makes two packages the same payment."""


class NewPayment(Discreet, frozen=True, gc=False):
    """A payment to be recorded. `message` is JSON text."""

    shown = ("aa_address", "period", "amount_spent", "payment_amount")

    aa_address: str
    period: int
    amount_spent: int
    payment_amount: int
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment on record. `response` is what the application said to it, None before it has."""

    id: int
    aa_address: str
    period: int
    amount_spent: int
    payment_amount: int
    asset: str
    message: str | None = field(repr=False)
    response: str | None = field(repr=False)
    accepted_at: datetime

    @property
    def key(self) -> PaymentKey:
        """What makes two packages the same payment."""
        return (self.aa_address, self.period, self.amount_spent, self.payment_amount)


# ---------------------------------------------------------------------------------------------------------- accepting

_FIND = f"""
    SELECT {_COLUMNS}
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
           AS wanted (aa_address, period, amount_spent, payment_amount)
      JOIN payments USING (aa_address, period, amount_spent, payment_amount)
"""

_FIND_ARCHIVED = _FIND.replace("JOIN payments", "JOIN payments_archive")


async def find(
    conn: Connection, keys: Collection[PaymentKey], *, finished: Collection[PaymentKey] = ()
) -> dict[PaymentKey, Payment]:
    """Return those of the payments that are on record. Call it under the channels' locks to judge duplicates.

    `finished`: those of the keys whose period may be over. If they are not found they are looked for in the archive;
    the others cannot be there, and cost no look.
    """
    rows = await conn.fetch(_FIND, *_columns(keys, 4))
    found = {payment.key: payment for payment in map(_payment_of, rows)}
    # In this order, and each with a look of its own: payments are moved from here to there.
    if missing := [key for key in finished if key not in found]:
        rows = await conn.fetch(_FIND_ARCHIVED, *_columns(missing, 4))
        found |= {payment.key: payment for payment in map(_payment_of, rows)}
    return found


# Channels come in two kinds: with a better claim, and with the one that is stored already. The front may write claims
# but never read one, so it cannot say "claim = claim": each kind gets its own update. Both check again what was read
# under the lock. The payments' asset is their channel's, by construction.
_RECORD_BATCH = """
    WITH after AS (
      SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
                    AS t (aa_address, spent_by_peer, credit, claim)
    ), with_better_claim AS (
      UPDATE channels c
         SET spent_by_peer = after.spent_by_peer, credit = after.credit, claim = after.claim, updated_at = now()
        FROM after
       WHERE c.aa_address = after.aa_address AND after.claim IS NOT NULL AND c.spent_by_peer < after.spent_by_peer
      RETURNING c.aa_address, c.asset
    ), with_same_claim AS (
      UPDATE channels c
         SET credit = after.credit, updated_at = now()
        FROM after
       WHERE c.aa_address = after.aa_address AND after.claim IS NULL AND c.spent_by_peer = after.spent_by_peer
      RETURNING c.aa_address, c.asset
    ), changed AS (
      SELECT * FROM with_better_claim UNION ALL SELECT * FROM with_same_claim
    ), recorded AS (
      INSERT INTO payments (aa_address, period, amount_spent, payment_amount, message, asset)
      SELECT new.aa_address, new.period, new.amount_spent, new.payment_amount, new.message, changed.asset
        FROM unnest($5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[]) WITH ORDINALITY
             AS new (aa_address, period, amount_spent, payment_amount, message, place)
        JOIN changed USING (aa_address)
       ORDER BY new.place
      RETURNING id
    )
    SELECT (SELECT count(*) FROM changed) AS channels, ARRAY(SELECT id FROM recorded ORDER BY id) AS ids
"""


async def record_batch(conn: Connection, channels: Sequence[Channel], payments: Sequence[NewPayment]) -> list[int]:
    """Write the channels as they are after the payments, and the payments; return the payments' ids in their order.

    The caller has locked the channels in this transaction and found none of the payments on record. Each channel comes
    once; its `claim` is the package of the greatest amount_spent if the batch has raised that, else None, which leaves
    the stored claim alone.

    Raises StaleChannelError when a channel is not as it was under the lock, or a payment's channel is missing: nothing
    may be committed then. A payment that is on record already raises the driver's unique violation.
    """
    [row] = await conn.fetch(
        _RECORD_BATCH,
        *_columns([(c.aa_address, c.spent_by_peer, c.credit, c.claim) for c in channels], 4),
        *_columns([(p.aa_address, p.period, p.amount_spent, p.payment_amount, p.message) for p in payments], 5),
    )
    if row["channels"] != len(channels) or len(row["ids"]) != len(payments):
        raise StaleChannelError("a channel changed while its lock was held, or came without its payments")
    ids: list[int] = row["ids"]
    return ids


_KEEP_RESPONSE = "UPDATE payments SET response = $2 WHERE id = $1 AND response IS NULL"

_RESPONSE = "SELECT response FROM payments WHERE id = $1"

_KEEP_ARCHIVED = _KEEP_RESPONSE.replace("UPDATE payments", "UPDATE payments_archive")

_ARCHIVED_RESPONSE = _RESPONSE.replace("FROM payments", "FROM payments_archive")


async def keep_response(conn: Connection, payment_id: int, response: str) -> str | None:
    """Keep what the application said to a payment; the first answer stays. Return the one that counts."""
    if await conn.execute(_KEEP_RESPONSE, payment_id, response) == "UPDATE 1":
        return response
    if (row := await conn.fetchrow(_RESPONSE, payment_id)) is None:
        if await conn.execute(_KEEP_ARCHIVED, payment_id, response) == "UPDATE 1":
            return response
        row = await conn.fetchrow(_ARCHIVED_RESPONSE, payment_id)
    return None if row is None else row["response"]


# ------------------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Filter:
    """Which payments: None is any. `since` is included, `until` is not."""

    aa_address: str | None = None
    asset: str | None = None
    period: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    peer_address: str | None = None
    min_amount: int | None = None
    max_amount: int | None = None


ANY = Filter()

_LAST_ID = 2**63 - 1

_CONDITIONS = {
    "aa_address": "aa_address = {}",
    "asset": "asset = {}",
    "period": "period = {}",
    "since": "accepted_at >= {}",
    "until": "accepted_at < {}",
    "peer_address": "aa_address IN (SELECT aa_address FROM channels WHERE peer_address = {})",
    "min_amount": "payment_amount >= {}",
    "max_amount": "payment_amount <= {}",
}

_PAGE = "SELECT {columns} FROM all_payments WHERE {matches} AND id > $1 AND id <= $2 ORDER BY id LIMIT $3"

_PAGE_BACK = "SELECT {columns} FROM all_payments WHERE {matches} AND id < $1 ORDER BY id DESC LIMIT $2"

_TOTALS = """
    SELECT asset, count(*) AS count, sum(payment_amount)::text AS amount
      FROM all_payments WHERE {matches}
     GROUP BY asset ORDER BY asset
"""

_GET = f"SELECT {_COLUMNS} FROM payments WHERE id = $1"

_GET_ARCHIVED = _GET.replace("FROM payments", "FROM payments_archive")

_EXPORT = "SELECT {columns} FROM all_payments WHERE {matches} ORDER BY id"


def _with(statement: str, which: Filter, *first: object) -> tuple[str, list[object]]:
    """Return the statement with the conditions that are given, and its arguments: `first`, then theirs.

    Conditions that are not given are left out, so that the planner sees which index serves: a day among years is found
    by its time (`payments_by_time`).
    """
    arguments = list(first)
    conditions = []
    for name, condition in _CONDITIONS.items():
        value = getattr(which, name)
        if value is not None:
            arguments.append(value)
            conditions.append(condition.format(f"${len(arguments)}"))
    return statement.format(columns=_COLUMNS, matches=" AND ".join(conditions) or "true"), arguments


async def get(conn: Connection, payment_id: int) -> Payment | None:
    """Return one payment."""
    row = await conn.fetchrow(_GET, payment_id) or await conn.fetchrow(_GET_ARCHIVED, payment_id)
    return None if row is None else _payment_of(row)


async def page(
    conn: Connection, which: Filter = ANY, *, after: int = 0, until_id: int = _LAST_ID, limit: int = 100
) -> list[Payment]:
    """Return payments, oldest first. The cursor `after` is the id of the last one of the page before.

    A payment that is being committed may appear later than one with a greater id, unless `until_id` is a number up to
    which everything is decided (`shared.store.events`).
    """
    statement, arguments = _with(_PAGE, which, after, until_id, min(limit, MAX_PAGE))
    rows = await conn.fetch(statement, *arguments)
    return [_payment_of(row) for row in rows]


async def page_back(
    conn: Connection, which: Filter = ANY, *, before: int | None = None, limit: int = 100
) -> list[Payment]:
    """Return payments, newest first. The cursor `before` is the id of the last one of the page before."""
    start = _LAST_ID if before is None else before
    statement, arguments = _with(_PAGE_BACK, which, start, min(limit, MAX_PAGE))
    rows = await conn.fetch(statement, *arguments)
    return [_payment_of(row) for row in rows]


async def export(conn: Connection, which: Filter = ANY, *, prefetch: int = 500) -> AsyncIterator[Payment]:
    """Stream payments, oldest first, however many there are, as of one moment. Needs a transaction."""
    statement, arguments = _with(_EXPORT, which)
    async for row in conn.cursor(statement, *arguments, prefetch=prefetch):
        yield _payment_of(row)


@dataclass(frozen=True, slots=True)
class Total:
    """What payments of one asset come to."""

    asset: str
    count: int
    amount: int
    """Of all together: it may exceed what a bigint holds."""


async def totals(conn: Connection, which: Filter = ANY) -> list[Total]:
    """Return what the payments come to, by asset."""
    statement, arguments = _with(_TOTALS, which)
    rows = await conn.fetch(statement, *arguments)
    return [Total(row["asset"], row["count"], int(row["amount"])) for row in rows]


def _columns(rows: Collection[tuple[object, ...]], width: int) -> list[list[object]]:
    """Turn rows into the arrays that `unnest` makes rows of again."""
    return [[row[place] for row in rows] for place in range(width)]


def _payment_of(row: asyncpg.Record) -> Payment:
    return Payment(**row)
