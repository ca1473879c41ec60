"""Webhooks: where events are sent, and with which sealed secrets. What is sent is in `webhook_deliveries`."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.store.errors import IdempotencyConflictError, StoreError
from shared.store.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

_LOCK_OF_CREATION = 0x51_0C_E5_06
"""Of creations, so that no two of them are the last that there is room for."""


class TooManyWebhooksError(StoreError):
    """There are as many webhooks as there may be."""

    code = "too_many_webhooks"


class RotationUnderWayError(StoreError):
    """The secret before the one in use is still valid: another one would end it early."""

    code = "rotation_under_way"


class WebhookState(StrEnum):
    """Whether a webhook is sent to. What has not been sent waits while it is not."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why a webhook was disabled: the server said 410, or nothing has succeeded for long."""

    GONE = "gone"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook without its secrets. `types`: None for all events. `position`: deliveries are written down up to it."""

    id: int
    url: str
    description: str
    types: tuple[str, ...] | None
    state: WebhookState
    reason: DisabledReason | None
    position: int
    failing_since: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    secret_created_at: datetime
    previous_secret_ends_at: datetime | None
    pending: int
    held_channels: int
    """Channels of which more waits than `pending` counts; events without a channel count as one."""
    oldest_pending_at: datetime | None
    """When the oldest event happened that waits, about."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook to be made. `sealed_secret`: for the worker's key (`signer`)."""

    url: str
    description: str
    types: tuple[str, ...] | None
    position: int
    sealed_secret: str = field(repr=False)
    creation_hash: bytes | None = None
    """SHA-256 of who asks and under which key; None to make one in any case."""
    request_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Away:
    """A webhook that takes nothing. `reason`: why it was disabled."""

    id: int
    state: str
    reason: str | None
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Signing:
    """Where a message is sent, and what signs it: sealed secrets, that in use first."""

    url: str
    sealed_secrets: tuple[str, ...] = field(repr=False)


# -------------------------------------------------------------------------------------------------------- the signer

_SIGNER = "SELECT public_key FROM webhook_signer"

_DECLARE_SIGNER = """
    INSERT INTO webhook_signer (public_key) VALUES ($1)
    ON CONFLICT (is_the_one) DO UPDATE SET public_key = excluded.public_key
     WHERE webhook_signer.public_key <> excluded.public_key
"""


async def signer(conn: Connection) -> str | None:
    """Return the public key to seal secrets with; None before the first worker has started."""
    key: str | None = await conn.fetchval(_SIGNER)
    return key


async def declare_signer(conn: Connection, public_key: str) -> None:
    """Say what secrets are to be sealed with. Worker only."""
    await conn.execute(_DECLARE_SIGNER, public_key)


# -------------------------------------------------------------------------------------------------------- webhooks

_COLUMNS = """
    w.id, w.url, w.description, w.types, w.state, w.reason, w.position, w.failing_since, w.last_success_at,
    w.last_failure_at, w.created_at, w.updated_at,
    (SELECT s.created_at FROM webhook_secrets s WHERE s.webhook_id = w.id AND s.ends_at IS NULL) AS secret_created_at,
    (SELECT max(s.ends_at) FROM webhook_secrets s WHERE s.webhook_id = w.id AND s.ends_at > now())
      AS previous_secret_ends_at,
    (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending') AS pending,
    (SELECT count(*) FROM webhook_held_lanes h WHERE h.webhook_id = w.id) AS held_channels,
    least(
      (SELECT d.event_at FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending'
        ORDER BY d.event_id LIMIT 1),
      (SELECT min(h.event_at) FROM webhook_held_lanes h WHERE h.webhook_id = w.id)
    ) AS oldest_pending_at
"""

_FIND = f"SELECT {_COLUMNS} FROM webhooks w WHERE w.id = $1"

_PAGE = f"SELECT {_COLUMNS} FROM webhooks w WHERE w.id > $1 ORDER BY w.id LIMIT $2"

