"""A channel as a row: what the rules know of it, and what only the store and the doors need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from shared.channels.model import Channel, Status

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

STATE_COLUMNS = """
    aa_address, own_address, peer_address, asset, timeout_s, version, status, period, deposited_by_peer,
    deposited_by_me, spent_by_peer, spent_by_me, credit, period_closed_by_me, close_started_at_s, claimed_by_peer,
    last_event_id, definition_confirmed, unsure_period, peer_has_robbed"""
"""What makes a `Channel`, except `claim`, which the front's role may not read."""

ALL_COLUMNS = f"""{STATE_COLUMNS}, salt, role, peer_url, has_peer_units, created_at, updated_at, expired_at"""
"""What makes a `StoredChannel`."""

ShownStatus = Literal["unfunded", "expired", "open", "closing_initiated_by_me", "closing_initiated_by_peer", "closed"]
"""What people are told of a channel. `unfunded`: it never saw a deposit; `expired`: nor is it watched any more."""

Side = Literal["A", "B"]
"""Which party of the agent we are: B asked for the channel, A was asked."""


@dataclass(frozen=True, slots=True)
class NewChannel:
    """What both peers agreed on. `aa_address` is a hash of it, so it never changes."""

    aa_address: str
    own_address: str
    peer_address: str
    asset: str
    timeout_s: int
    salt: str | None
    version: str
    role: Side
    peer_url: str | None = None


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """A channel as it was when it was read, without a lock. `channel.claim` is None."""

    channel: Channel
    salt: str | None
    version: str
    role: Side
    peer_url: str | None
    has_peer_units: bool
    created_at: datetime
    updated_at: datetime
    expired_at: datetime | None = None
    """When it was given up: it never saw a deposit, and nobody watches it."""

    @property
    def shown_status(self) -> ShownStatus:
        """The status in words that keep apart what was closed and what was never opened."""
        if self.expired_at is not None:
            return "expired"
        if self.channel.last_event_id == 0:
            return "unfunded"
        return self.channel.status.value


class LockedChannel(msgspec.Struct, frozen=True):
    """A channel that nobody else can change before the end of the transaction. `channel.claim` is None."""

    channel: Channel
    created_by_me: bool
    has_peer_units: bool
    """Whether `peer_units` has something to say about it."""
    asset_is_stopped: bool
    """Whether too much is at risk in all channels of the asset together."""
    now_s: float
    """The database's clock when the row was read, as seconds since 1970."""
    watcher_age_s: float | None
    """How long ago the watcher was last in step with the ledger; None if it never was."""
    is_expired: bool = False
    """Whether it was given up: nobody watches it."""


_NAMES = tuple(STATE_COLUMNS.replace(",", " ").split())
_STATUS_AT = _NAMES.index("status")
_CLAIM_AT = _NAMES.index("credit") + 1
_STATUS = {status.value: status for status in Status}


def channel_of(row: asyncpg.Record, claim: str | None = None) -> Channel:
    """Make the rules' channel from a row that begins with STATE_COLUMNS, which stand in the order of its fields.

    By place, because it is done for each payment: by name it takes twice as long.
    """
    fields = list(row[: len(_NAMES)])
    fields[_STATUS_AT] = _STATUS[fields[_STATUS_AT]]
    fields.insert(_CLAIM_AT, claim)
    return Channel(*fields)


def stored_channel_of(row: asyncpg.Record) -> StoredChannel:
    """Make a stored channel from a row with ALL_COLUMNS."""
    return StoredChannel(
        channel=channel_of(row),
        salt=row["salt"],
        version=row["version"],
        role=row["role"],
        peer_url=row["peer_url"],
        has_peer_units=row["has_peer_units"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expired_at=row["expired_at"],
    )
