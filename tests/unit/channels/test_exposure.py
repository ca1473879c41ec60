from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.channels.acceptance import Accepted, Refused
from shared.channels.errors import ExposureError
from shared.channels.exposure import (
    MAX_CHANNELS_LISTED,
    NOTHING,
    AssetAtRisk,
    ChannelAtRisk,
    ExposureRules,
    at_risk,
    channels_to_sweep,
    earned,
    is_near,
    is_ripe,
    may_deposit,
    must_stop,
    stolen,
    version_is_robbable,
)
from shared.channels.ledger import Closed
from shared.channels.model import Allowance, Channel, ExposureLimits, Status
from tests.unit.channels.builders import judge, new_channel, open_channel, package

LIMITS = ExposureLimits(max_by_channel=1_000, sweep_above=500, max_own_deposit=300, max_total=10_000)


def limited(*, is_stopped: bool = False, **limits: int) -> Allowance:
    return Allowance(exposure=replace(LIMITS, **limits), is_stopped=is_stopped)


def refusal(channel: Channel, spent: int, amount: int, allowance: Allowance) -> str:
    outcome = judge(channel, package(spent, amount), allowance)
    assert isinstance(outcome, Refused)
    assert outcome.rule == "exposure_limit"
    assert outcome.channel is channel
    return outcome.reason


# ------------------------------------------------------------------------------------------------- what is at risk


def test_at_risk_is_what_an_honest_closing_would_pay_us() -> None:
    channel = open_channel(deposited_by_me=300, spent_by_me=100, spent_by_peer=500, credit=50)
    assert at_risk(channel) == 300 - 100 + 500 - 50
    assert earned(channel) == 500 - 50


def test_we_spend_our_own_deposit_before_what_we_have_earned() -> None:
    assert earned(open_channel(deposited_by_me=300, spent_by_me=450, spent_by_peer=500)) == 350
    assert earned(open_channel(deposited_by_me=300)) == 0


def test_money_that_is_only_signed_for_is_at_risk_as_goods_were_given_for_it() -> None:
    assert at_risk(new_channel(spent_by_peer=70)) == 70


def test_nothing_is_at_risk_once_our_closing_is_on_the_ledger() -> None:
    channel = open_channel(spent_by_peer=500, period_closed_by_me=1)
    assert at_risk(channel) == 500
    assert at_risk(replace(channel, status=Status.CLOSING_BY_ME, close_started_at_s=1)) == 0


def test_everything_is_at_risk_while_the_peer_is_closing() -> None:
    closing = open_channel(status=Status.CLOSING_BY_PEER, spent_by_peer=500, claimed_by_peer=0, close_started_at_s=1)
    assert at_risk(closing) == 500


def test_what_we_have_given_away_again_is_not_at_risk() -> None:
    channel = open_channel(spent_by_peer=500, credit=100, spent_by_me=450)
    assert at_risk(channel) == earned(channel) == 0


@pytest.mark.parametrize(("version", "robbable"), [("1.0", True), ("1.1", True), ("1.2", False), ("9", True)])
def test_only_versions_that_are_known_to_be_repaired_are_safe(version: str, robbable: bool) -> None:  # noqa: FBT001
    assert version_is_robbable(version) is robbable
    assert (at_risk(open_channel(version=version, spent_by_peer=500)) == 0) is not robbable


# --------------------------------------------------------------------------------------------------- one channel


def test_the_limit_of_a_channel_is_exact() -> None:
    channel = open_channel(deposited_by_me=200, spent_by_peer=700)
    assert isinstance(judge(channel, package(800, 100), limited()), Accepted)
    refusal(channel, 801, 101, limited())


def test_credit_of_the_peer_does_not_use_the_limit_up() -> None:
    assert isinstance(judge(open_channel(), package(50_000, 1_000), limited()), Accepted)
    refusal(open_channel(), 50_000, 1_001, limited())


def test_a_repaired_channel_has_no_limit() -> None:
    repaired = open_channel(version="1.2")
    assert isinstance(judge(repaired, package(50_000, 50_000), limited(is_stopped=True)), Accepted)


def test_without_a_limit_for_the_asset_nothing_is_put_at_risk() -> None:
    rules = ExposureRules({"other": LIMITS})
    assert rules.of("base") == NOTHING
    refusal(open_channel(), 1, 1, Allowance(exposure=rules.of("base")))


def test_the_limits_of_any_asset_hold_for_those_that_are_not_listed() -> None:
    rules = ExposureRules({"base": LIMITS, "*": NOTHING})
    assert (rules.of("base"), rules.of("x")) == (LIMITS, NOTHING)


def test_nobody_can_have_channels_closed_by_an_asset_of_his_own() -> None:
    rules = ExposureRules({"*": LIMITS})
    assert is_ripe(open_channel(spent_by_peer=LIMITS.sweep_above), rules.of("base"))
    assert not is_ripe(open_channel(spent_by_peer=LIMITS.max_by_channel), rules.of("x"))
    assert channels_to_sweep(found(10_000, 1_000, 1_000), rules.of("x"), is_near_limit=True) == []
    assert rules.of("x").max_by_channel == LIMITS.max_by_channel


