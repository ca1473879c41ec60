from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.balances import Balance, BalanceError, BalanceTerms

ECONOMICAL = settings(max_examples=60, deadline=None)

AMOUNTS = st.integers(0, 10_000)


@ECONOMICAL
@given(
    st.integers(0, 20_000), st.lists(st.tuples(st.sampled_from(("prepare", "reject", "money")), AMOUNTS), max_size=30)
)
def test_a_peer_never_owes_more_than_it_may(maximum: int, steps: list[tuple[str, int]]) -> None:
    balance = Balance(BalanceTerms(maximum=maximum))
    pending: list[int] = []
    fulfilled = received = 0
    for what, amount in steps:
        if what == "money":
            balance, received = balance.received(amount), received + amount
        elif what == "reject" and pending:
            balance = balance.released(pending.pop())
        else:
            try:
                balance = balance.prepared(amount)
            except BalanceError as error:
                assert error.code == "over_maximum"  # noqa: PT017 - either outcome is right
                assert balance.units + amount > maximum
            else:
                pending.append(amount)
                fulfilled += amount
        assert balance.units <= maximum
    rejected = fulfilled - sum(pending)
    assert balance.units == fulfilled - rejected - received


@ECONOMICAL
@given(st.integers(-10_000, 10_000), st.integers(-10_000, 0), st.integers(0, 10_000))
def test_settling_leads_to_where_it_should_and_not_twice(units: int, below: int, to: int) -> None:
    balance = Balance(BalanceTerms(maximum=None, settle_below=below, settle_to=to), units)
    amount = balance.to_settle
    assert (amount > 0) == (units < below)
    settled = balance.settling(amount)
    assert settled.to_settle == 0
    assert amount == 0 or settled.units == to
    assert settled.not_settled(amount) == balance


def test_nothing_is_free_of_the_limits_but_nothing() -> None:
    balance = Balance(BalanceTerms(maximum=0, minimum=0), 5)
    assert balance.prepared(0) == balance
    balance.check_sending(0)
    with pytest.raises(BalanceError) as refused:
        balance.prepared(1)
    assert refused.value.code == "over_maximum"


def test_what_goes_out_is_refused_before_it_goes_out() -> None:
    balance = Balance(BalanceTerms(maximum=0, minimum=-100), -100)
    balance.check_sending(0)
    with pytest.raises(BalanceError) as refused:
        balance.check_sending(1)
    assert refused.value.code == "under_minimum"
    assert Balance(BalanceTerms(minimum=-100), -99).check_sending(1) is None


def test_packets_have_a_limit_of_their_own() -> None:
    balance = Balance(BalanceTerms(maximum=None, max_packet_amount=100))
    assert balance.prepared(100).units == 100
    with pytest.raises(BalanceError) as refused:
        balance.prepared(101)
    assert refused.value.code == "over_packet_maximum"


@pytest.mark.parametrize("amount", [-1, True, 1.0, "1"])
def test_amounts_are_integers_from_nothing(amount: Any) -> None:
    with pytest.raises(BalanceError) as refused:
        Balance(BalanceTerms(maximum=None)).prepared(amount)
    assert refused.value.code == "bad_amount"


@pytest.mark.parametrize(
    "terms", [{"maximum": 5, "minimum": 6}, {"maximum": 5, "settle_to": 6}, {"settle_below": 5, "maximum": None}]
)
def test_terms_that_contradict_each_other_are_none(terms: dict[str, int | None]) -> None:
    with pytest.raises(BalanceError) as refused:
        BalanceTerms(**terms)  # type: ignore[arg-type]
    assert refused.value.code == "bad_terms"
