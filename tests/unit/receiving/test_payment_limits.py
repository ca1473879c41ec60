"""What is refused before a signature is looked at, and by whose packages."""

from __future__ import annotations

import pytest

from shared.channels.model import PackageTerms
from shared.limits.limiter import Limiter
from shared.receiving.errors import LimitedError
from shared.receiving.limits import PaymentLimits
from shared.receiving.outcomes import Refusal
from shared.receiving.verification import SignedPayment
from shared.settings import Settings

TERMS = PackageTerms(aa_address="A" * 32, period=1, payment_amount=1, amount_spent=1, signer="S" * 32)
STRANGER = PackageTerms(aa_address="A" * 32, period=1, payment_amount=1, amount_spent=1, signer="T" * 32)


@pytest.fixture
def limits() -> PaymentLimits:
    settings = Settings(limit_payments_per_channel=2, limit_refusals_per_channel=1)
    return PaymentLimits.of(settings, Limiter(clock=lambda: 1.0))


def code_of_check(limits: PaymentLimits, terms: PackageTerms) -> str | None:
    try:
        limits.check(terms)
    except LimitedError as error:
        return error.code
    return None


def test_who_is_only_named_uses_nothing_up(limits: PaymentLimits) -> None:
    assert [code_of_check(limits, TERMS) for _ in range(9)] == [None] * 9
    limits.admit(SignedPayment(TERMS))


def test_what_would_not_be_admitted_is_refused_unchecked(limits: PaymentLimits) -> None:
    limits.admit(SignedPayment(TERMS))
    assert code_of_check(limits, TERMS) is None
    limits.admit(SignedPayment(TERMS))
    assert code_of_check(limits, TERMS) == "too_many_payments"
    assert code_of_check(limits, STRANGER) is None


def test_who_was_refused_too_often_is_refused_unchecked(limits: PaymentLimits) -> None:
    limits.refused(SignedPayment(TERMS), Refusal("over_credit", "over"))
    assert code_of_check(limits, TERMS) == "too_many_refusals"
    assert code_of_check(limits, STRANGER) is None
