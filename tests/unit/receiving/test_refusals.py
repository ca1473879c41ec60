"""Which refusals are told of, and how often."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from shared.channels.model import PackageTerms
from shared.receiving.outcomes import ChannelView, Refusal
from shared.receiving.refusals import MAX_REMEMBERED, RefusalsToTell

TERMS = PackageTerms(aa_address="A" * 32, signer="S" * 32, period=2, amount_spent=30, payment_amount=10)
REFUSAL = Refusal("not_funded", "AA not funded enough", ChannelView(2, 20, 0, "open"))


def test_what_the_payer_himself_signed_is_told() -> None:
    event = RefusalsToTell().event_of(TERMS, REFUSAL, now_s=0)
    assert event is not None
    assert (event.kind, event.aa_address) == ("payment_refused", TERMS.aa_address)
    assert event.data == {
        "code": "not_funded",
        "text": "AA not funded enough",
        "amount": 10,
        "period": 2,
        "amount_spent": 30,
        "channel": {"period": 2, "amount_spent": 20, "credit": 0, "status": "open"},
    }


def test_strangers_and_payments_before_their_deposit_leave_no_trace() -> None:
    refusals = RefusalsToTell()
    assert refusals.event_of(TERMS, replace(REFUSAL, channel=None), now_s=0) is None
    assert refusals.event_of(TERMS, replace(REFUSAL, awaits_funding=True), now_s=0) is None


def test_the_same_rule_is_told_again_only_after_a_while() -> None:
    refusals = RefusalsToTell(again_s=60)
    told = [refusals.event_of(TERMS, REFUSAL, now_s=now_s) is not None for now_s in (0, 59, 60, 119, 121)]
    assert told == [True, False, True, False, True]
    assert refusals.event_of(TERMS, replace(REFUSAL, code="wrong_period"), now_s=121) is not None
    assert refusals.event_of(structs.replace(TERMS, aa_address="B" * 32), REFUSAL, now_s=121) is not None


def test_what_is_remembered_is_bounded() -> None:
    refusals = RefusalsToTell()
    for number in range(MAX_REMEMBERED + 5):
        refusals.event_of(structs.replace(TERMS, aa_address=f"{number:032d}"), REFUSAL, now_s=0)
    assert len(refusals._told) == MAX_REMEMBERED
