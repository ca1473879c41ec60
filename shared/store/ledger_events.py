"""The agent's answers that were applied to a channel: append only, in the agent's own numbering."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.store import events
from shared.store.json_text import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Collection

    import asyncpg

    from shared.store.database import Connection
    from shared.store.events import NewEvent


class EventKind(StrEnum):
    """What the agent did."""

    OPENED = "opened"
    REFUSED = "refused"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One response of the agent, proven stable. `payload` is its data message, `unit` the response unit."""

    aa_address: str
    event_id: int
    kind: EventKind
    period: int | None
    unit: str
    payload: dict[str, Any]
    mci: int
    unit_timestamp_s: int


_COLUMNS = "aa_address, event_id, kind, period, unit, payload, mci, unit_timestamp_s"

_APPEND = f"""
    INSERT INTO ledger_events ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""

_OF = f"""
    SELECT {_COLUMNS} FROM ledger_events WHERE aa_address = $1 AND event_id > $2 ORDER BY event_id
"""


# One look into the index per channel, however many events there are.
_LAST_OF = """
    SELECT wanted.aa_address, last.event_id, last.unit, last.mci
      FROM unnest($1::text[]) AS wanted (aa_address)
     CROSS JOIN LATERAL (
       SELECT event_id, unit, mci FROM ledger_events
        WHERE ledger_events.aa_address = wanted.aa_address ORDER BY event_id DESC LIMIT 1
     ) AS last
"""


@dataclass(frozen=True, slots=True)
class LastEvent:
    """The last event on record of one channel. `mci` is as a hub told it."""

    event_id: int
    unit: str
    mci: int


async def append(conn: Connection, event: RecordedEvent, tells: NewEvent | None) -> bool:
    """Record an event in the transaction that applies it; False if its number is on record already.

    `tells`: what those who follow the stream of events learn of it, None where that is nothing.
    """
    done = await conn.execute(
        _APPEND,
        event.aa_address,
        event.event_id,
        event.kind.value,
        event.period,
        event.unit,
        to_text(event.payload),
        event.mci,
        event.unit_timestamp_s,
    )
    is_new = done == "INSERT 0 1"
    if is_new and tells is not None:
        await events.add(conn, tells)
    return is_new


async def of(conn: Connection, aa_address: str, *, after: int = 0) -> list[RecordedEvent]:
    """Return a channel's events with a number greater than `after`, in order."""
    return [_event_of(row) for row in await conn.fetch(_OF, aa_address, after)]


async def last_of(conn: Connection, addresses: Collection[str]) -> dict[str, LastEvent]:
    """Return the last event of each of these channels that has any."""
    rows = await conn.fetch(_LAST_OF, list(addresses))
    return {row["aa_address"]: LastEvent(row["event_id"], row["unit"], row["mci"]) for row in rows}


def _event_of(row: asyncpg.Record) -> RecordedEvent:
    values = dict(row)
    values["kind"] = EventKind(values["kind"])
    values["payload"] = from_text(values["payload"])
    return RecordedEvent(**values)
