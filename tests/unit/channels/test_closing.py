from __future__ import annotations

from typing import Any

import pytest

from shared.channels.closing import Confirm, FraudProof, closing_claim, is_dishonest, next_trigger, order_close
from shared.channels.errors import NotClosableError
from shared.channels.model import Channel, Status
from tests.unit.channels.builders import accepted, new_channel, open_channel, package, refused


def closing_by_peer(claimed: int, **changes: Any) -> Channel:
    return open_channel(status=Status.CLOSING_BY_PEER, claimed_by_peer=claimed, close_started_at_s=1_000, **changes)


def test_the_close_carries_the_best_claim_and_gives_credit_back() -> None:
    channel = accepted(accepted(open_channel(spent_by_me=20), package(1_000, 600)), package(900, 100))
    _, close = order_close(channel)
    assert (close.period, close.transferred_from_me, close.claim) == (1, 20 + 300, "signed:1000")


def test_a_channel_in_which_nothing_was_paid_closes_without_a_claim() -> None:
    assert closing_claim(open_channel()).claim is None


def test_ordering_the_close_stops_acceptance_in_the_same_step() -> None:
    closed, _ = order_close(open_channel())
    assert refused(closed, package(1, 1)) == "period_closed_by_me"


@pytest.mark.parametrize(
    ("channel", "peer_is_closing"),
    [
        pytest.param(new_channel(), False, id="never opened"),
        pytest.param(open_channel(status=Status.CLOSING_BY_PEER), False, id="closing already"),
        pytest.param(open_channel(period_closed_by_me=1), False, id="ordered already"),
        pytest.param(open_channel(), True, id="peer is closing, unconfirmed"),
    ],
)
def test_what_cannot_be_closed_is_refused(channel: Channel, peer_is_closing: bool) -> None:  # noqa: FBT001
    with pytest.raises(NotClosableError):
        order_close(channel, peer_is_closing=peer_is_closing)


def test_an_honest_closing_is_confirmed_at_once() -> None:
    channel = closing_by_peer(10, spent_by_peer=10, claim="signed:10")
    assert next_trigger(channel, ledger_time_s=0) == Confirm(period=1, additional_from_me=0)


def test_confirming_gives_unused_credit_back() -> None:
    channel = closing_by_peer(10, spent_by_peer=10, credit=4, claim="signed:10")
    assert next_trigger(channel, ledger_time_s=0) == Confirm(period=1, additional_from_me=4)


def test_confirming_gives_back_a_package_that_never_reached_us() -> None:
    channel = closing_by_peer(15, spent_by_peer=10, credit=4, claim="signed:10")
    assert next_trigger(channel, ledger_time_s=0) == Confirm(period=1, additional_from_me=9)


def test_a_dishonest_closing_is_answered_with_the_claim() -> None:
    channel = closing_by_peer(9, spent_by_peer=10, claim="signed:10")
    assert is_dishonest(channel)
    assert next_trigger(channel, ledger_time_s=0) == FraudProof(period=1, claim="signed:10")


def test_a_dishonest_closing_is_never_confirmed_however_late() -> None:
    channel = closing_by_peer(9, spent_by_peer=10, claim="signed:10")
    assert isinstance(next_trigger(channel, ledger_time_s=10**9), FraudProof)


def test_our_own_closing_waits_for_the_timeout_and_the_margin() -> None:
    channel = open_channel(status=Status.CLOSING_BY_ME, close_started_at_s=1_000)
    assert next_trigger(channel, ledger_time_s=2_004.9, margin_s=5) is None
    assert next_trigger(channel, ledger_time_s=2_005, margin_s=5) == Confirm(period=1, additional_from_me=0)


@pytest.mark.parametrize("channel", [open_channel(), new_channel(), open_channel(period=2, period_closed_by_me=1)])
def test_a_channel_that_is_not_closing_asks_for_nothing(channel: Channel) -> None:
    assert next_trigger(channel, ledger_time_s=10**9) is None


def test_a_close_that_was_ordered_and_not_yet_seen_is_asked_for_again() -> None:
    ordered, close = order_close(open_channel(spent_by_peer=10, claim="signed:10"))
    assert next_trigger(ordered, ledger_time_s=0) == close
