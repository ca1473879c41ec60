"""An event as its readers see it: the JSON object of the API, and the reference library's name and arguments. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.store.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.events.cursors import Cursor
    from shared.store.events import Event

READY = "aa_channels_ready"
"""The reference's event of a process that is ready. It is no part of the stream: whoever follows hears it first."""

_ARGUMENTS: dict[str, Callable[[Event], list[Any]]] = {
    EventKind.CHANNEL_CREATED_BY_PEER: lambda event: [event.data.get("peer_address"), event.aa_address],
    EventKind.PAYMENT_RECEIVED: lambda event: [
        event.data.get("amount"),
        event.data.get("asset"),
        event.data.get("message"),
        event.aa_address,
    ],
    EventKind.CHANNEL_REFILLED: lambda event: [event.aa_address, event.data.get("amount")],
    EventKind.MY_DEPOSIT_BECAME_STABLE: lambda event: [event.data.get("deposited"), event.data.get("trigger_unit")],
    EventKind.PEER_DEPOSIT_BECAME_STABLE: lambda event: [event.data.get("deposited"), event.data.get("trigger_unit")],
    EventKind.REFUSED_DEPOSIT: lambda event: [event.data.get("trigger_unit")],
    EventKind.CHANNEL_CLOSED: lambda event: [event.aa_address, event.data.get("received")],
    EventKind.CHANNEL_CLOSED_WITH_FRAUD_PROOF: lambda event: [event.aa_address, event.data.get("received")],
}

REFERENCE_EVENTS = frozenset(_ARGUMENTS)
"""Names of the events that the reference exposes to its RPC clients."""


def reference_frame(event: Event) -> dict[str, Any] | None:
    """Return `{"event": name, "data": [arguments]}` as the reference's RPC clients get it, None for events of our own.

    Names, arguments and their order are those of the channels library for Node.js; amounts of deposits are totals.
    """
    arguments = _ARGUMENTS.get(event.kind)
    return None if arguments is None else {"event": event.kind, "data": arguments(event)}


def api_fields(event: Event, cursor: Cursor) -> dict[str, Any]:
    """Return an event as the API's object: `{"id", "type", "time", "aa_address", "data"}`."""
    return {
        "id": str(cursor),
        "type": event.kind,
        "time": event.recorded_at.isoformat(),
        "aa_address": event.aa_address,
        "data": event.data,
    }


def api_text(event: Event, cursor: Cursor) -> str:
    """Return the API's object as JSON in one line."""
    return json.dumps(api_fields(event, cursor), separators=(",", ":"))
