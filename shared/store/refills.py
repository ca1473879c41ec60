"""Which channels are refilled by themselves, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.refilling import AutoRefill

if TYPE_CHECKING:
    from shared.store.database import Connection

MAX_PAGE = 1_000

_SET = "UPDATE channels SET auto_refill_threshold = $2, auto_refill_amount = $3 WHERE aa_address = $1"

_OF = """
    SELECT auto_refill_threshold AS threshold, auto_refill_amount AS amount
      FROM channels
     WHERE aa_address = $1 AND auto_refill_amount IS NOT NULL
"""

_OF_MANY = """
    SELECT aa_address, auto_refill_threshold AS threshold, auto_refill_amount AS amount
      FROM channels
     WHERE aa_address = ANY($1) AND auto_refill_amount IS NOT NULL
"""

_REFILLED = """
    SELECT aa_address
      FROM channels
     WHERE auto_refill_amount IS NOT NULL AND aa_address > $1
     ORDER BY aa_address
     LIMIT $2
"""


async def switch(conn: Connection, aa_address: str, refill: AutoRefill | None) -> None:
    """Switch auto refill on, or off with None. Worker only."""
    threshold, amount = (None, None) if refill is None else (refill.threshold, refill.amount)
    await conn.execute(_SET, aa_address, threshold, amount)


async def of(conn: Connection, aa_address: str) -> AutoRefill | None:
    """Return how the channel is refilled, None if it is not."""
    row = await conn.fetchrow(_OF, aa_address)
    return None if row is None else AutoRefill(**row)


async def of_many(conn: Connection, addresses: list[str]) -> dict[str, AutoRefill]:
    """Return how the channels are refilled; those that are not are left out."""
    rows = await conn.fetch(_OF_MANY, addresses)
    return {row["aa_address"]: AutoRefill(threshold=row["threshold"], amount=row["amount"]) for row in rows}


async def refilled(conn: Connection, after: str = "", *, limit: int = MAX_PAGE) -> list[str]:
    """Return the addresses of channels that are refilled, in pages: `after` is the last address of the page before."""
    return [row["aa_address"] for row in await conn.fetch(_REFILLED, after, limit)]
