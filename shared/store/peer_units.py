"""Units of peers that are on the ledger and not yet stable: deposits on their way, closings to come.

`channels.has_peer_units` says whether a channel has any, so that the ordinary payment need not look here. Adding and
removing keep it right under the channel's lock.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from shared.channels.model import PeerUnit

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.store.database import Connection

_OF = """
    SELECT aa_address, unit, amount, closes, has_definition, bad_sequence,
           date_part('epoch', first_seen_at) AS first_seen_s
      FROM peer_units
     WHERE aa_address = ANY($1)
     ORDER BY first_seen_at, unit
"""


async def of(conn: Connection, addresses: Collection[str]) -> dict[str, tuple[PeerUnit, ...]]:
    """Return the units of each channel that has any, the first seen first. Times are the database's."""
    units: defaultdict[str, list[PeerUnit]] = defaultdict(list)
    for row in await conn.fetch(_OF, list(addresses)):
        unit = PeerUnit(
            unit=row["unit"],
            first_seen_s=row["first_seen_s"],
            amount=row["amount"],
            closes=row["closes"],
            publishes_definition=row["has_definition"],
            is_bad=row["bad_sequence"],
        )
        units[row["aa_address"]].append(unit)
    return {address: tuple(found) for address, found in units.items()}


# The lock comes first and alone: what the statement after it sees is then all that others have committed.
_LOCK = "SELECT FROM channels WHERE aa_address = $1 FOR NO KEY UPDATE"

_ADD = """
    WITH channel AS (UPDATE channels SET has_peer_units = true WHERE aa_address = $1 AND NOT has_peer_units)
    INSERT INTO peer_units (aa_address, unit, amount, closes, has_definition)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
"""

_REMOVE = """
    WITH removed AS (DELETE FROM peer_units WHERE aa_address = $1 AND unit = $2)
    UPDATE channels
       SET has_peer_units = EXISTS (SELECT FROM peer_units WHERE aa_address = $1 AND unit <> $2)
     WHERE aa_address = $1 AND has_peer_units
"""

_MARK_BAD = """
    UPDATE peer_units SET bad_sequence = true WHERE unit = ANY($1) AND NOT bad_sequence RETURNING aa_address
"""


async def add(
    conn: Connection, aa_address: str, unit: str, *, amount: int, closes: bool, publishes_definition: bool
) -> None:
    """Note a unit of the peer, seen now by the database's clock; one that is known already keeps its time.

    Only units whose author signature was verified belong here. Call it in a transaction.
    """
    await conn.execute(_LOCK, aa_address)
    await conn.execute(_ADD, aa_address, unit, amount, closes, publishes_definition)


async def remove(conn: Connection, aa_address: str, unit: str) -> None:
    """Forget a unit: the agent has answered it, or it will never be stable. Call it in a transaction."""
    await conn.execute(_LOCK, aa_address)
    await conn.execute(_REMOVE, aa_address, unit)


async def mark_bad(conn: Connection, units: Collection[str]) -> set[str]:
    """Note that units conflict with others of their author; return the addresses of the channels concerned."""
    return {row["aa_address"] for row in await conn.fetch(_MARK_BAD, list(units))}
