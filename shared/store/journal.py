"""The journal of units we make: written, signed, before they are posted. After a crash the same unit is posted again.

composed  stored; nobody else has seen it, or nobody knows whether anybody has
posted    the hub took it
stable    final on the ledger
failed    it can never become final; only now may another unit be made for the same purpose
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.store.errors import UnfinishedUnitError
from shared.store.json_text import from_text, plain_text, to_text

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection


class UnitState(StrEnum):
    """Where a unit of ours stands."""

    COMPOSED = "composed"
    POSTED = "posted"
    STABLE = "stable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One unit of ours and what it is for. `period` and `aa_address` are None when it is for no channel.

    `reference` tells apart what may be wanted several times in a period, as the command that asked for it.
    """

    id: int
    purpose: str
    aa_address: str | None
    period: int | None
    unit: str
    joint: dict[str, Any] = field(repr=False)
    state: UnitState
    error: str | None
    created_at: datetime
    posted_at: datetime | None
    resolved_at: datetime | None
    reference: str = ""


_COLUMNS = "id, purpose, aa_address, period, unit, joint, state, error, created_at, posted_at, resolved_at, reference"

_COMPOSE = f"""
    INSERT INTO journal (purpose, aa_address, period, unit, joint, reference) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (purpose, coalesce(aa_address, ''), coalesce(period, 0), reference)
      WHERE state IN ('composed', 'posted')
    DO NOTHING
    RETURNING {_COLUMNS}
"""

_POSTED = "UPDATE journal SET state = 'posted', posted_at = now() WHERE unit = $1 AND state = 'composed'"

_STABLE = """
    UPDATE journal SET state = 'stable', resolved_at = now() WHERE unit = $1 AND state IN ('composed', 'posted')
"""

# A deposit that never became part of the ledger must not count as on its way, whoever finds that out.
_FAILED = """
    WITH failed AS (
      UPDATE journal
         SET state = 'failed', error = $2, resolved_at = now()
       WHERE unit = $1 AND state IN ('composed', 'posted')
      RETURNING unit
    ), bounced AS (
      UPDATE deposits SET state = 'bounced', settled_at = now()
       WHERE state = 'pending' AND unit IN (SELECT unit FROM failed)
    )
    SELECT count(*) FROM failed
"""

# What the ledger proves is true, even of a unit that was given up.
_FINAL = "UPDATE journal SET state = 'stable', error = NULL, resolved_at = now() WHERE unit = $1 AND state <> 'stable'"

_FAILED_FOR = f"""
    SELECT {_COLUMNS} FROM journal
     WHERE purpose = $1 AND aa_address IS NOT DISTINCT FROM $2 AND period IS NOT DISTINCT FROM $3 AND reference = $4
       AND state = 'failed'
     ORDER BY id DESC LIMIT $5
"""

_PAGE = f"SELECT {_COLUMNS} FROM journal WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"

_UNFINISHED = f"""
    SELECT {_COLUMNS} FROM journal WHERE state IN ('composed', 'posted') ORDER BY id
"""

_ON_THEIR_WAY = "SELECT DISTINCT aa_address, period, purpose FROM journal WHERE state IN ('composed', 'posted')"

_GET = f"SELECT {_COLUMNS} FROM journal WHERE unit = $1"

_KNOWN = "SELECT unit FROM journal WHERE unit = ANY($1)"

_OF_CHANNEL = f"SELECT {_COLUMNS} FROM journal WHERE aa_address = $1 ORDER BY id"

_IS_UNDER_WAY = """
    SELECT EXISTS (SELECT FROM journal WHERE reference = $1 AND reference <> '' AND state IN ('composed', 'posted'))
"""

_OF_REFERENCE = f"SELECT {_COLUMNS} FROM journal WHERE reference = $1 AND reference <> '' ORDER BY id"


