from __future__ import annotations

from typing import Any

import pytest

from shared.channels.errors import InsufficientFundsError, InvalidAmountError, NotPayableError
from shared.channels.model import Status
from shared.channels.paying import create_payment, spendable
from tests.unit.channels.builders import new_channel, open_channel

MINE = open_channel(deposited_by_me=1_000)


def test_a_payment_adds_to_what_we_have_spent() -> None:
    order = create_payment(open_channel(deposited_by_me=1_000, spent_by_me=300), 200)
    assert (order.period, order.payment_amount, order.amount_spent, order.channel.spent_by_me) == (1, 200, 500, 500)


def test_everything_can_be_spent_and_not_a_unit_more() -> None:
    create_payment(MINE, 1_000)
    with pytest.raises(InsufficientFundsError):
        create_payment(MINE, 1_001)


def test_what_the_peer_paid_us_can_be_spent() -> None:
    assert spendable(open_channel(deposited_by_me=1_000, spent_by_me=900, spent_by_peer=50)) == 150


def test_a_deposit_on_its_way_can_be_spent() -> None:
    assert create_payment(new_channel(), 5, pending_deposits=5).period == 1


@pytest.mark.parametrize("amount", [0, -1, 9_000_000_000_000_001, True, 1.0, "1", None])
def test_an_amount_is_a_positive_integer_within_the_ledgers_limit(amount: Any) -> None:
    with pytest.raises(InvalidAmountError):
        create_payment(MINE, amount)


@pytest.mark.parametrize(
    ("changes", "peer_is_closing"),
    [
        ({"status": Status.CLOSING_BY_ME}, False),
        ({"status": Status.CLOSING_BY_PEER}, False),
        ({"period_closed_by_me": 1}, False),
        ({}, True),
    ],
)
def test_nothing_is_signed_in_a_channel_that_is_closing(changes: dict[str, Any], peer_is_closing: bool) -> None:  # noqa: FBT001
    with pytest.raises(NotPayableError):
        create_payment(open_channel(deposited_by_me=1_000, **changes), 1, peer_is_closing=peer_is_closing)
