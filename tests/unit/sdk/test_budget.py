from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.httpx import Budget, PaymentDeclinedError
from sluice.httpx.budget import Spending

if TYPE_CHECKING:
    from collections.abc import Callable


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(PaymentDeclinedError) as declined:
        work()
    return declined.value.code


def test_a_request_costs_no_more_than_it_may_in_all_its_packages_together() -> None:
    spending = Spending(Budget(per_request=10, total=100))
    spending.spend("a", 6, for_request=0)
    spending.spend("a", 4, for_request=6)
    assert refused(lambda: spending.spend("a", 1, for_request=10)) == "price_too_high"


def test_a_host_gets_no_more_than_its_share() -> None:
    spending = Spending(Budget(per_request=10, total=100, per_host=15))
    spending.spend("a", 10, for_request=0)
    assert refused(lambda: spending.spend("a", 6, for_request=0)) == "host_budget_spent"
    spending.spend("b", 10, for_request=0)


def test_all_together_get_no_more_than_the_total() -> None:
    spending = Spending(Budget(per_request=10, total=15, per_host=15))
    spending.spend("a", 10, for_request=0)
    assert refused(lambda: spending.spend("b", 6, for_request=0)) == "budget_spent"


def test_what_was_not_signed_can_be_spent_again() -> None:
    spending = Spending(Budget(per_request=10, total=10))
    spending.spend("a", 10, for_request=0)
    spending.give_back("a", 10)
    spending.spend("a", 10, for_request=0)


def test_deposits_are_limited_and_one_alone_by_default() -> None:
    assert refused(Spending(Budget(1, 1)).take_deposit) == "no_channel"
    spending = Spending(Budget(1, 1, deposit=5))
    spending.take_deposit()
    assert refused(spending.take_deposit) == "deposits_spent"
    spending.give_back_deposit()
    assert spending.take_deposit() == 5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.integers(0, 30))))
def test_no_limit_is_ever_exceeded(asked: list[tuple[str, int, int]]) -> None:
    budget = Budget(per_request=25, total=60, per_host=40)
    spending = Spending(budget)
    for host, amount, before in asked:
        try:
            spending.spend(host, amount, for_request=before)
        except PaymentDeclinedError:
            continue
        assert amount + before <= 25
    assert spending.total == sum(spending.by_host.values()) <= 60
    assert max(spending.by_host.values(), default=0) <= 40
