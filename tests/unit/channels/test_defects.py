"""The reference peer's defects about money that live in its rules: each is shown not to be ours.

The letters are this project's names for them; `docs/defects.md` lists all with the place of each test.
"""

from __future__ import annotations

from shared.channels.closing import Confirm, FraudProof, closing_claim, next_trigger
from shared.channels.ledger import Meaning, SeenTrigger, deposit_in, undo
from shared.channels.model import Allowance, PeerUnit, Status
from tests.unit.channels.builders import (
    LIMITS,
    NOW,
    accepted,
    allowance,
    deposit_unit,
    new_channel,
    open_channel,
    package,
    refused,
)


def test_b01_a_smaller_package_never_replaces_the_evidence() -> None:
    overpaid = accepted(open_channel(), package(10_000, 9_999))
    after = accepted(overpaid, package(1, 1))
    assert closing_claim(after).claim == "signed:10000"


def test_b02_an_unconfirmed_deposit_is_no_credit() -> None:
    channel = open_channel(deposited_by_peer=0)
    assert refused(channel, package(1, 1_000), allowance(deposit_unit())) == "over_credit"


def test_b02_what_we_admit_at_closing_is_never_less_than_we_signed() -> None:
    paid = accepted(open_channel(deposited_by_peer=0, spent_by_me=70), package(50, 50), allowance(deposit_unit()))
    assert closing_claim(paid).transferred_from_me == 70


def test_b03_two_packages_are_one_payment_when_they_say_the_same() -> None:
    assert package(3_000, 1_000).key == package(3_000, 1_000).key


def test_b06_a_failed_reaction_is_followed_by_the_same_right_one_whenever_asked() -> None:
    dishonest = open_channel(
        status=Status.CLOSING_BY_PEER, claimed_by_peer=1, spent_by_peer=2, claim="signed:2", close_started_at_s=0
    )
    answers = {type(next_trigger(dishonest, ledger_time_s=at)) for at in (0, 999, 1_000, 10**9)}
    assert answers == {FraudProof}


def test_b06_the_late_confirmation_still_gives_the_overpayment_back() -> None:
    honest = open_channel(
        status=Status.CLOSING_BY_PEER, claimed_by_peer=9, spent_by_peer=9, credit=2, claim="s", close_started_at_s=0
    )
    assert next_trigger(honest, ledger_time_s=10**9) == Confirm(period=1, additional_from_me=2)


def test_b07_a_bounced_close_can_be_tried_again_and_payments_go_on() -> None:
    after_bounce = undo(open_channel(period_closed_by_me=1), Meaning.CLOSE, period=1)
    assert accepted(after_bounce, package(5, 5)).spent_by_peer == 5


def test_b09_a_worthless_asset_does_not_inflate_a_deposit_of_bytes() -> None:
    inflated = SeenTrigger(
        bytes_to_agent=10_001, asset_to_agent=0, has_data=False, closes=False, publishes_definition=True
    )
    assert deposit_in(new_channel(), inflated) == 10_001


def test_b10_the_unconfirmed_limit_is_usable_in_full() -> None:
    channel = new_channel()
    first = allowance(deposit_unit(publishes_definition=True))
    half = accepted(channel, package(1_500, 1_500), first)
    assert accepted(half, package(3_000, 1_500), first).spent_by_peer == LIMITS.max_by_channel


def test_b11_every_unconfirmed_unit_is_looked_at() -> None:
    several = [deposit_unit(), deposit_unit(), deposit_unit()]
    for place in range(3):
        units = list(several)
        units[place] = deposit_unit(0, closes=True)
        assert refused(open_channel(), package(1, 1), allowance(*units)) == "unconfirmed_closing"
        units[place] = deposit_unit(is_bad=True)
        assert refused(open_channel(), package(1, 1), allowance(*units)) == "bad_sequence"


def test_b11_a_young_deposit_is_not_counted_with_the_age_of_an_old_one() -> None:
    old_and_young = Allowance(
        units=(PeerUnit("a", NOW - 100, 100), PeerUnit("b", NOW - 1, 1_000)), limits=LIMITS, now_s=NOW
    )
    channel = open_channel(deposited_by_peer=0)
    assert refused(channel, package(101, 101), old_and_young) == "not_funded"
