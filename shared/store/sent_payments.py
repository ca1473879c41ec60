"""Packages that we have signed: on record before they leave, and kept, since a peer may hold any of them.

signed     nobody else has seen it, or nobody knows whether anybody has
delivered  the peer has taken it, and what he said is kept
refused    the peer has turned it down; he holds it all the same
uncertain  every attempt of one order went unanswered; it may be sent again as the same bytes
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

MAX_ANSWER_BYTES = 65_536


class SentState(StrEnum):
    """What is known of a package's fate."""

    SIGNED = "signed"
    DELIVERED = "delivered"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class NewSentPayment:
    """A payment as it was signed. Amounts in the channel's asset; `package` and `message` are JSON texts."""

    aa_address: str
    period: int
    payment_amount: int
    amount_spent: int
    package: str = field(repr=False)
    message: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SentPayment:
    """One payment of ours. `answer` is the JSON that the peer has answered, None while he has not."""

    aa_address: str
    period: int
    payment_amount: int
    amount_spent: int
    command_id: int | None
    package: str = field(repr=False)
    message: str | None = field(repr=False)
    state: SentState
    answer: str | None = field(repr=False)
    signed_at: datetime
    settled_at: datetime | None


_COLUMNS = """
    aa_address, period, payment_amount, amount_spent, command_id, package, message, state, answer, signed_at,
    settled_at"""

_ADD = f"""
    INSERT INTO sent_payments (aa_address, period, payment_amount, amount_spent, package, message, command_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING {_COLUMNS}
"""

# A peer who has taken a package cannot take that back.
_SETTLE = """
    UPDATE sent_payments
       SET state = $4, answer = coalesce($5, answer), settled_at = now()
     WHERE (aa_address, period, amount_spent) = ($1, $2, $3) AND state <> 'delivered'
"""

_GET = f"SELECT {_COLUMNS} FROM sent_payments WHERE (aa_address, period, amount_spent) = ($1, $2, $3)"

_OF_COMMAND = f"SELECT {_COLUMNS} FROM sent_payments WHERE command_id = $1"

_OF_CHANNEL = f"""
    SELECT {_COLUMNS} FROM sent_payments WHERE aa_address = $1 ORDER BY period DESC, amount_spent DESC LIMIT $2
"""


async def add(conn: Connection, payment: NewSentPayment, *, command_id: int | None = None) -> SentPayment:
    """Record a package, in the transaction that raises what we have spent. Worker only.

    Raises StoreError when the command has signed one already, or one for the same `amount_spent` exists.
    """
    [row] = await conn.fetch(
        _ADD,
        payment.aa_address,
        payment.period,
        payment.payment_amount,
        payment.amount_spent,
        payment.package,
        payment.message,
        command_id,
    )
    return _payment_of(row)


async def settle(conn: Connection, payment: SentPayment, state: SentState, answer: str | None = None) -> bool:
    """Record what has become of a package; False if it is known to be delivered. `answer` is JSON. Worker only."""
    done = await conn.execute(_SETTLE, payment.aa_address, payment.period, payment.amount_spent, state.value, answer)
    return done == "UPDATE 1"


async def get(conn: Connection, aa_address: str, period: int, amount_spent: int) -> SentPayment | None:
    """Return one payment of ours, None if there is no such. Worker only."""
    row = await conn.fetchrow(_GET, aa_address, period, amount_spent)
    return None if row is None else _payment_of(row)


async def of_command(conn: Connection, command_id: int) -> SentPayment | None:
    """Return the payment that a command has signed, None while it has not. Worker only."""
    row = await conn.fetchrow(_OF_COMMAND, command_id)
    return None if row is None else _payment_of(row)


async def of_channel(conn: Connection, aa_address: str, *, limit: int = 100) -> list[SentPayment]:
    """Return the payments of ours in a channel, the newest first. Worker only."""
    return [_payment_of(row) for row in await conn.fetch(_OF_CHANNEL, aa_address, limit)]


def _payment_of(row: asyncpg.Record) -> SentPayment:
    values = dict(row)
    values["state"] = SentState(values["state"])
    return SentPayment(**values)