async def compose(
    conn: Connection,
    purpose: str,
    unit: str,
    joint: dict[str, Any],
    *,
    aa_address: str | None = None,
    period: int | None = None,
    reference: str = "",
) -> Entry:
    """Store a signed unit before it is posted.

    Raises UnfinishedUnitError when the fate of one for the same purpose, channel, period and reference is open.
    """
    row = await conn.fetchrow(_COMPOSE, purpose, aa_address, period, unit, to_text(joint), reference)
    if row is None:
        raise UnfinishedUnitError(f"a unit to {purpose} is on its way already")
    return _entry_of(row)


async def posted(conn: Connection, unit: str) -> bool:
    """Note that the hub took the unit; False if it was noted before."""
    return await conn.execute(_POSTED, unit) == "UPDATE 1"


async def stable(conn: Connection, unit: str) -> bool:
    """Note that the unit is final; False if its fate was known already or it is not ours."""
    return await conn.execute(_STABLE, unit) == "UPDATE 1"


async def failed(conn: Connection, unit: str, error: str) -> bool:
    """Note that the unit can never become final, and why; False if its fate was known already or it is not ours.

    The deposit that it was to make, if any, is settled with it.
    """
    failed_now: int = await conn.fetchval(_FAILED, unit, plain_text(error))
    return failed_now == 1


async def final(conn: Connection, unit: str) -> bool:
    """Note that the ledger proves a unit of ours final that is for no channel; False if that was known.

    Unlike `stable` it holds of a unit, too, that was taken for failed.
    """
    return await conn.execute(_FINAL, unit) == "UPDATE 1"


async def unfinished(conn: Connection) -> list[Entry]:
    """Return the units whose fate is open, in the order they were made: what has to be posted again after a crash."""
    return [_entry_of(row) for row in await conn.fetch(_UNFINISHED)]


async def on_their_way(conn: Connection) -> set[tuple[str | None, int | None, str]]:
    """Return channel, period and purpose of the units whose fate is open."""
    return {(row["aa_address"], row["period"], row["purpose"]) for row in await conn.fetch(_ON_THEIR_WAY)}


async def get(conn: Connection, unit: str) -> Entry | None:
    """Return the entry of a unit, None if it is not ours."""
    row = await conn.fetchrow(_GET, unit)
    return None if row is None else _entry_of(row)


async def unknown(conn: Connection, units: Collection[str]) -> set[str]:
    """Return those of these units that we did not make."""
    return set(units).difference(row["unit"] for row in await conn.fetch(_KNOWN, list(units)))


async def of_channel(conn: Connection, aa_address: str) -> list[Entry]:
    """Return all units made for a channel, in their order."""
    return [_entry_of(row) for row in await conn.fetch(_OF_CHANNEL, aa_address)]


async def failed_for(
    conn: Connection, purpose: str, *, aa_address: str | None, period: int | None, reference: str, limit: int = 5
) -> list[Entry]:
    """Return the last units made for a purpose that came to nothing, the newest first."""
    return [_entry_of(row) for row in await conn.fetch(_FAILED_FOR, purpose, aa_address, period, reference, limit)]


async def page(conn: Connection, *, before: int | None = None, limit: int = 100) -> list[Entry]:
    """Return units of ours, the newest first; `before`: only those made before the entry with this id."""
    return [_entry_of(row) for row in await conn.fetch(_PAGE, before, limit)]


async def of_reference(conn: Connection, reference: str) -> list[Entry]:
    """Return all units made for one reference, such as the command that asked for them, in their order."""
    return [_entry_of(row) for row in await conn.fetch(_OF_REFERENCE, reference)]


async def is_under_way(conn: Connection, reference: str) -> bool:
    """Whether the fate of a unit made for a reference is open."""
    return bool(await conn.fetchval(_IS_UNDER_WAY, reference))


def _entry_of(row: asyncpg.Record) -> Entry:
    values = dict(row)
    values["state"] = UnitState(values["state"])
    values["joint"] = from_text(values["joint"])
    return Entry(**values)
