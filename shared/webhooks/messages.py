"""What is sent to a webhook: an event as the API tells it, under an id that stays the same on every attempt. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.events.cursors import Cursor
from shared.events.forms import api_fields

if TYPE_CHECKING:
    from shared.store.events import Event
    from shared.store.webhook_deliveries import Delivery


def message_id(delivery: Delivery) -> str:
    """Return the id of a message: the event's cursor in the stream, the same for every webhook and attempt."""
    return str(Cursor(delivery.stream, delivery.event_id))


def message_body(event: Event, delivery: Delivery) -> bytes:
    """Return the body: the API's object, with `timestamp` beside `time` as Standard Webhooks calls it."""
    fields = api_fields(event, Cursor(delivery.stream, delivery.event_id))
    return json.dumps({**fields, "timestamp": fields["time"]}, separators=(",", ":")).encode()
