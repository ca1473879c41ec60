"""What closings are worth, until when they wait, and what may be deposited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.channels.closing import Confirm, FraudProof
from shared.channels.depositing import check_deposit
from shared.channels.errors import InvalidAmountError, NotDepositableError
from shared.channels.model import Channel, Status
from shared.channels.settling import deadline_s, loss, payout, share_elapsed, trigger_due
from tests.unit.channels.builders import new_channel, open_channel


def closing_by_peer(claims: int, **changes: int | str | None) -> Channel:
    spent = changes.get("spent_by_peer", 0)
    channel = open_channel(claim=f"signed:{spent}" if spent else None)
    return replace(channel, status=Status.CLOSING_BY_PEER, close_started_at_s=5_000, claimed_by_peer=claims, **changes)


def confirmed(channel: Channel, confirm_from: int) -> bool:
    return isinstance(trigger_due(channel, ledger_time_s=0, confirm_from=confirm_from), Confirm)


def test_a_closing_that_gives_us_nothing_is_left_to_the_peer() -> None:
    assert not confirmed(closing_by_peer(0), 2_000)
    assert not confirmed(closing_by_peer(1_999, spent_by_peer=1_999), 2_000)
    assert confirmed(closing_by_peer(2_000, spent_by_peer=2_000), 2_000)
    assert confirmed(closing_by_peer(0, deposited_by_me=50_000), 2_000)


def test_with_a_limit_of_nothing_every_closing_is_confirmed() -> None:
    assert confirmed(closing_by_peer(0), 0)
    assert confirmed(closing_by_peer(0, asset="a" * 43 + "="), 0)


def test_of_another_asset_any_amount_is_worth_a_confirmation() -> None:
    assert confirmed(closing_by_peer(1, spent_by_peer=1, asset="a" * 43 + "="), 2_000)
    assert not confirmed(closing_by_peer(0, asset="a" * 43 + "="), 2_000)


def test_what_was_never_credited_is_given_back_even_if_nothing_is_ours() -> None:
    lost_on_its_way = closing_by_peer(5_000)
    due = trigger_due(lost_on_its_way, ledger_time_s=0, confirm_from=2_000)
    assert due == Confirm(period=1, additional_from_me=5_000)


def test_after_a_restore_a_closing_is_worth_what_the_peer_admits() -> None:
    assert confirmed(closing_by_peer(6_000, spent_by_peer=1_000, unsure_period=1), 2_000)
    assert not confirmed(closing_by_peer(1_999, spent_by_peer=1_000, unsure_period=1), 2_000)


def test_a_fraud_is_proved_however_small() -> None:
    due = trigger_due(closing_by_peer(0, spent_by_peer=1), ledger_time_s=0, confirm_from=10**9)
    assert isinstance(due, FraudProof)


@pytest.mark.parametrize(
    ("claims", "signed", "is_fraud"),
    [
        (10**15, 10**15 + 1, False),
        (10**15, 10**15 + 5, False),
        (10**15, 10**15 + 6, True),
        (10**15 - 1, 10**15 + 1, True),
        (999_999_999_999_998, 999_999_999_999_999, True),
        (9 * 10**15 - 10, 9 * 10**15, True),
    ],
)
def test_what_the_agent_cannot_count_is_no_fraud(claims: int, signed: int, *, is_fraud: bool) -> None:
    due = trigger_due(closing_by_peer(claims, spent_by_peer=signed), ledger_time_s=0)
    assert due == (FraudProof(1, f"signed:{signed}") if is_fraud else Confirm(1, additional_from_me=0))


def test_our_own_closing_is_confirmed_however_small() -> None:
    ours = replace(open_channel(), status=Status.CLOSING_BY_ME, close_started_at_s=5_000)
    assert trigger_due(ours, ledger_time_s=5_999, confirm_from=10**9) is None
    assert trigger_due(ours, ledger_time_s=6_000, confirm_from=10**9) is not None


def test_the_deadline_is_the_end_of_the_peers_timeout() -> None:
    assert deadline_s(open_channel()) is None
    assert deadline_s(closing_by_peer(0)) == 6_000
    assert share_elapsed(open_channel(), 5_500) == 0
    assert [share_elapsed(closing_by_peer(0), now_s) for now_s in (4_000, 5_500, 6_000)] == [0, 0.5, 1]


def test_what_an_honest_end_pays_leaves_credit_out() -> None:
    channel = closing_by_peer(700, deposited_by_me=1_000, spent_by_me=300, spent_by_peer=700, credit=100)
    assert payout(channel) == loss(channel) == 1_300


def test_a_dishonest_closing_costs_what_it_hides() -> None:
    assert loss(closing_by_peer(200, spent_by_peer=700)) == 500
    assert loss(closing_by_peer(200, spent_by_peer=700, credit=100)) == 400


@pytest.mark.parametrize("amount", [0, -1, 10_000, 9 * 10**15 + 1, True])
def test_a_deposit_of_bytes_is_more_than_a_message(amount: int) -> None:
    with pytest.raises(InvalidAmountError):
        check_deposit(open_channel(), amount)


def test_a_deposit_in_another_asset_may_be_small() -> None:
    check_deposit(open_channel(asset="a" * 43 + "="), 1)
    check_deposit(open_channel(), 10_001)


@pytest.mark.parametrize(
    "channel",
    [
        new_channel(),
        open_channel(period_closed_by_me=1),
        closing_by_peer(0),
        replace(open_channel(), status=Status.CLOSING_BY_ME, close_started_at_s=1),
        open_channel(unsure_period=1),
    ],
)
def test_a_channel_without_an_agent_or_with_a_closing_takes_no_deposit(channel: Channel) -> None:
    with pytest.raises(NotDepositableError):
        check_deposit(channel, 20_000)


def test_a_closing_on_its_way_stops_deposits() -> None:
    with pytest.raises(NotDepositableError):
        check_deposit(open_channel(), 20_000, peer_is_closing=True)


def test_between_two_periods_a_deposit_opens_the_next() -> None:
    check_deposit(open_channel(status=Status.CLOSED, period_closed_by_me=1), 20_000)
