"""Where a request stands by what came for it, whatever the order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.requests.standing import RequestState, Standing, Told

payments = st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=8)


@pytest.mark.parametrize(
    ("in_time", "late", "is_expired", "is_cancelled", "state", "due"),
    [
        (0, 0, False, False, RequestState.OPEN, 100),
        (40, 0, False, False, RequestState.PARTIALLY_PAID, 60),
        (100, 0, False, False, RequestState.PAID, 0),
        (130, 0, False, False, RequestState.OVERPAID, 0),
        (0, 0, True, False, RequestState.EXPIRED, 0),
        (40, 0, True, False, RequestState.EXPIRED, 0),
        (40, 60, True, False, RequestState.LATE, 0),
        (0, 500, True, False, RequestState.LATE, 0),
        (100, 0, True, False, RequestState.PAID, 0),
        (100, 1, True, False, RequestState.OVERPAID, 0),
        (0, 0, False, True, RequestState.CANCELLED, 0),
        (40, 60, False, True, RequestState.CANCELLED, 0),
        (40, 0, True, True, RequestState.CANCELLED, 0),
        (100, 0, False, True, RequestState.PAID, 0),
    ],
)
def test_the_state_follows_from_what_came(
    in_time: int, late: int, *, is_expired: bool, is_cancelled: bool, state: RequestState, due: int
) -> None:
    standing = Standing(100, in_time, late, is_expired=is_expired, is_cancelled=is_cancelled)
    assert standing.state is state
    assert standing.due == due


def test_one_payment_may_complete_a_request_and_be_too_much() -> None:
    _, told = Standing(100).after(130, is_late=False)
    assert told == (Told.PAID, Told.OVERPAID)


@given(payments)
def test_paid_is_told_once_and_by_the_payment_that_completes_it(script: list[tuple[int, bool]]) -> None:
    standing, told = Standing(100), []
    for amount, is_late in script:
        before = standing
        standing, kinds = standing.after(amount, is_late=is_late)
        assert (Told.PAID in kinds) == (standing.is_paid and not before.is_paid)
        assert (Told.OVERPAID in kinds) == (standing.is_paid and standing.surplus > 0)
        assert len(kinds) > 0 or (standing.is_paid and not standing.surplus)
        told += kinds
    assert told.count(Told.PAID) == standing.is_paid
    assert standing.received == sum(amount for amount, _ in script)
    assert standing.received + standing.missing == standing.amount + standing.surplus


@given(payments)
def test_the_order_of_payments_decides_nothing(script: list[tuple[int, bool]]) -> None:
    ends = set()
    for order in itertools.islice(itertools.permutations(script), 24):
        standing = Standing(100)
        for amount, is_late in order:
            standing, _ = standing.after(amount, is_late=is_late)
        ends.add(standing)
    assert len(ends) == 1