def test_a_payer_is_told_what_he_can_do() -> None:
    assert "pay at most 900, or close the channel" in refusal(open_channel(spent_by_peer=100), 1_050, 950, limited())
    assert "pay again in the next period" in refusal(open_channel(spent_by_peer=600), 1_050, 450, limited())
    assert "over 1000, the limit of channels of version 1.1" in refusal(open_channel(), 1_001, 1_001, limited())
    assert "pay again later" in refusal(open_channel(), 1, 1, limited(is_stopped=True))


def test_a_channel_is_ripe_when_enough_was_earned_in_it_and_only_while_it_can_be_closed() -> None:
    ripe = open_channel(spent_by_peer=500)
    assert is_ripe(ripe, LIMITS)
    assert not is_ripe(open_channel(spent_by_peer=499, deposited_by_me=300), LIMITS)
    assert not is_ripe(replace(ripe, period_closed_by_me=1), LIMITS)
    assert not is_ripe(new_channel(spent_by_peer=500), LIMITS)
    assert not is_ripe(replace(ripe, version="1.2"), LIMITS)
    assert not is_ripe(open_channel(), NOTHING)
    assert is_ripe(open_channel(spent_by_peer=1), NOTHING)


@given(
    steps=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 100)), max_size=30),
    ours=st.integers(0, 300),
    spent_by_me=st.integers(0, 2_000),
    sweep_above=st.integers(0, 700),
)
def test_a_channel_at_its_limit_is_always_ripe_so_that_nobody_waits_for_ever(
    steps: list[tuple[int, int]], ours: int, spent_by_me: int, sweep_above: int
) -> None:
    limits = replace(LIMITS, sweep_above=sweep_above)
    channel = open_channel(deposited_by_me=ours + spent_by_me, spent_by_me=spent_by_me)
    for amount, extra in steps:
        terms = package(channel.spent_by_peer + amount + extra, amount)
        outcome = judge(channel, terms, Allowance(exposure=limits))
        channel = outcome.channel
        assert at_risk(channel) <= limits.max_by_channel
        if isinstance(outcome, Refused) and amount <= limits.max_by_channel - limits.max_own_deposit - sweep_above:
            assert is_ripe(channel, limits)


# --------------------------------------------------------------------------------------------------- our deposits


def test_our_own_deposit_is_limited_by_channel() -> None:
    may_deposit(open_channel(), 300, LIMITS)
    with pytest.raises(ExposureError, match="max_own_deposit 300"):
        may_deposit(open_channel(), 301, LIMITS)
    with pytest.raises(ExposureError, match="max_own_deposit"):
        may_deposit(open_channel(deposited_by_me=100), 101, LIMITS, pending_deposits=100)


def test_what_we_have_spent_can_be_deposited_again() -> None:
    may_deposit(open_channel(deposited_by_me=300, spent_by_me=250), 250, LIMITS)


def test_a_deposit_does_not_take_a_channel_or_an_asset_over_its_limit() -> None:
    with pytest.raises(ExposureError, match="max_by_channel 1000"):
        may_deposit(open_channel(spent_by_peer=900), 101, LIMITS)
    with pytest.raises(ExposureError, match="max_total 10000"):
        may_deposit(open_channel(), 101, LIMITS, total_at_risk=9_900)
    with pytest.raises(ExposureError, match="max_total"):
        may_deposit(open_channel(), 1, LIMITS, is_stopped=True)


def test_deposits_in_repaired_channels_are_not_limited() -> None:
    may_deposit(open_channel(version="1.2", peer_has_robbed=True), 10**12, LIMITS, is_stopped=True)


def test_nothing_is_deposited_for_a_robber_and_what_was_robbed_counts_for_all() -> None:
    with pytest.raises(ExposureError, match="has robbed us"):
        may_deposit(open_channel(peer_has_robbed=True), 1, LIMITS)
    may_deposit(open_channel(), 100, LIMITS, total_at_risk=5_000, robbed=4_900)
    with pytest.raises(ExposureError, match="4900 was robbed"):
        may_deposit(open_channel(), 101, LIMITS, total_at_risk=5_000, robbed=4_900)


# ------------------------------------------------------------------------------------------------------ robberies


def being_closed(by: Status = Status.CLOSING_BY_PEER) -> Channel:
    claimed = 0 if by is Status.CLOSING_BY_PEER else None
    return open_channel(status=by, spent_by_peer=500, credit=50, claimed_by_peer=claimed, close_started_at_s=1)


def closed(*, by_fraud_proof: bool = True, received: int = 0) -> Closed:
    return Closed(event_id=3, period=1, by_fraud_proof=by_fraud_proof, received=received)


def test_a_fraud_proof_after_the_peers_closing_that_pays_us_nothing_has_robbed_us_of_what_was_at_risk() -> None:
    assert stolen(being_closed(), closed()) == 450


