"""What fronts may know of what we have paid and deposited: all but the packages, which are bearer secrets."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.store.json_text import from_text
from shared.store.sent_payments import SentState

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

MAX_PAGE = 1_000

_COLUMNS = """
    aa_address, period, payment_amount, amount_spent, command_id, message, state, answer, signed_at, settled_at"""

_GET = f"SELECT {_COLUMNS} FROM sent_payments WHERE (aa_address, period, amount_spent) = ($1, $2, $3)"

_PAGE = f"""
    SELECT {_COLUMNS} FROM sent_payments
     WHERE aa_address = $1
       AND ($2::bigint IS NULL OR (period, amount_spent) < ($2, $3))
       AND ($4::text IS NULL OR state = $4)
     ORDER BY period DESC, amount_spent DESC
     LIMIT $5
"""

_POSSIBLY_LOST = """
    SELECT aa_address, sum(payment_amount)::bigint AS amount
      FROM sent_payments JOIN channels USING (aa_address)
     WHERE aa_address = ANY($1) AND state = 'uncertain'
       AND sent_payments.period = channels.period + (channels.status = 'closed')::int
     GROUP BY aa_address
"""

_DEPOSITS_ON_THEIR_WAY = """
    SELECT aa_address, sum(amount)::bigint AS amount
      FROM deposits
     WHERE aa_address = ANY($1) AND state = 'pending'
     GROUP BY aa_address
"""

Place = tuple[int, int]
"""Period and amount_spent: what names a payment of ours within its channel."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One payment of ours. `message` and `answer` are JSON values; `answer` is what the peer has said."""

    aa_address: str
    period: int
    payment_amount: int
    amount_spent: int
    command_id: int | None
    message: Any = field(repr=False)
    state: SentState
    answer: Any = field(repr=False)
    signed_at: datetime
    settled_at: datetime | None

    @property
    def place(self) -> Place:
        """What names it within its channel."""
        return self.period, self.amount_spent


async def get(conn: Connection, aa_address: str, place: Place) -> Outgoing | None:
    """Return one payment of ours, None if there is no such."""
    row = await conn.fetchrow(_GET, aa_address, *place)
    return None if row is None else _outgoing_of(row)


async def page(
    conn: Connection, aa_address: str, *, before: Place | None = None, state: SentState | None = None, limit: int = 100
) -> list[Outgoing]:
    """Return payments of ours in a channel, the newest first. The cursor `before` names the last of the page before."""
    period, amount_spent = before or (None, None)
    rows = await conn.fetch(_PAGE, aa_address, period, amount_spent, state and state.value, min(limit, MAX_PAGE))
    return [_outgoing_of(row) for row in rows]


async def possibly_lost(conn: Connection, addresses: list[str]) -> dict[str, int]:
    """Return by channel what we have signed in the current period without knowing whether it has arrived."""
    rows = await conn.fetch(_POSSIBLY_LOST, addresses)
    return {row["aa_address"]: row["amount"] for row in rows}


async def deposits_on_their_way(conn: Connection, addresses: list[str]) -> dict[str, int]:
    """Return by channel the sum of our deposits that the agent has not answered yet."""
    return {row["aa_address"]: row["amount"] for row in await conn.fetch(_DEPOSITS_ON_THEIR_WAY, addresses)}


def _outgoing_of(row: asyncpg.Record) -> Outgoing:
    values = dict(row)
    values["state"] = SentState(values["state"])
    values["message"] = from_text(values["message"])
    values["answer"] = from_text(values["answer"])
    return Outgoing(**values)
