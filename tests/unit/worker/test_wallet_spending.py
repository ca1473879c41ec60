from __future__ import annotations

import pytest

from shared.obyte.composing import Output
from shared.obyte.errors import FeeTooHighError
from shared.obyte.selection import Fees
from worker.wallet import Purpose, Spending, UnitOrder, Urgency
from worker.wallet.spending import defence_fee, policies

ROUTINE, SETTLING, DEFENCE = Urgency
COMMISSIONS = 700


def order(urgency: Urgency, at_stake: int | None = None, **more: object) -> UnitOrder:
    async def is_wanted(_: object) -> bool:
        return True

    fields: dict[str, object] = {
        "purpose": Purpose("close"),
        "payments": (Output("A" * 32, 1),),
        "messages": (),
        "is_wanted": is_wanted,
        "urgency": urgency,
        "at_stake": at_stake,
        **more,
    }
    return UnitOrder(**fields)  # type: ignore[arg-type]


def highest_fee(spending: Spending, wanted: UnitOrder) -> int:
    """The highest TPS fee that the order may pay."""
    low, high = 0, 10**12
    while low < high:
        middle = (low + high + 1) // 2
        try:
            spending.fee_limit_of(wanted).check(Fees(headers=400, payload=300, oversize=0, tps=middle))
        except FeeTooHighError:
            high = middle - 1
        else:
            low = middle
    return low


@pytest.mark.parametrize(("urgency", "reserve"), [(ROUTINE, 5_000), (SETTLING, 0), (DEFENCE, 0)])
def test_only_what_can_wait_leaves_the_reserve(urgency: Urgency, reserve: int) -> None:
    assert Spending(reserve=5_000).reserve_of(order(urgency)) == reserve


@pytest.mark.parametrize("urgency", [ROUTINE, SETTLING])
@pytest.mark.parametrize("at_stake", [0, 10**9])
def test_the_fee_limit_is_the_lower_of_ratio_and_amount(urgency: Urgency, at_stake: int) -> None:
    wanted = order(urgency, at_stake)
    assert highest_fee(Spending(max_fee_ratio=100), wanted) == 100 * COMMISSIONS
    assert highest_fee(Spending(max_fee_ratio=100, max_fee=5_000), wanted) == 5_000
    assert highest_fee(Spending(max_fee_ratio=2, max_fee=5_000), wanted) == 2 * COMMISSIONS


@pytest.mark.parametrize(
    ("at_stake", "highest"),
    [
        (10**7, 5 * 10**6),
        (140_002, 70_001),
        (100_000, 70_000),  # half of it is below what any unit may pay
        (None, 200_000),  # the stake is not known in bytes: half of the reserve
    ],
)
def test_a_defence_may_pay_up_to_half_of_what_is_at_stake(at_stake: int | None, highest: int) -> None:
    assert highest_fee(Spending(reserve=400_000), order(DEFENCE, at_stake)) == highest
    assert highest_fee(Spending(reserve=400_000, max_fee=1), order(DEFENCE, at_stake)) == defence_fee(at_stake, 400_000)


def test_a_defence_that_saves_nothing_pays_no_more_than_any_unit() -> None:
    assert highest_fee(Spending(reserve=400_000, max_fee=5_000), order(DEFENCE, 0)) == 5_000


def test_oversize_and_tps_fee_count_together() -> None:
    limit = Spending(max_fee=1_000).usual_fee_limit
    limit.check(Fees(headers=400, payload=300, oversize=600, tps=400))
    with pytest.raises(FeeTooHighError, match="1001 bytes, the limit is 1000") as refused:
        limit.check(Fees(headers=400, payload=300, oversize=600, tps=401))
    assert (refused.value.quoted, refused.value.allowed) == (1_001, 1_000)


def test_the_surest_coins_are_tried_first_and_a_defence_takes_all_there_are() -> None:
    assert policies(order(ROUTINE)) == ("own",)
    assert policies(order(ROUTINE, policy="none")) == ("none",)
    assert policies(order(ROUTINE, policy="all")) == ("own", "all")
    assert policies(order(SETTLING)) == ("own",)
    assert policies(order(DEFENCE)) == ("own", "all")
