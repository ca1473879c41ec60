from __future__ import annotations

from typing import Any

import pytest

from shared.agent.errors import UnreadableResponseError
from shared.agent.responses import bounce_reason, read_response, read_responses
from shared.channels.ledger import Closed, Closing, Opened, Refused
from shared.channels.model import MAX_AMOUNT
from tests.unit.agent.builders import (
    AGENT,
    ASSET,
    LEDGER_TIME,
    ME,
    PEER,
    STRANGER,
    TRIGGER_UNIT,
    closed,
    closing,
    new_channel,
    opened,
    payment,
    response,
    unit_hash,
)

CHANNEL = new_channel()


def event_of(payload: dict[str, Any], *messages: dict[str, Any]) -> Any:
    found = read_response(response(payload, *messages), CHANNEL)
    assert found is not None
    return found.event


def test_an_opening_tells_the_balances_under_the_parties_addresses() -> None:
    assert event_of(opened(1, 50_000, by_me=7)) == Opened(1, 1, 50_000, 7, TRIGGER_UNIT)


def test_a_refused_deposit_names_its_unit() -> None:
    assert event_of({"refused": 1, "event_id": 4, "trigger_unit": TRIGGER_UNIT}) == Refused(4, TRIGGER_UNIT)


def test_a_closing_tells_who_claims_what_and_when() -> None:
    event = event_of(closing(2, PEER, spent_by_peer=30, spent_by_me=5))
    assert event == Closing(2, 1, False, 30, 5, LEDGER_TIME + 1, TRIGGER_UNIT)
    assert event_of(closing(2, ME)).by_me


def test_a_closing_that_claims_more_than_all_money_is_read_as_all_money() -> None:
    assert event_of(closing(spent_by_peer=9_007_199_254_740_991)).spent_by_peer == MAX_AMOUNT
    assert event_of(closing(spent_by_peer=1e300)).spent_by_peer == MAX_AMOUNT
    assert event_of(closing(spent_by_peer="12")).spent_by_peer == 12


@pytest.mark.parametrize(
    ("shown", "amount"),
    [
        ("9007199254740992", MAX_AMOUNT),
        ("100000000000000000000", MAX_AMOUNT),
        ("1e+21", MAX_AMOUNT),
        ("1.79e+308", MAX_AMOUNT),
        (1e300, MAX_AMOUNT),
        ("5", 5),
    ],
)
def test_numbers_that_agents_write_as_texts_are_read(shown: Any, amount: int) -> None:
    """A peer can claim any number and may not stop us from settling by doing so: the agent writes great ones so."""
    assert event_of(closing(spent_by_peer=shown)).spent_by_peer == amount


def test_a_payout_counts_what_comes_to_me_in_the_channels_asset() -> None:
    outputs = payment((PEER, 10_000), (ME, 40_000)), payment((ME, 99), asset=ASSET)
    assert event_of(closed(), *outputs) == Closed(3, 1, False, 40_000)
    in_asset = read_response(response(closed(), *outputs), new_channel(asset=ASSET))
    assert in_asset is not None
    assert in_asset.event == Closed(3, 1, False, 99)


def test_a_fraud_proof_is_told_apart() -> None:
    assert event_of(closed(fraud_proof=1)).by_fraud_proof


@pytest.mark.parametrize(
    "changes",
    [{"is_stable": False}, {"is_nonserial": True}, {"author": PEER}, {"author": STRANGER}],
    ids=["unstable", "void", "by the peer", "by a stranger"],
)
def test_only_stable_serial_units_of_the_agent_itself_are_believed(changes: dict[str, Any]) -> None:
    assert read_response(response(opened(), **changes), CHANNEL) is None


def test_a_unit_that_the_agent_signed_together_with_another_is_not_its_response() -> None:
    proven = response(opened())
    proven.unit["authors"] = [{"address": AGENT}, {"address": PEER}]
    assert read_response(proven, CHANNEL) is None


def test_only_the_first_data_message_counts() -> None:
    assert isinstance(event_of(opened(), {"app": "data", "payload": closed()}), Opened)


def test_a_bounce_tells_no_event() -> None:
    proven = response(opened())
    proven.unit["messages"] = [payment((PEER, 5))]
    assert read_response(proven, CHANNEL) is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"event_id": 1},
        opened(0),
        {**opened(), "event_id": "1"},
        {**opened(), "event_id": True},
        {**opened(), "period": 0},
        {**opened(), "trigger_unit": "short"},
        {**opened(), PEER: -1},
        {**opened(), PEER: None},
        {**opened(), PEER: True},
        closing(by=STRANGER),
        {**closing(), PEER: float("nan")},
        {**closing(), PEER: "1.5"},
        {**closing(), PEER: "-1e+21"},
        {**closing(), PEER: "Infinity"},
        {**closing(), PEER: "nan"},
    ],
)
def test_what_the_agent_cannot_say_is_an_error_and_never_skipped(payload: dict[str, Any]) -> None:
    with pytest.raises(UnreadableResponseError):
        read_response(response(payload), CHANNEL)


def test_events_come_in_the_order_of_their_numbers_and_once() -> None:
    units = [response(closed(3), number=5), response(opened(1), number=1), response(closing(2), number=3)]
    found = read_responses([*units, units[0]], CHANNEL)
    assert [seen.event.event_id for seen in found] == [1, 2, 3]
    assert [seen.unit for seen in found] == [unit_hash(1), unit_hash(3), unit_hash(5)]
    assert [seen.trigger_unit for seen in found] == [TRIGGER_UNIT, TRIGGER_UNIT, None]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": "too early"}, "too early"),
        ({"error": {"message": "wrong period", "trace": []}}, "wrong period"),
        ({"error": {}}, "the agent did not say why"),
        ({}, "the agent did not say why"),
        (None, "the agent did not say why"),
        ({"error": "a\0b\n"}, "a b "),
        ({"error": "x" * 5_000}, "x" * 200),
    ],
)
def test_a_bounce_gives_its_reason_as_a_short_text(answer: Any, reason: str) -> None:
    assert bounce_reason(answer) == reason
