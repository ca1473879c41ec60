"""The units that touch our own address, as the ledger has shown them: what the wallet's coins are computed from."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.store.json_text import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection


class Sequence(StrEnum):
    """What the ledger thinks of a unit among conflicting ones of its author."""

    GOOD = "good"
    TEMP_BAD = "temp-bad"
    FINAL_BAD = "final-bad"


@dataclass(frozen=True, slots=True)
class WalletUnit:
    """One unit with its joint. `mci` is None until it is known."""

    unit: str
    joint: dict[str, Any] = field(repr=False)
    mci: int | None
    is_stable: bool
    sequence: Sequence
    first_seen_at: datetime


_COLUMNS = "unit, joint, mci, is_stable, sequence, first_seen_at"

# What is final stays final, in whatever order news arrives.
_SAVE = """
    INSERT INTO wallet_units AS known (unit, joint, mci, is_stable, sequence) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (unit) DO UPDATE
      SET mci = coalesce(excluded.mci, known.mci), is_stable = excluded.is_stable, sequence = excluded.sequence
      WHERE NOT known.is_stable
"""

_MARK_BAD = "UPDATE wallet_units SET sequence = $2 WHERE unit = $1 AND NOT is_stable"

_GET = f"SELECT {_COLUMNS} FROM wallet_units WHERE unit = $1"

_ALL = f"SELECT {_COLUMNS} FROM wallet_units ORDER BY mci NULLS LAST, first_seen_at, unit"

_UNSTABLE = f"""
    SELECT {_COLUMNS} FROM wallet_units WHERE NOT is_stable ORDER BY first_seen_at, unit
"""

_LAST_STABLE_MCI = "SELECT max(mci) FROM wallet_units WHERE is_stable"


_HELD_IN_CHANNELS = """
    SELECT asset, sum(deposited_by_me - spent_by_me + spent_by_peer - credit)::bigint AS held
      FROM channels
     WHERE status <> 'closed' AND deposited_by_me - spent_by_me + spent_by_peer - credit > 0
     GROUP BY asset
"""


async def held_in_channels(conn: Connection) -> dict[str, int]:
    """Return by asset what channels would pay us if all were closed now, in the asset's smallest unit."""
    return {row["asset"]: row["held"] for row in await conn.fetch(_HELD_IN_CHANNELS)}


async def save(
    conn: Connection,
    unit: str,
    joint: dict[str, Any],
    *,
    mci: int | None,
    is_stable: bool,
    sequence: Sequence = Sequence.GOOD,
) -> None:
    """Store a unit, or what is newly known of it; a stable one never changes again."""
    await conn.execute(_SAVE, unit, to_text(joint), mci, is_stable, sequence.value)


async def mark_bad(conn: Connection, unit: str, sequence: Sequence = Sequence.TEMP_BAD) -> bool:
    """Note that an unstable unit conflicts with another one; False if it is unknown or stable."""
    return await conn.execute(_MARK_BAD, unit, sequence.value) == "UPDATE 1"


async def get(conn: Connection, unit: str) -> WalletUnit | None:
    """Return one unit."""
    row = await conn.fetchrow(_GET, unit)
    return None if row is None else _unit_of(row)


async def stream(conn: Connection, *, prefetch: int = 200) -> AsyncIterator[WalletUnit]:
    """Stream all units, oldest first, as of one moment. Needs a transaction."""
    async for row in conn.cursor(_ALL, prefetch=prefetch):
        yield _unit_of(row)


async def unstable(conn: Connection) -> list[WalletUnit]:
    """Return the units whose fate is open."""
    return [_unit_of(row) for row in await conn.fetch(_UNSTABLE)]


async def last_stable_mci(conn: Connection) -> int | None:
    """Return the greatest main chain index of a stable unit, None without one."""
    mci: int | None = await conn.fetchval(_LAST_STABLE_MCI)
    return mci


def _unit_of(row: asyncpg.Record) -> WalletUnit:
    values = dict(row)
    values["joint"] = from_text(values["joint"])
    values["sequence"] = Sequence(values["sequence"])
    return WalletUnit(**values)
