"""Channels: the row that every payment, every ledger event and every closing takes the lock of.

Locks are always taken in this order: channels by address, then assets by name. The row lock is NO KEY UPDATE, which
excludes every other writer of the row but lets others refer to it.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from shared.channels.exposure import version_is_robbable
from shared.store.channel_rows import (
    ALL_COLUMNS,
    STATE_COLUMNS,
    LockedChannel,
    NewChannel,
    ShownStatus,
    StoredChannel,
    channel_of,
    stored_channel_of,
)
from shared.store.errors import StaleChannelError
from shared.store.instance import AWAKE_AGE_S

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.channels.model import Channel
    from shared.store.database import Connection

MAX_PAGE = 1_000

# ---------------------------------------------------------------------------------------------- the way of a payment

_LOCK = f"""
    SELECT {STATE_COLUMNS}, role = 'B' AS created_by_me, has_peer_units,
           expired_at IS NOT NULL AS is_expired,
           asset = ANY (ARRAY(SELECT asset FROM assets WHERE is_stopped)) AS asset_is_stopped,
           date_part('epoch', clock_timestamp()) AS now_s,
           (SELECT {AWAKE_AGE_S} FROM instance) AS watcher_age_s
      FROM channels
     WHERE aa_address = ANY($1)
     ORDER BY aa_address
       FOR NO KEY UPDATE OF channels
"""


async def lock(conn: Connection, addresses: Collection[str]) -> dict[str, LockedChannel]:
    """Lock channels until the end of the transaction and return them by address; unknown ones are left out.

    Locks are taken in address order, so two batches never wait for each other.
    """
    rows = await conn.fetch(_LOCK, list(addresses))
    return {
        row["aa_address"]: LockedChannel(
            channel=channel_of(row),
            created_by_me=row["created_by_me"],
            has_peer_units=row["has_peer_units"],
            asset_is_stopped=row["asset_is_stopped"],
            is_expired=row["is_expired"],
            now_s=row["now_s"],
            watcher_age_s=row["watcher_age_s"],
        )
        for row in rows
    }


_UNCONFIRMED_USED = """
    SELECT asset, sum(unconfirmed_used)::bigint AS used
      FROM channels
     WHERE unconfirmed_used > 0 AND asset = ANY($1)
     GROUP BY asset
"""


async def unconfirmed_used(conn: Connection, assets: Collection[str]) -> dict[str, int]:
    """Return how much unconfirmed deposits the channels of each asset rely on, all together.

    Exact while the assets are locked (`assets.lock`), which has to come first and in a statement of its own: only then
    does this one see what the last holder of the lock has committed.
    """
    rows = await conn.fetch(_UNCONFIRMED_USED, list(assets))
    return dict.fromkeys(assets, 0) | {row["asset"]: row["used"] for row in rows}


# ----------------------------------------------------------------------------------------------------- new channels


class Insertion(StrEnum):
    """What became of a channel that was to be inserted."""

    CREATED = "created"
    EXISTING = "existing"
    """It is there already, with the same parameters."""
    REVIVED = "revived"
    """It was there and had been given up; it is watched again."""
    CONFLICT = "conflict"
    """The peer has used the salt for another channel."""
    TOO_MANY = "too_many"
    """Too many channels were asked for and never opened."""
    BLOCKED = "blocked"
    """The peer has robbed us, and a channel of this version could be robbed again."""


_INSERT = """
    WITH asset AS (INSERT INTO assets (asset) VALUES ($4) ON CONFLICT DO NOTHING)
    INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role, peer_url)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING
    RETURNING true
"""

_IS_SAME = """
    SELECT (own_address, peer_address, asset, timeout_s, version, role) = ($2, $3, $4, $5::bigint, $7, $8)
           AND salt IS NOT DISTINCT FROM $6 AS is_same,
           expired_at IS NOT NULL AS is_expired
      FROM channels
     WHERE aa_address = $1
"""

# A trigger does the rest: whatever shows that a given-up channel is needed brings it back to life.
_REVIVE = """
    UPDATE channels SET asked_at = greatest(now(), asked_at + interval '1 microsecond')
     WHERE aa_address = ANY($1) AND expired_at IS NOT NULL
    RETURNING aa_address
"""

_COUNT_UNFUNDED = """
    SELECT count(*) FILTER (WHERE peer_address = $1) AS of_peer, count(*) AS of_all
      FROM channels
     WHERE last_event_id = 0 AND expired_at IS NULL
