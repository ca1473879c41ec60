from __future__ import annotations

import pytest

from shared.channels.acceptance import Accepted, needs_allowance, next_change_s, usable_unconfirmed
from shared.channels.model import Allowance, PeerUnit, Status
from tests.unit.channels.builders import (
    LIMITS,
    ME,
    NOW,
    accepted,
    allowance,
    deposit_unit,
    judge,
    new_channel,
    open_channel,
    package,
    refused,
)


def test_a_payment_raises_what_the_peer_has_spent_and_becomes_the_claim() -> None:
    after = accepted(open_channel(), package(1_000, 1_000))
    assert (after.spent_by_peer, after.credit, after.claim) == (1_000, 0, "signed:1000")


def test_what_is_signed_beyond_the_payment_stays_as_credit() -> None:
    after = accepted(open_channel(), package(1_000, 600))
    assert after.credit == 400


def test_credit_pays_for_a_package_that_signs_nothing_more() -> None:
    overpaid = accepted(open_channel(), package(1_000, 600))
    after = accepted(overpaid, package(1_000, 400))
    assert (after.spent_by_peer, after.credit) == (1_000, 0)


def test_a_package_that_was_overtaken_is_paid_from_credit() -> None:
    second_first = accepted(open_channel(), package(300, 200))
    after = accepted(second_first, package(100, 100))
    assert (after.spent_by_peer, after.credit) == (300, 0)


def test_an_overtaken_package_does_not_replace_the_claim() -> None:
    second_first = accepted(open_channel(), package(300, 200))
    outcome = judge(second_first, package(100, 100))
    assert isinstance(outcome, Accepted)
    assert not outcome.is_new_claim
    assert outcome.channel.claim == "signed:300"


def test_a_payment_beyond_credit_is_refused() -> None:
    assert refused(open_channel(), package(1_000, 1_001)) == "over_credit"


def test_the_whole_deposit_can_be_spent_and_not_a_unit_more() -> None:
    spent = accepted(open_channel(deposited_by_peer=1_000), package(1_000, 1_000))
    assert refused(spent, package(1_001, 1)) == "not_funded"


def test_what_we_paid_the_peer_can_be_paid_back() -> None:
    channel = open_channel(deposited_by_peer=1_000, spent_by_me=500)
    accepted(channel, package(1_500, 1_500))
    assert refused(channel, package(1_501, 1_501)) == "not_funded"


def test_our_own_signature_is_no_payment_to_us() -> None:
    assert refused(open_channel(), package(1, 1, signer=ME)) == "wrong_signer"


def test_a_package_for_another_channel_is_refused() -> None:
    other = open_channel(aa_address="D4FZOS2VNICJLVEP6E7WLH37TLULCS37")
    assert refused(other, package(1, 1)) == "wrong_channel"


@pytest.mark.parametrize("status", [Status.CLOSING_BY_ME, Status.CLOSING_BY_PEER])
def test_a_closing_channel_takes_nothing(status: Status) -> None:
    assert refused(open_channel(status=status), package(1, 1)) == "channel_closing"


@pytest.mark.parametrize("period", [0, 2, 3])
def test_an_open_channel_takes_its_own_period_only(period: int) -> None:
    assert refused(open_channel(), package(1, 1, period=period)) == "wrong_period"


def test_a_closed_channel_takes_the_next_period_only() -> None:
    channel = open_channel(status=Status.CLOSED, period=3, deposited_by_peer=0)
    assert refused(channel, package(1, 1, period=3)) == "wrong_period"
    assert refused(channel, package(1, 1, period=4)) == "not_funded"


def test_a_period_we_ordered_to_close_takes_nothing() -> None:
    assert refused(open_channel(period_closed_by_me=1), package(1, 1)) == "period_closed_by_me"


def test_an_unconfirmed_closing_of_the_peer_blocks() -> None:
    closing = allowance(deposit_unit(0, closes=True))
    assert refused(open_channel(), package(1, 1), closing) == "unconfirmed_closing"


def test_a_peer_that_spent_twice_is_not_trusted() -> None:
    conflicting = allowance(deposit_unit(20_000, is_bad=True))
    assert refused(open_channel(), package(1, 1), conflicting) == "bad_sequence"


def test_a_channel_without_a_published_agent_takes_nothing() -> None:
    assert refused(new_channel(), package(1, 1)) == "definition_not_published"


def test_an_aged_unconfirmed_deposit_stands_behind_packages() -> None:
    first = allowance(deposit_unit(publishes_definition=True))
    assert accepted(new_channel(), package(1_000, 1_000), first).spent_by_peer == 1_000


def test_a_young_definition_is_not_published_yet() -> None:
    young = allowance(deposit_unit(publishes_definition=True, age_s=4.9))
    assert refused(new_channel(), package(1_000, 1_000), young) == "definition_not_published"


def test_a_young_deposit_counts_for_nothing() -> None:
    channel = open_channel(deposited_by_peer=10)
    young = allowance(deposit_unit(age_s=4.9))
    assert refused(channel, package(11, 11), young) == "not_funded"


def test_unconfirmed_deposits_count_up_to_the_channel_limit() -> None:
    channel = open_channel(deposited_by_peer=0)
    accepted(channel, package(3_000, 3_000), allowance(deposit_unit()))
    assert refused(channel, package(3_001, 3_001), allowance(deposit_unit())) == "not_funded"


def test_what_other_channels_use_of_the_asset_limit_is_not_available() -> None:
    assert usable_unconfirmed(allowance(deposit_unit(), used_elsewhere=4_000)) == 1_000
    assert usable_unconfirmed(allowance(deposit_unit(), used_elsewhere=6_000)) == 0


def test_no_more_than_the_deposit_itself_counts() -> None:
    assert usable_unconfirmed(allowance(deposit_unit(700), deposit_unit(800))) == 1_500


def test_an_asset_without_limits_has_no_unconfirmed_funds() -> None:
    assert usable_unconfirmed(allowance(deposit_unit(), limits=None)) == 0


def test_the_asset_lock_is_needed_only_beyond_confirmed_funds() -> None:
    channel = open_channel(deposited_by_peer=100, spent_by_me=50)
    assert not needs_allowance(channel, package(150, 1))
    assert needs_allowance(channel, package(151, 1))


def test_a_waiter_learns_when_the_next_deposit_is_old_enough() -> None:
    assert next_change_s(allowance(deposit_unit(age_s=2), deposit_unit(age_s=1))) == NOW - 2 + LIMITS.min_age_s
    assert next_change_s(allowance(deposit_unit())) is None


def test_an_agent_that_we_published_ourselves_needs_no_waiting() -> None:
    ours = Allowance(units=(PeerUnit("u", NOW - 9, 9),), limits=LIMITS, now_s=NOW, created_by_me=True)
    assert accepted(new_channel(), package(9, 9), ours).spent_by_peer == 9


def test_a_claim_never_shows_in_a_repr() -> None:
    assert "signed:" not in repr(accepted(open_channel(), package(1, 1)))
