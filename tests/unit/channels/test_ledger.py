from __future__ import annotations

from dataclasses import replace

import pytest

from shared.channels.errors import ContradictoryEventError, EventGapError
from shared.channels.ledger import (
    Closed,
    Closing,
    Meaning,
    Opened,
    Refused,
    SeenTrigger,
    apply,
    deposit_in,
    undo,
)
from shared.channels.model import Channel, Status
from tests.unit.channels.builders import new_channel, open_channel

DEPOSIT = SeenTrigger(bytes_to_agent=50_000, asset_to_agent=0, has_data=False, closes=False, publishes_definition=False)


def opened(event_id: int, by_peer: int, *, by_me: int = 0, period: int = 1) -> Opened:
    return Opened(event_id, period, balance_of_peer=by_peer, balance_of_me=by_me, trigger_unit="t")


def closing(event_id: int = 2, *, by_me: bool = False, spent_by_peer: int = 0, period: int = 1) -> Closing:
    return Closing(event_id, period, by_me, spent_by_peer, spent_by_me=0, timestamp_s=1_000, trigger_unit="t")


def closed(event_id: int = 3, period: int = 1) -> Closed:
    return Closed(event_id, period, by_fraud_proof=False, received=0)


def test_the_first_deposit_opens_period_one() -> None:
    channel = apply(new_channel(), opened(1, 50_000))
    assert (channel.status, channel.period, channel.deposited_by_peer) == (Status.OPEN, 1, 50_000)
    assert channel.definition_confirmed


def test_balances_are_totals_and_never_added_up() -> None:
    channel = apply(apply(new_channel(), opened(1, 50_000)), opened(2, 80_000, by_me=7))
    assert (channel.deposited_by_peer, channel.deposited_by_me) == (80_000, 7)


def test_opening_keeps_what_was_spent_on_the_unconfirmed_deposit() -> None:
    channel = apply(new_channel(spent_by_peer=900, claim="signed:900"), opened(1, 50_000))
    assert (channel.spent_by_peer, channel.claim) == (900, "signed:900")


def test_an_event_applied_twice_changes_nothing() -> None:
    once = apply(new_channel(), opened(1, 50_000))
    assert apply(once, opened(1, 50_000)) == once


def test_a_missing_event_stops_the_watcher() -> None:
    with pytest.raises(EventGapError):
        apply(open_channel(), opened(3, 1))


def test_the_peers_closing_keeps_what_he_claims_and_when_it_began() -> None:
    channel = apply(open_channel(spent_by_peer=10, claim="signed:10"), closing(spent_by_peer=9))
    assert channel.status is Status.CLOSING_BY_PEER
    assert (channel.claimed_by_peer, channel.close_started_at_s) == (9, 1_000)


def test_our_closing_is_told_from_the_peers() -> None:
    assert apply(open_channel(), closing(by_me=True)).status is Status.CLOSING_BY_ME


def test_a_later_period_may_be_closed_before_any_deposit() -> None:
    between = open_channel(status=Status.CLOSED, deposited_by_peer=0, last_event_id=3)
    channel = apply(between, closing(4, period=2))
    assert (channel.status, channel.period) == (Status.CLOSING_BY_PEER, 2)
    assert apply(channel, closed(5, period=2)).current_period == 3


def test_closed_ends_the_period_and_zeroes_it() -> None:
    spent = open_channel(spent_by_peer=10, credit=3, claim="signed:10", spent_by_me=4, deposited_by_me=9)
    channel = apply(apply(spent, closing(spent_by_peer=10)), closed())
    assert channel == open_channel(status=Status.CLOSED, deposited_by_peer=0, last_event_id=3)
    assert channel.current_period == 2


def test_the_next_deposit_opens_the_next_period() -> None:
    between = open_channel(status=Status.CLOSED, deposited_by_peer=0, last_event_id=3)
    assert apply(between, opened(4, 20_000, period=2)).period == 2


def test_a_refused_deposit_only_counts_as_seen() -> None:
    channel = apply(open_channel(), closing())
    assert apply(channel, Refused(3, "t")).last_event_id == 3


@pytest.mark.parametrize(
    ("channel", "event"),
    [
        pytest.param(open_channel(), opened(2, 1, period=2), id="opened in another period"),
        pytest.param(open_channel(status=Status.CLOSING_BY_ME), opened(2, 1), id="opened while closing"),
        pytest.param(new_channel(), closing(1), id="closing a channel that is not open"),
        pytest.param(open_channel(), closing(period=2), id="closing another period"),
        pytest.param(open_channel(status=Status.CLOSING_BY_ME), closing(), id="closing twice"),
        pytest.param(open_channel(), closed(2), id="closed without closing"),
    ],
)
def test_an_event_that_cannot_be_stops_the_watcher(channel: Channel, event: Opened | Closing | Closed) -> None:
    with pytest.raises(ContradictoryEventError):
        apply(channel, event)


def test_a_bounced_close_reopens_the_period() -> None:
    channel = open_channel(period_closed_by_me=1)
    assert undo(channel, Meaning.CLOSE, period=1).period_closed_by_me == 0


def test_a_bounced_close_of_an_earlier_period_changes_nothing_now() -> None:
    channel = open_channel(period=2, period_closed_by_me=2)
    assert undo(channel, Meaning.CLOSE, period=1) == channel


def test_a_deposit_is_what_goes_to_the_agent_in_the_channels_asset() -> None:
    assert deposit_in(open_channel(), DEPOSIT) == 50_000


def test_ten_thousand_bytes_are_a_message_not_a_deposit() -> None:
    message = SeenTrigger(10_000, 0, has_data=False, closes=False, publishes_definition=False)
    assert deposit_in(open_channel(), message) == 0


def test_an_asset_deposit_needs_the_agents_bytes() -> None:
    asset = open_channel(asset="1ZOG4nUI9hTU7vVUo2ZrOUTVcwQnNBL3J3S8VfhlVLw=")
    assert deposit_in(asset, SeenTrigger(10_000, 77, has_data=False, closes=False, publishes_definition=False)) == 77
    assert deposit_in(asset, SeenTrigger(9_999, 77, has_data=False, closes=False, publishes_definition=False)) == 0


def test_a_unit_that_pays_others_too_is_not_counted_as_a_deposit() -> None:
    assert deposit_in(open_channel(), replace(DEPOSIT, pays_others=True)) == 0


def test_a_unit_with_data_is_not_counted_as_a_deposit() -> None:
    assert (
        deposit_in(open_channel(), SeenTrigger(50_000, 0, has_data=True, closes=True, publishes_definition=False)) == 0
    )


def test_a_deposit_to_an_unpublished_agent_is_none() -> None:
    assert deposit_in(new_channel(), DEPOSIT) == 0
