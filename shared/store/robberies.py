"""Who has robbed us of what, until a person forgives it.

The record is one with the flag `peer_has_robbed` on all channels of the peer: both are written in the transaction that
applies the ledger's event, which has locked these channels before, and no new channel of his that can be robbed can be
inserted meanwhile. Fronts read only the flag, with the row that they lock anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store.channels import OPENINGS_LOCK

if TYPE_CHECKING:
    from shared.store.database import Connection

MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class Robbery:
    """A period of a channel that was emptied by somebody else's fraud proof.

    `amount`: what was at risk, in the asset's smallest unit. `unit`: the agent's response that paid it out.
    """

    aa_address: str
    period: int
    peer_address: str
    asset: str
    amount: int
    unit: str


_LOCK_PEER = """
    SELECT aa_address FROM channels WHERE peer_address = $1 ORDER BY aa_address FOR NO KEY UPDATE
"""

_RECORD = """
    INSERT INTO robberies (aa_address, period, peer_address, asset, amount, unit) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
"""

_FLAG = "UPDATE channels SET peer_has_robbed = $2 WHERE peer_address = $1 AND peer_has_robbed <> $2"

# An order to close is done when the hub has our unit: too early, where the peer's closing was before it.
_CORRECT_ORDERS = """
    UPDATE commands SET state = 'failed', error = $3
     WHERE aa_address = $1 AND kind IN ('sweep', 'close') AND state = 'succeeded'
       AND progress ->> 'period' = $2::bigint::text
"""

_FIND = """
    SELECT aa_address, period, peer_address, asset, amount, unit FROM robberies WHERE aa_address = $1 AND period = $2
"""

_AMOUNTS = "SELECT asset, sum(amount) AS amount FROM robberies WHERE forgiven_at IS NULL GROUP BY asset"

_UNFORGIVEN = """
    SELECT aa_address, max(period) AS period, peer_address, asset, sum(amount) AS amount,
           (array_agg(unit ORDER BY period DESC))[1] AS unit
      FROM robberies
     WHERE forgiven_at IS NULL AND ($1::text IS NULL OR peer_address = $1)
     GROUP BY aa_address, peer_address, asset
     ORDER BY amount DESC, aa_address
     LIMIT $2
"""

_FORGIVE = "UPDATE robberies SET forgiven_at = now() WHERE peer_address = $1 AND forgiven_at IS NULL"


async def lock_peer(conn: Connection, peer_address: str) -> None:
    """Lock all channels of a peer, in order, and keep new ones out, until the end of the transaction.

    Comes before any other lock of a channel. Worker only.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", OPENINGS_LOCK)
    await conn.execute(_LOCK_PEER, peer_address)


async def record(conn: Connection, robbery: Robbery) -> None:
    """Keep a robbery and block its peer, after `lock_peer` in the same transaction. Worker only.

    What was ordered closed in that period, and seemed to have been, has failed.
    """
    values = (robbery.aa_address, robbery.period, robbery.peer_address, robbery.asset, robbery.amount, robbery.unit)
    await conn.execute(_RECORD, *values)
    await conn.execute(_FLAG, robbery.peer_address, True)
    await conn.execute(_CORRECT_ORDERS, robbery.aa_address, robbery.period, f"robbed: {told(robbery)}")


def told(robbery: Robbery) -> str:
    """Say what has happened."""
    return (
        f"the peer closed period {robbery.period} first, and a fraud proof that was not ours took everything, "
        f"{robbery.amount} of it ours (unit {robbery.unit})"
    )


async def find(conn: Connection, aa_address: str, period: int) -> Robbery | None:
    """Return the robbery that has ended a period, None if it did not end so. Worker only."""
    row = await conn.fetchrow(_FIND, aa_address, period)
    return None if row is None else Robbery(**row)


async def amounts(conn: Connection) -> dict[str, int]:
    """Return by asset what was stolen and not forgiven. Worker only."""
    return {row["asset"]: int(row["amount"]) for row in await conn.fetch(_AMOUNTS)}


async def unforgiven(conn: Connection, peer_address: str | None = None, *, limit: int = MAX_LISTED) -> list[Robbery]:
    """Return what was stolen in each channel, of one peer or all, the greatest first; with its last period and unit."""
    rows = await conn.fetch(_UNFORGIVEN, peer_address, limit)
    return [Robbery(**{**row, "amount": int(row["amount"])}) for row in rows]


async def forgive(conn: Connection, peer_address: str) -> int:
    """Let a peer go on in channels that can be robbed; return in how many periods he had robbed us. Worker's role only.

    Needs no lease: what it writes is a person's word. Call it in a transaction.
    """
    await lock_peer(conn, peer_address)
    done: str = await conn.execute(_FORGIVE, peer_address)
    await conn.execute(_FLAG, peer_address, False)
    return int(done.rsplit(maxsplit=1)[-1])
