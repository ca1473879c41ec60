"""Deposits that we have sent to a channel's agent, and what it did with them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.store import events
from shared.store.events import EventKind, NewEvent

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection


class DepositState(StrEnum):
    """What became of a deposit."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    """The agent took it: it is part of the channel's confirmed deposits."""
    REFUSED = "refused"
    """It came while the channel was closing, and was sent back."""
    BOUNCED = "bounced"
    """It had no effect, or its unit became void."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """One deposit of ours, in the channel's asset."""

    aa_address: str
    unit: str
    amount: int
    state: DepositState
    created_at: datetime
    settled_at: datetime | None


_ADD = "INSERT INTO deposits (aa_address, unit, amount) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"

# What the agent says is true, even of a unit that was taken for lost.
_SETTLE = """
    UPDATE deposits
       SET state = $3, settled_at = now()
     WHERE aa_address = $1 AND unit = $2 AND (state = 'pending' OR (state = 'bounced' AND $3 <> 'bounced'))
"""

_PENDING_AMOUNT = """
    SELECT coalesce(sum(amount), 0)::bigint FROM deposits WHERE aa_address = $1 AND state = 'pending'
"""

_OF = """
    SELECT aa_address, unit, amount, state, created_at, settled_at
      FROM deposits
     WHERE aa_address = $1
     ORDER BY created_at, unit
"""


async def add(conn: Connection, aa_address: str, unit: str, amount: int, *, is_refill: bool = False) -> bool:
    """Record a deposit as pending, in the transaction that journals its unit; False if it is on record already.

    `is_refill`: nobody has ordered it, so whoever follows the stream of events is told.
    """
    is_new = await conn.execute(_ADD, aa_address, unit, amount) == "INSERT 0 1"
    if is_new and is_refill:
        await events.add(conn, NewEvent(EventKind.CHANNEL_REFILLED, aa_address, {"amount": amount, "unit": unit}))
    return is_new


async def settle(conn: Connection, aa_address: str, unit: str, state: DepositState) -> bool:
    """Record what became of a pending deposit; False if there is none with this unit.

    `BOUNCED` is recorded by `journal.failed`, together with the unit's fate.
    """
    return await conn.execute(_SETTLE, aa_address, unit, state.value) == "UPDATE 1"


async def pending_amount(conn: Connection, aa_address: str) -> int:
    """Return the sum of our deposits that the agent has not answered yet."""
    amount: int = await conn.fetchval(_PENDING_AMOUNT, aa_address)
    return amount


async def of(conn: Connection, aa_address: str) -> list[Deposit]:
    """Return all our deposits to a channel, oldest first."""
    return [_deposit_of(row) for row in await conn.fetch(_OF, aa_address)]


def _deposit_of(row: asyncpg.Record) -> Deposit:
    values = dict(row)
    values["state"] = DepositState(values["state"])
    return Deposit(**values)