"""

_HAS_ROBBED = "SELECT EXISTS (SELECT FROM channels WHERE peer_address = $1 AND peer_has_robbed)"

# Those who open wait for each other's commits, one after the other: longer than for the lock of a row.
_PATIENT = "SELECT set_config('lock_timeout', '3s', true)"
_LOCK_OPENINGS = f"{_PATIENT}, pg_advisory_xact_lock($1)"
_LOCK_OPENINGS_SHARED = f"{_PATIENT}, pg_advisory_xact_lock_shared($1)"

OPENINGS_LOCK = 0x51_0C_E0_9E
"""Held while a channel is inserted that depends on what other channels there are; released with the transaction."""


async def insert(
    conn: Connection, new: NewChannel, *, max_unopened_of_peer: int | None = None, max_unopened: int | None = None
) -> Insertion:
    """Insert a channel unless it exists, or bring it back to life. Call it in a transaction.

    The limits count channels that were asked for and never saw a deposit: asking costs the asker nothing. With a limit
    given, insertions follow each other, so the limit is exact. That a peer is blocked is exact without one, too: no
    insertion and no blocking overlap.
    """
    is_limited = max_unopened_of_peer is not None or max_unopened is not None
    is_robbable = version_is_robbable(new.version)
    known = None
    if is_limited or is_robbable:
        known = await _compared(conn, new)
        if known is not None and known is not Insertion.REVIVED:
            return known
        await conn.execute(_LOCK_OPENINGS if is_limited else _LOCK_OPENINGS_SHARED, OPENINGS_LOCK)
    if known is None and is_robbable and await peer_has_robbed(conn, new.peer_address):
        return await _compared(conn, new) or Insertion.BLOCKED
    if is_limited and await _are_too_many(conn, new.peer_address, max_unopened_of_peer, max_unopened):
        found = await _compared(conn, new)
        return Insertion.TOO_MANY if found in (None, Insertion.REVIVED) else found
    if await conn.fetchval(_INSERT, *_identity(new), new.peer_url):
        return Insertion.CREATED
    found = await _compared(conn, new)
    if found is Insertion.REVIVED and not await revive(conn, [new.aa_address]):
        return Insertion.EXISTING
    return found or Insertion.CONFLICT


async def revive(conn: Connection, addresses: Collection[str], *, max_unopened: int | None = None) -> list[str]:
    """Bring those of the channels back to life that were given up, and return them: they are watched again.

    With a limit, none is while there are as many that never saw a deposit. Call it in a transaction.
    """
    if max_unopened is not None:
        await conn.execute(_LOCK_OPENINGS, OPENINGS_LOCK)
        if await _are_too_many(conn, "", None, max_unopened):
            return []
    return [row["aa_address"] for row in await conn.fetch(_REVIVE, list(addresses))]


async def _are_too_many(conn: Connection, peer_address: str, max_of_peer: int | None, max_of_all: int | None) -> bool:
    [unfunded] = await conn.fetch(_COUNT_UNFUNDED, peer_address)
    return _reached(unfunded["of_peer"], max_of_peer) or _reached(unfunded["of_all"], max_of_all)


async def peer_has_robbed(conn: Connection, peer_address: str) -> bool:
    """Whether a peer has robbed us, in any channel, and nobody has forgiven it."""
    return bool(await conn.fetchval(_HAS_ROBBED, peer_address))


async def _compared(conn: Connection, new: NewChannel) -> Insertion | None:
    """What the channel on record under the address is to the new one, None without one; REVIVED if it could be."""
    found = await conn.fetchrow(_IS_SAME, *_identity(new))
    if found is None:
        return None
    if not found["is_same"]:
        return Insertion.CONFLICT
    return Insertion.REVIVED if found["is_expired"] else Insertion.EXISTING


def _identity(new: NewChannel) -> tuple[object, ...]:
    return (
        new.aa_address,
        new.own_address,
        new.peer_address,
        new.asset,
        new.timeout_s,
        new.salt,
        new.version,
        new.role,
    )


def _reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


# ---------------------------------------------------------------------------------------------------------- reading

_FIND = f"SELECT {ALL_COLUMNS} FROM channels WHERE aa_address = ANY($1)"


async def find(conn: Connection, addresses: Collection[str]) -> dict[str, StoredChannel]:
    """Return channels as they are now, without a lock; unknown ones are left out."""
    rows = await conn.fetch(_FIND, list(addresses))
    return {row["aa_address"]: stored_channel_of(row) for row in rows}


_PAGE = f"""
    SELECT {ALL_COLUMNS}
      FROM channels
     WHERE ($1::text IS NULL
            OR (created_at, aa_address) < (SELECT created_at, aa_address FROM channels WHERE aa_address = $1))
       AND ($3::text IS NULL
            OR CASE WHEN expired_at IS NOT NULL THEN 'expired'
                    WHEN last_event_id = 0 THEN 'unfunded'
                    ELSE status END = $3)
       AND ($4::text IS NULL OR asset = $4)
       AND ($5::text IS NULL OR peer_address = $5)
       AND ($6::text IS NULL OR (peer_url = $6 AND role = 'B'))
       AND ($7::text IS NULL OR peer_device = $7)
     ORDER BY created_at DESC, aa_address DESC
     LIMIT $2