_MADE_BEFORE = "SELECT id, request_hash FROM webhooks WHERE creation_hash = $1"

_COUNT = "SELECT count(*) FROM webhooks"

_CREATE = """
    INSERT INTO webhooks (url, description, types, position, creation_hash, request_hash)
    VALUES ($1, $2, $3, $4, $5, $6) RETURNING id
"""

_ADD_SEALED = "INSERT INTO webhook_secrets (webhook_id, sealed) VALUES ($1, $2)"

_LOCK = "SELECT state, url FROM webhooks WHERE id = $1 FOR UPDATE"

# Whoever makes it active again says that it works now: its failures begin to count anew.
_UPDATE = """
    UPDATE webhooks
       SET url = $2, description = $3, types = $4, state = $5, updated_at = now(),
           reason = CASE WHEN $5 = 'disabled' THEN reason END,
           failing_since = CASE WHEN $5 = 'active' AND state <> 'active' THEN NULL ELSE failing_since END,
           failing_told_at = CASE WHEN $5 = 'active' AND state <> 'active' THEN NULL ELSE failing_told_at END
     WHERE id = $1
"""

# What has waited through a pause, or for the right address, is due at once and begins its attempts anew.
_RESUME_DELIVERIES = """
    UPDATE webhook_deliveries SET tries = 0, next_attempt_at = NULL
     WHERE webhook_id = $1 AND state = 'pending' AND tries > 0
"""

_RESUME_LANES = """
    UPDATE webhook_lanes SET due_at = least(due_at, now()) WHERE webhook_id = $1 AND claimed_term IS NULL
"""

_DELETE = "DELETE FROM webhooks WHERE id = $1"

_REWIND = "UPDATE webhooks SET position = least(position, $2), updated_at = now() WHERE id = $1"

# Everything of such a lane comes after the position now, where planning meets it.
_LET_GO = "DELETE FROM webhook_held_lanes WHERE webhook_id = $1 AND held_from > $2"


async def find(conn: Connection, webhook_id: int) -> Webhook | None:
    """Return a webhook, None if there is none with this number."""
    row = await conn.fetchrow(_FIND, webhook_id)
    return None if row is None else _webhook_of(row)


async def page(conn: Connection, *, after: int = 0, limit: int = 200) -> list[Webhook]:
    """Return webhooks in the order of their numbers."""
    return [_webhook_of(row) for row in await conn.fetch(_PAGE, after, limit)]


async def create(conn: Connection, new: NewWebhook, *, at_most: int) -> tuple[int, bool]:
    """Make a webhook; return its number, and whether it was made by this request rather than by an earlier one.

    In a transaction. Raises TooManyWebhooksError, IdempotencyConflictError.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_OF_CREATION)
    if new.creation_hash is not None:
        made = await conn.fetchrow(_MADE_BEFORE, new.creation_hash)
        if made is not None:
            if made["request_hash"] != new.request_hash:
                raise IdempotencyConflictError("the idempotency key was used for another request")
            return made["id"], False
    if await conn.fetchval(_COUNT) >= at_most:
        raise TooManyWebhooksError(f"there are {at_most} webhooks already")
    types = None if new.types is None else list(new.types)
    webhook_id: int = await conn.fetchval(
        _CREATE, new.url, new.description, types, new.position, new.creation_hash, new.request_hash
    )
    await conn.execute(_ADD_SEALED, webhook_id, new.sealed_secret)
    return webhook_id, True


async def update(
    conn: Connection,
    webhook_id: int,
    *,
    url: str,
    description: str,
    types: Sequence[str] | None,
    state: WebhookState,
) -> None:
    """Change a webhook, in a transaction. What waits is sent at once if it was not active, or had another address."""
    before = await conn.fetchrow(_LOCK, webhook_id)
    if before is None:
        return
    await conn.execute(_UPDATE, webhook_id, url, description, None if types is None else list(types), state.value)
    if state is WebhookState.ACTIVE and (before["state"], before["url"]) != (state.value, url):
        await conn.execute(_RESUME_DELIVERIES, webhook_id)
        await conn.execute(_RESUME_LANES, webhook_id)


async def lock(conn: Connection, webhook_id: int) -> bool:
    """Keep deliveries of this webhook as they are until the transaction ends; False if there is no such webhook."""
    return await conn.fetchrow(_LOCK, webhook_id) is not None


async def delete(conn: Connection, webhook_id: int) -> bool:
    """Delete a webhook with its deliveries and secrets; False if there is none."""
    return await conn.execute(_DELETE, webhook_id) == "DELETE 1"


async def rewind(conn: Connection, webhook_id: int, position: int) -> None:
    """Send everything after `position` again, also what was delivered. In a transaction."""
    await conn.execute(_REWIND, webhook_id, position)
    await conn.execute(_LET_GO, webhook_id, position)


_ADD_TEST = f"""
    INSERT INTO events (kind, data) VALUES ('{EventKind.WEBHOOK_TEST}', json_build_object('webhook_id', $1::bigint))
    RETURNING id
