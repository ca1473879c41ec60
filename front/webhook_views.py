"""What `/v1/webhooks` takes and answers with. Times are RFC 3339 in UTC."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from front.examples import AA_ADDRESS
from shared.events.cursors import Cursor
from shared.store.events import EventKind
from shared.store.webhook_deliveries import Attempt, Delivery, DeliveryState
from shared.store.webhooks import DisabledReason, Webhook, WebhookState
from shared.webhooks.addresses import MAX_URL
from shared.webhooks.managing import MAX_DESCRIPTION, MAX_OVERLAP_S, OVERLAP_S

_AT = "2026-01-31T12:00:00+00:00"
_LATER = "2026-01-31T12:00:01+00:00"

Url = Annotated[str, Field(min_length=1, max_length=MAX_URL, description="https://…, on the open Internet")]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION, pattern=r"^[^\u0000-\u001f\u007f-\u009f]*$")]
Types = Annotated[
    list[EventKind], Field(min_length=1, max_length=len(EventKind), description="Names of events; null: all of them")
]

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


class WebhookWish(BaseModel):
    """A webhook to be made."""

    model_config = _STRICT

    url: Url
    description: Description = ""
    types: Types | None = None


class WebhookChange(BaseModel):
    """What is to be changed; what is left out stays."""

    model_config = _STRICT

    url: Url | None = None
    description: Description | None = None
    types: Types | None = None
    paused: Annotated[
        bool | None, Field(strict=True, description="false makes it active again, also when it was disabled")
    ] = None


class Rotation(BaseModel):
    """How the secret is to be replaced."""

    model_config = _STRICT

    overlap_s: int = Field(
        OVERLAP_S, strict=True, ge=0, le=MAX_OVERLAP_S, description="How long the old secret goes on signing"
    )
    end_previous: bool = Field(
        False, strict=True, description="Also when the secret before is still valid, which ends now"
    )


class Replay(BaseModel):
    """From where on everything is to be sent again: one of both."""

    model_config = _STRICT

    after: str | None = Field(None, max_length=64, description="A cursor: the `id` of an event")
    since: str | None = Field(
        None, max_length=40, description="A time with its zone, as in 2026-01-31T12:00:00Z; what is still kept is sent"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.after is None) == (self.since is None):
            raise ValueError("give either after or since")
        return self


class WebhookView(BaseModel):
    """A webhook as it stands. Its secrets are told when they are made, and never again."""

    id: int
    url: str
    description: str
    types: list[str] | None = Field(description="Null: all events")
    state: WebhookState
    reason: DisabledReason | None = Field(description="Why it was disabled")
    pending: int = Field(description="Deliveries that wait")
    held_channels: int = Field(description="Channels of which more waits than `pending` counts: they have too much")
    oldest_pending_at: datetime | None = Field(description="When the oldest event happened that waits")
    failing_since: datetime | None = Field(description="The first failure since the last success")
    last_success_at: datetime | None
    last_failure_at: datetime | None
    secret_created_at: datetime
    previous_secret_ends_at: datetime | None = Field(description="Until then the secret before signs, too")
    created_at: datetime
    updated_at: datetime


class WebhookWithSecret(WebhookView):
    """A webhook with the secret that was made just now."""

    secret: str | None = Field(description="`whsec_…`. Null when an earlier request has made the webhook")


class WebhookList(BaseModel):
    """Webhooks, in the order in which they were made."""

    items: list[WebhookView]
    next_cursor: str | None


class DeliveryView(BaseModel):
    """An event on its way to a webhook."""

    id: str = Field(description="Of the message and the event: the header `webhook-id`")
    type: str
    aa_address: str | None
    event_at: datetime
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None = Field(description="Null while an earlier event of the channel goes first")
    finished_at: datetime | None


class AttemptView(BaseModel):
    """One attempt."""

    at: datetime
    duration_ms: int
    status: int | None = Field(description="Of the answer, if there was one")
    error: str | None = Field(description="A code; null for a success")
    excerpt: str | None = Field(description="The beginning of the answer")


class DeliveryWithAttempts(DeliveryView):
    """A delivery with its attempts, the newest first."""

    log: list[AttemptView]


class DeliveryList(BaseModel):
    """Deliveries, those of the newest events first."""

    items: list[DeliveryView]
    next_cursor: str | None


class Accepted(BaseModel):
    """The event that is sent."""

    id: str = Field(description="The header `webhook-id`; the delivery can be asked for by it")


def webhook_view(webhook: Webhook) -> WebhookView:
    """Show a webhook."""
    return WebhookView(**_fields(webhook))


def webhook_with_secret(webhook: Webhook, secret: str | None) -> WebhookWithSecret:
    """Show a webhook to who has just made it."""
    return WebhookWithSecret(**_fields(webhook), secret=secret)


def delivery_view(delivery: Delivery) -> DeliveryView:
    """Show a delivery."""
    return DeliveryView(
        id=str(Cursor(delivery.stream, delivery.event_id)),
        type=delivery.kind,
        aa_address=delivery.aa_address,
        event_at=delivery.event_at,
        state=delivery.state,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at,
        finished_at=delivery.finished_at,
    )


def delivery_with_attempts(delivery: Delivery, attempts: list[Attempt]) -> DeliveryWithAttempts:
    """Show a delivery with what became of each attempt."""
    log = [
        AttemptView(
            at=attempt.at,
            duration_ms=attempt.duration_ms,
            status=attempt.status,
            error=attempt.error,
            excerpt=attempt.excerpt,
        )
        for attempt in attempts
    ]
    return DeliveryWithAttempts(**delivery_view(delivery).model_dump(), log=log)


def _fields(webhook: Webhook) -> dict[str, Any]:
    shown = {name: getattr(webhook, name) for name in WebhookView.model_fields}
    return {**shown, "types": None if webhook.types is None else list(webhook.types)}


WISH: dict[str, Any] = {"url": "https://shop.example/sluice", "types": ["payment_received"]}
WEBHOOK: dict[str, Any] = {
    "id": 3,
    "url": "https://shop.example/sluice",
    "description": "",
    "types": ["payment_received"],
    "state": "active",
    "reason": None,
    "pending": 0,
    "held_channels": 0,
    "oldest_pending_at": None,
    "failing_since": None,
    "last_success_at": _LATER,
    "last_failure_at": None,
    "secret_created_at": _AT,
    "previous_secret_ends_at": None,
    "created_at": _AT,
    "updated_at": _AT,
}
WITH_SECRET = {**WEBHOOK, "last_success_at": None, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}
ROTATED = {**WITH_SECRET, "previous_secret_ends_at": _LATER}
WEBHOOKS = {"items": [WEBHOOK], "next_cursor": None}
DELIVERY: dict[str, Any] = {
    "id": "5c0a81f2-41",
    "type": "payment_received",
    "aa_address": AA_ADDRESS,
    "event_at": _AT,
    "state": "delivered",
    "attempts": 1,
    "next_attempt_at": None,
    "finished_at": _LATER,
}
DELIVERIES = {"items": [DELIVERY], "next_cursor": None}
WITH_ATTEMPTS = {
    **DELIVERY,
    "log": [{"at": _AT, "duration_ms": 42, "status": 200, "error": None, "excerpt": "ok"}],
}