"""


async def page(
    conn: Connection,
    *,
    after: str | None = None,
    limit: int = 100,
    status: ShownStatus | None = None,
    asset: str | None = None,
    peer_address: str | None = None,
    opened_at_url: str | None = None,
    peer_device: str | None = None,
) -> list[StoredChannel]:
    """Return channels, newest first. The cursor `after` is the address of the last one of the page before.

    `opened_at_url`: those that we have opened with the peer at this base URL; anybody can call a URL his own.
    """
    rows = await conn.fetch(_PAGE, after, min(limit, MAX_PAGE), status, asset, peer_address, opened_at_url, peer_device)
    return [stored_channel_of(row) for row in rows]


# ------------------------------------------------------------------------------------------------ the watcher's side

_LOCK_ONE = f"""
    SELECT {STATE_COLUMNS}, claim FROM channels WHERE aa_address = $1 FOR NO KEY UPDATE
"""


async def lock_one(conn: Connection, aa_address: str) -> Channel | None:
    """Lock a channel until the end of the transaction and return it with its claim, None if unknown. Worker only."""
    row = await conn.fetchrow(_LOCK_ONE, aa_address)
    return None if row is None else channel_of(row, claim=row["claim"])


_SAVE_TRANSITION = """
    UPDATE channels
       SET status = $2, period = $3, deposited_by_peer = $4, deposited_by_me = $5, spent_by_peer = $6,
           spent_by_me = $7, credit = $8, claim = $9, period_closed_by_me = $10, close_started_at_s = $11,
           claimed_by_peer = $12, last_event_id = $13, definition_confirmed = $14, unsure_period = $15,
           updated_at = now()
     WHERE aa_address = $1
       AND last_event_id <= $13
       -- Nothing signed is ever forgotten in its period. The next one begins with the closing of the last.
       AND (spent_by_peer <= $6 AND spent_by_me <= $7
            OR $3 + ($2 = 'closed')::int > period + (status = 'closed')::int)
"""


async def save_transition(conn: Connection, channel: Channel) -> None:
    """Write a channel's whole state; the caller has locked it with `lock_one` in this transaction. Worker only.

    Raises StaleChannelError if that would go back: an older event, or less signed than is recorded.
    """
    done = await conn.execute(
        _SAVE_TRANSITION,
        channel.aa_address,
        channel.status.value,
        channel.period,
        channel.deposited_by_peer,
        channel.deposited_by_me,
        channel.spent_by_peer,
        channel.spent_by_me,
        channel.credit,
        channel.claim,
        channel.period_closed_by_me,
        channel.close_started_at_s,
        channel.claimed_by_peer,
        channel.last_event_id,
        channel.definition_confirmed,
        channel.unsure_period,
    )
    if done != "UPDATE 1":
        raise StaleChannelError(f"channel {channel.aa_address} would lose what is recorded")


_TO_WATCH = """
    SELECT aa_address FROM channels WHERE aa_address > $1 AND expired_at IS NULL ORDER BY aa_address LIMIT $2
"""

_NOT_WATCHED = """
    SELECT aa_address FROM channels WHERE NOT is_watched AND expired_at IS NULL ORDER BY aa_address LIMIT $1
"""

_MARK_WATCHED = """
    UPDATE channels SET is_watched = true WHERE aa_address = ANY($1) AND NOT is_watched AND expired_at IS NULL
"""


async def to_watch(conn: Connection, after: str = "", *, limit: int = MAX_PAGE) -> list[str]:
    """Return all channels but those given up, in pages: `after` is the last address of the page before."""
    return [row["aa_address"] for row in await conn.fetch(_TO_WATCH, after, limit)]


async def not_watched(conn: Connection, *, limit: int = MAX_PAGE) -> list[str]:
    """Return channels that no worker has watched yet, or not since they came back to life.

    A worker that starts reads `to_watch` to its end, and from then on only this: nothing is skipped, whatever order
    insertions are committed in.
    """
    return [row["aa_address"] for row in await conn.fetch(_NOT_WATCHED, limit)]


async def mark_watched(conn: Connection, addresses: Sequence[str]) -> None:
    """Note that a worker watches the channels. Worker only."""
    await conn.execute(_MARK_WATCHED, list(addresses))
