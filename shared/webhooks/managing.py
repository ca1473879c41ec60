"""What people do with webhooks, over the API and on the command line: make, change, rotate, try out, send again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.events.cursors import Cursor, InvalidCursorError
from shared.events.horizon import Horizon
from shared.sealing import seal
from shared.store import events, webhook_deliveries, webhooks
from shared.store.errors import DatabaseUnavailableError
from shared.store.webhooks import NewWebhook, WebhookState
from shared.webhooks.errors import WebhookError
from shared.webhooks.signing import new_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from shared.store.database import Connection, Database
    from shared.store.webhook_deliveries import Delivery
    from shared.store.webhooks import Webhook
    from shared.webhooks.signing import Secret

MAX_DESCRIPTION = 200
OVERLAP_S = 86_400
"""How long the secret that was replaced goes on signing, if nothing else is said."""
MAX_OVERLAP_S = 604_800
_MARGIN = timedelta(seconds=30)
"""An event's time is that of its transaction's begin, its number may be later: begin this much before a time."""


class UnknownWebhookError(WebhookError):
    """There is no webhook with this number."""

    code = "unknown_webhook"


class UnknownDeliveryError(WebhookError):
    """No delivery of this event to the webhook is on record."""

    code = "unknown_delivery"


class NoSignerError(WebhookError):
    """No worker has started yet: there is no key to seal secrets with."""

    code = "not_initialized"


class NotActiveError(WebhookError):
    """The webhook is paused or disabled: nothing is sent to it."""

    code = "webhook_not_active"


class ForgottenEventsError(WebhookError):
    """Events after the cursor were forgotten, or it is one of another stream."""

    code = "expired_cursor"


@dataclass(frozen=True, slots=True)
class Wish:
    """A webhook as somebody wants it. `url`: read by the address guard already. `types`: None for all events."""

    url: str
    description: str = ""
    types: tuple[str, ...] | None = None
    creation_hash: bytes | None = None
    """As in `NewWebhook`."""
    request_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A webhook that was made; `secret` is None when an earlier request has made it, and was told the secret."""

    webhook: Webhook
    secret: Secret | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed; None leaves it. `all_types`: no filter any more."""

    url: str | None = None
    description: str | None = None
    types: Sequence[str] | None = None
    all_types: bool = False
    paused: bool | None = None
    """False makes it active again, also when it was disabled."""


async def make(database: Database, wish: Wish, *, at_most: int, random_bytes: Callable[[int], bytes]) -> Made:
    """Make a webhook that is sent what happens from now on.

    Raises NoSignerError, TooManyWebhooksError, IdempotencyConflictError and StoreError.
    """
    secret = new_secret(random_bytes)
    position = await _now_on(database)
    async with database.transaction() as conn:
        sealed = await _sealed(conn, secret)
        new = NewWebhook(
            wish.url, wish.description, wish.types, position, sealed, wish.creation_hash, wish.request_hash
        )
        webhook_id, is_new = await webhooks.create(conn, new, at_most=at_most)
        webhook = await _found(conn, webhook_id)
    return Made(webhook, secret if is_new else None)


async def change(conn: Connection, webhook_id: int, wanted: Change) -> Webhook:
    """Change a webhook, in a transaction. Raises UnknownWebhookError."""
    await _lock(conn, webhook_id)
    before = await _found(conn, webhook_id)
    types = before.types if wanted.types is None else tuple(wanted.types)
    state = before.state
    if wanted.paused is not None:
        state = WebhookState.PAUSED if wanted.paused else WebhookState.ACTIVE
    await webhooks.update(
        conn,
        webhook_id,
        url=before.url if wanted.url is None else wanted.url,
        description=before.description if wanted.description is None else wanted.description,
        types=None if wanted.all_types else types,
        state=state,
    )
    return await _found(conn, webhook_id)


async def rotate(
    conn: Connection,
    webhook_id: int,
    *,
    overlap_s: float,
    ends_previous: bool,
    random_bytes: Callable[[int], bytes],
) -> Made:
    """Replace the secret, in a transaction; the old one signs too for `overlap_s` more.

    Raises UnknownWebhookError, NoSignerError, RotationUnderWayError.
    """
    secret = new_secret(random_bytes)
    await _lock(conn, webhook_id)
    sealed = await _sealed(conn, secret)
    await webhooks.rotate(conn, webhook_id, sealed, overlap_s=overlap_s, ends_previous=ends_previous)
    return Made(await _found(conn, webhook_id), secret)


async def send_test(conn: Connection, webhook_id: int) -> str:
    """Let an event happen that is sent to this webhook only; return its id.

    Raises UnknownWebhookError, NotActiveError.
    """
    if (await _found(conn, webhook_id)).state is not WebhookState.ACTIVE:
        raise NotActiveError("nothing is sent to a webhook that is paused or disabled")
    event_id = await webhooks.add_test(conn, webhook_id)
    return str(Cursor((await events.stream(conn)).name, event_id))


async def delivery_of(conn: Connection, webhook_id: int, message_id: str) -> Delivery:
    """Return the delivery of a message to a webhook. Raises UnknownDeliveryError."""
    with contextlib.suppress(InvalidCursorError):
        cursor = Cursor.read(message_id)
        found = await webhook_deliveries.find(conn, webhook_id, cursor.id)
        if found is not None and found.stream == cursor.stream:
            return found
    raise UnknownDeliveryError("no such delivery to this webhook is on record")


async def send_again(conn: Connection, webhook_id: int, message_id: str) -> Webhook:
    """Send one event again, in a transaction, whatever became of it.

    Raises UnknownWebhookError, UnknownDeliveryError.
    """
    await _lock(conn, webhook_id)
    delivery = await delivery_of(conn, webhook_id, message_id)
    await webhook_deliveries.again(conn, webhook_id, delivery.event_id)
    return await _found(conn, webhook_id)


async def send_since(conn: Connection, webhook_id: int, *, after: str | None, since: datetime | None) -> Webhook:
    """Send again everything after a cursor, or since a time as far as it is kept. In a transaction.

    Raises UnknownWebhookError, InvalidCursorError, ForgottenEventsError.
    """
    await _lock(conn, webhook_id)
    stream = await events.stream(conn)
    if after is not None:
        cursor = Cursor.read(after)
        if cursor.stream != stream.name or not stream.gone_id <= cursor.id <= await events.newest_id(conn):
            raise ForgottenEventsError("events after this cursor were forgotten, or the stream was begun anew")
        position = cursor.id
    else:
        position = stream.gone_id if since is None else await _place_before(conn, since - _MARGIN, stream.gone_id)
    await webhooks.rewind(conn, webhook_id, position)
    return await _found(conn, webhook_id)


async def _now_on(database: Database) -> int:
    """Return the place after which everything is new. Raises StoreError."""
    horizon = Horizon()
    for _ in range(3):
        decided = await horizon.look(database)
        if decided >= 0:
            break
    else:
        raise DatabaseUnavailableError("a long transaction keeps the newest events open")
    async with database.connection() as conn:
        last = await events.last_id(conn, decided)
        return max(last, (await events.stream(conn)).gone_id)


async def _place_before(conn: Connection, moment: datetime, gone_id: int) -> int:
    """Return a place before which nothing has happened since a moment, by halving: events are in about their order."""
    low, high = gone_id, await events.newest_id(conn)
    while low < high:
        middle = (low + high) // 2
        found = await events.page(conn, after=middle, until=high, limit=1)
        if not found or found[0].recorded_at >= moment:
            high = middle
        else:
            low = found[0].id
    return low


async def _sealed(conn: Connection, secret: Secret) -> str:
    key = await webhooks.signer(conn)
    if key is None:
        raise NoSignerError("no worker has started yet whose key the secret could be sealed with")
    return seal(secret.text, key)


async def _lock(conn: Connection, webhook_id: int) -> None:
    if not await webhooks.lock(conn, webhook_id):
        raise UnknownWebhookError("there is no webhook with this number")


async def _found(conn: Connection, webhook_id: int) -> Webhook:
    found = await webhooks.find(conn, webhook_id)
    if found is None:
        raise UnknownWebhookError("there is no webhook with this number")
    return found