"""


async def add_test(conn: Connection, webhook_id: int) -> int:
    """Let an event happen that is for one webhook only; return its number."""
    event_id: int = await conn.fetchval(_ADD_TEST, webhook_id)
    return event_id


# -------------------------------------------------------------------------------------------------------- secrets

_PREVIOUS_IS_VALID = "SELECT count(*) > 0 FROM webhook_secrets WHERE webhook_id = $1 AND ends_at > now()"

_END_PREVIOUS = "UPDATE webhook_secrets SET ends_at = now() WHERE webhook_id = $1 AND ends_at > now()"

_REPLACE = """
    UPDATE webhook_secrets SET ends_at = now() + make_interval(secs => $2) WHERE webhook_id = $1 AND ends_at IS NULL
"""

_SIGNING = """
    SELECT w.url, ARRAY(
             SELECT s.sealed FROM webhook_secrets s
              WHERE s.webhook_id = w.id AND (s.ends_at IS NULL OR s.ends_at > now())
              ORDER BY s.ends_at DESC NULLS FIRST
           ) AS sealed
      FROM webhooks w WHERE w.id = $1
"""


async def rotate(
    conn: Connection, webhook_id: int, sealed_secret: str, *, overlap_s: float, ends_previous: bool = False
) -> None:
    """Replace the secret in use; it signs too for `overlap_s` more. In a transaction that has locked the webhook.

    Raises RotationUnderWayError while the secret before it is valid, unless that is to end now.
    """
    if ends_previous:
        await conn.execute(_END_PREVIOUS, webhook_id)
    elif await conn.fetchval(_PREVIOUS_IS_VALID, webhook_id):
        raise RotationUnderWayError("the previous secret is still valid")
    await conn.execute(_REPLACE, webhook_id, overlap_s)
    await conn.execute(_ADD_SEALED, webhook_id, sealed_secret)


async def signing(conn: Connection, webhook_id: int) -> Signing | None:
    """Return what the next message is signed with; None if there is no such webhook. Worker only."""
    row = await conn.fetchrow(_SIGNING, webhook_id)
    return None if row is None else Signing(row["url"], tuple(row["sealed"]))


_AWAY = """
    SELECT id, state, reason, failing_since FROM webhooks
     WHERE state = 'disabled' OR (state = 'active' AND failing_since <= $1)
     ORDER BY id
"""


async def away(conn: Connection, since: datetime) -> list[Away]:
    """Return the webhooks that were disabled, or have taken nothing since then although they were tried."""
    return [Away(**row) for row in await conn.fetch(_AWAY, since)]


def _webhook_of(row: asyncpg.Record) -> Webhook:
    values = dict(row)
    values["types"] = None if row["types"] is None else tuple(row["types"])
    values["state"] = WebhookState(row["state"])
    values["reason"] = None if row["reason"] is None else DisabledReason(row["reason"])
    return Webhook(**values)
