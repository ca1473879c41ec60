"""What every hub is held to: the order providers that are trusted, and how far the ledger was proven already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class LedgerPins:
    """What outlives connections, terms and restarts."""

    order_providers: tuple[str, ...] = ()
    """Sorted; empty before the first hub was ever asked."""
    time_s: int = 0
    """The latest ledger time that was proven, as seconds since 1970; 0 before the first proof."""
    mci: int = 0
    """Main chain index that a hub told with that proof. Not proven: for people to read."""


_READ = "SELECT order_providers, ledger_time_s, ledger_mci FROM instance"

_PIN = "UPDATE instance SET order_providers = $1"

_PIN_FIRST = "UPDATE instance SET order_providers = $1 WHERE order_providers IS NULL"

# An index counts only together with the proof it came with: a hub may tell any number.
_NOTE = """
    UPDATE instance
       SET ledger_mci = CASE WHEN $1 > ledger_time_s AND $2::bigint IS NOT NULL THEN $2 ELSE ledger_mci END,
           ledger_time_s = greatest(ledger_time_s, $1)
    RETURNING order_providers, ledger_time_s, ledger_mci
"""


async def read(conn: Connection) -> LedgerPins:
    """Return what is pinned; nothing before the worker has started for the first time."""
    return _pins_of(await conn.fetchrow(_READ))


async def pin(conn: Connection, order_providers: Sequence[str]) -> bool:
    """Trust these order providers from now on, by a person's word; False if there is nobody to trust them yet."""
    return await conn.execute(_PIN, sorted(order_providers)) == "UPDATE 1"


async def pin_first(conn: Connection, order_providers: Sequence[str]) -> None:
    """Trust these order providers unless others are trusted already. Worker only."""
    await conn.execute(_PIN_FIRST, sorted(order_providers))


async def note(conn: Connection, *, time_s: int, mci: int | None) -> LedgerPins:
    """Note how far the ledger was proven, and return what is pinned now. Worker only."""
    return _pins_of(await conn.fetchrow(_NOTE, time_s, mci))


def _pins_of(row: asyncpg.Record | None) -> LedgerPins:
    if row is None:
        return LedgerPins()
    return LedgerPins(tuple(row["order_providers"] or ()), row["ledger_time_s"], row["ledger_mci"])