def test_no_other_end_of_a_period_is_a_robbery() -> None:
    assert stolen(being_closed(), closed(received=100_000)) is None
    assert stolen(being_closed(), closed(by_fraud_proof=False)) is None
    assert stolen(being_closed(Status.CLOSING_BY_ME), closed()) is None


def test_no_package_counts_in_a_channel_that_its_peer_could_rob_again() -> None:
    refused = judge(open_channel(peer_has_robbed=True), package(1, 1), limited())
    assert isinstance(refused, Refused)
    assert refused.rule == "peer_blocked"
    assert "1.1" in refused.reason


def test_robbers_go_on_in_repaired_channels() -> None:
    assert isinstance(judge(open_channel(version="1.2", peer_has_robbed=True), package(1, 1), limited()), Accepted)


@given(total=st.integers(0, 20_000), robbed=st.integers(1, 20_000), was_stopped=st.booleans())
def test_where_payments_go_on_less_is_at_risk_and_stolen_than_the_limit(
    *, total: int, robbed: int, was_stopped: bool
) -> None:
    risk = AssetAtRisk(total=total, robbed=robbed)
    stops = must_stop(risk, LIMITS, growth=0, was_stopped=was_stopped)
    assert stops or total + robbed < LIMITS.max_total
    if total:
        left = replace(LIMITS, max_total=max(0, LIMITS.max_total - robbed))
        assert stops == must_stop(AssetAtRisk(total=total), left, growth=0, was_stopped=was_stopped)


def test_near_and_swept_are_counted_of_what_the_robbers_have_left() -> None:
    half = AssetAtRisk(total=4_000, closable=(ChannelAtRisk("AA", 1_500), ChannelAtRisk("AB", 900)), robbed=5_000)
    assert is_near(half, LIMITS, was_near=False)
    assert not is_near(replace(half, total=3_999), LIMITS, was_near=False)
    assert channels_to_sweep(half, LIMITS, is_near_limit=True) == ["AA"]


# ------------------------------------------------------------------------------------------ all channels of an asset


def found(total: int, *risks: int, settling: int = 0, ripe: int = 0) -> AssetAtRisk:
    closable = tuple(ChannelAtRisk(f"AA{number}", risk) for number, risk in enumerate(risks))
    return AssetAtRisk(total, settling, max(risks, default=0), closable[:ripe], closable)


def test_ripe_channels_are_closed_whatever_the_total() -> None:
    assert channels_to_sweep(found(100, 60, 40, ripe=1), LIMITS, is_near_limit=False) == ["AA0"]


def test_near_the_limit_the_greatest_are_closed_until_three_fifths_are_left() -> None:
    near = found(8_500, 1_500, 1_000, 900, 800)
    assert channels_to_sweep(near, LIMITS, is_near_limit=True) == ["AA0", "AA1"]
    assert channels_to_sweep(near, LIMITS, is_near_limit=False) == []


def test_what_is_being_closed_already_counts_as_gone() -> None:
    near = found(8_500, 1_500, 1_000, settling=2_000)
    assert channels_to_sweep(near, LIMITS, is_near_limit=True) == ["AA0"]
    assert channels_to_sweep(found(8_500, 1_500, settling=2_500), LIMITS, is_near_limit=True) == []


def test_near_begins_at_four_fifths_and_ends_below_three() -> None:
    assert [is_near(found(total), LIMITS, was_near=False) for total in (7_999, 8_000)] == [False, True]
    assert [is_near(found(total), LIMITS, was_near=True) for total in (5_999, 6_000)] == [False, True]
    assert not is_near(found(0), NOTHING, was_near=True)


def test_payments_stop_at_the_limit_and_go_on_below_four_fifths() -> None:
    def stops(total: int, *, growth: int = 0, was_stopped: bool = False) -> bool:
        return must_stop(found(total), LIMITS, growth=growth, was_stopped=was_stopped)

    assert [stops(total) for total in (9_999, 10_000)] == [False, True]
    assert [stops(total, was_stopped=True) for total in (7_999, 8_000)] == [False, True]
    assert not must_stop(found(0), NOTHING, growth=0, was_stopped=True)


def test_payments_stop_before_the_limit_when_the_next_measurement_would_come_too_late() -> None:
    assert must_stop(found(7_000), LIMITS, growth=3_000, was_stopped=False)
    assert not must_stop(found(7_000), LIMITS, growth=2_999, was_stopped=False)
    assert not must_stop(found(9_999), LIMITS, growth=-5_000, was_stopped=False)


def test_parts_of_a_measurement_add_up_and_stay_short() -> None:
    many = tuple(ChannelAtRisk(f"A{number:03}", number) for number in range(MAX_CHANNELS_LISTED))
    joined = AssetAtRisk(10, 4, 7, many, many).joined(AssetAtRisk(5, 1, 9, (), (ChannelAtRisk("B", 10**6),)))
    assert (joined.total, joined.settling, joined.greatest) == (15, 5, 9)
    assert joined.closable[:2] == (ChannelAtRisk("B", 10**6), many[-1])
    assert len(joined.closable) == MAX_CHANNELS_LISTED
