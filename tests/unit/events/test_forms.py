"""Events as the API and the reference's RPC clients see them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.events.cursors import Cursor, InvalidCursorError
from shared.events.forms import REFERENCE_EVENTS, api_text, reference_frame
from shared.store.events import Event, EventKind

AGENT = "A" * 32
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CASES: dict[EventKind, tuple[dict[str, Any], list[Any]]] = {
    EventKind.CHANNEL_CREATED_BY_PEER: ({"peer_address": "P"}, ["P", AGENT]),
    EventKind.PAYMENT_RECEIVED: (
        {"amount": 5, "asset": "base", "message": {"request": 1}, "payment_id": 9},
        [5, "base", {"request": 1}, AGENT],
    ),
    EventKind.CHANNEL_REFILLED: ({"amount": 20_000, "unit": "u"}, [AGENT, 20_000]),
    EventKind.MY_DEPOSIT_BECAME_STABLE: ({"deposited": 30_000, "trigger_unit": "t"}, [30_000, "t"]),
    EventKind.PEER_DEPOSIT_BECAME_STABLE: ({"deposited": 40_000, "trigger_unit": "t"}, [40_000, "t"]),
    EventKind.REFUSED_DEPOSIT: ({"trigger_unit": "t"}, ["t"]),
    EventKind.CHANNEL_CLOSED: ({"received": 7}, [AGENT, 7]),
    EventKind.CHANNEL_CLOSED_WITH_FRAUD_PROOF: ({"received": 8}, [AGENT, 8]),
}


def event(kind: str, data: dict[str, Any]) -> Event:
    return Event(12, kind, AGENT, data, TIME)


@pytest.mark.parametrize("kind", CASES)
def test_the_reference_gets_its_names_and_arguments(kind: EventKind) -> None:
    data, arguments = CASES[kind]
    assert reference_frame(event(kind, data)) == {"event": kind.value, "data": arguments}


def test_every_event_that_the_reference_exposes_has_its_form() -> None:
    assert frozenset(CASES) == REFERENCE_EVENTS


def test_events_of_our_own_have_no_form_of_the_reference() -> None:
    assert reference_frame(event(EventKind.ALARM_RAISED, {})) is None
    assert reference_frame(event("of_a_later_release", {})) is None


def test_the_form_of_the_api_is_one_line_with_a_cursor() -> None:
    text = api_text(event(EventKind.CHANNEL_CLOSED, {"received": 7, "text": "a\nb\u2028"}), Cursor("ab", 12))
    assert "\n" not in text
    assert json.loads(text) == {
        "id": "ab-12",
        "type": "channel_closed",
        "time": "2026-01-02T03:04:05+00:00",
        "aa_address": AGENT,
        "data": {"received": 7, "text": "a\nb\u2028"},
    }


def test_cursors_are_read_as_they_are_written() -> None:
    assert Cursor.read(str(Cursor("0f", 7))) == Cursor("0f", 7)
    with pytest.raises(InvalidCursorError):
        Cursor.read("0f-7\n")
