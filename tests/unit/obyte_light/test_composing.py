"""What is not composed, and which coins are chosen. That composed units are right is held by the property tests."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import MAX_AMOUNT, Joint, Output, Parents, compose, data_message
from shared.obyte.errors import CompositionError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.selection import INPUT_SIZE, FeeLimit

KEY = KeyPair(b"\1" * 32)
OTHER = KeyPair(b"\2" * 32).address


def hash_of(number: int) -> str:
    return b64encode(hashlib.sha256(bytes([number])).digest()).decode()


GOLD = hash_of(200)
PARENTS = Parents(1_700_000_000, (hash_of(1),), hash_of(2), hash_of(3), 5, 0)


def coin(number: int, amount: int, *, asset: str = BASE, is_stable: bool = True, address: str = KEY.address) -> Coin:
    return Coin(hash_of(number), 0, 0, address, asset, amount, is_stable=is_stable)


def make(coins: list[Coin], payments: list[Output], **more: Any) -> Joint:
    settings: dict[str, Any] = {"network": DEVNET, "key": KEY, "parents": PARENTS, "include_definition": False}
    return compose(coins=coins, payments=payments, **{**settings, **more})


def refusal(coins: list[Coin], payments: list[Output], **more: Any) -> str:
    with pytest.raises(CompositionError) as refused:
        make(coins, payments, **more)
    return refused.value.code


def cost(**more: Any) -> int:
    """The least a coin must be worth to pay 1 000 bytes alone, minus one."""
    joint = make([coin(10, 10**9)], [Output(OTHER, 1_000)], **more)
    return 1_000 + joint.fees.total


def test_an_input_costs_89_bytes() -> None:
    assert INPUT_SIZE == 89


def test_the_change_is_at_least_one_byte() -> None:
    assert refusal([coin(10, cost())], [Output(OTHER, 1_000)]) == "not_enough_funds"
    assert make([coin(10, cost() + 1)], [Output(OTHER, 1_000)]).change == 1


def test_every_further_input_is_paid_for() -> None:
    needed = cost() + INPUT_SIZE
    assert refusal([coin(10, 900), coin(11, needed - 900)], [Output(OTHER, 1_000)]) == "not_enough_funds"
    assert make([coin(10, 900), coin(11, needed - 899)], [Output(OTHER, 1_000)]).change == 1


def test_the_smallest_single_coin_that_suffices_is_taken() -> None:
    joint = make([coin(10, 10**6), coin(11, 5_000), coin(12, 10**5)], [Output(OTHER, 1_000)])
    assert [spent.amount for spent in joint.spent] == [5_000]


def test_stable_coins_are_preferred() -> None:
    joint = make([coin(10, 5_000, is_stable=False), coin(11, 10**6)], [Output(OTHER, 1_000)])
    assert [spent.amount for spent in joint.spent] == [10**6]


def test_several_coins_are_added_from_the_largest_down() -> None:
    joint = make([coin(10, 600), coin(11, 900), coin(12, 700), coin(13, 1)], [Output(OTHER, 1_000)])
    assert [spent.amount for spent in joint.spent] == [900, 700, 600]


def test_no_more_coins_are_spent_than_a_unit_may_have() -> None:
    dust = [Coin(hash_of(number), 0, index, KEY.address, BASE, 400) for number in range(10) for index in range(20)]
    assert refusal(dust, [Output(OTHER, 60_000)]) == "not_enough_funds"


def test_coins_of_others_and_doubled_coins_do_not_count() -> None:
    assert refusal([coin(10, 10**9, address=OTHER)], [Output(OTHER, 1_000)]) == "not_enough_funds"
    assert refusal([coin(10, 1_500), coin(10, 1_500)], [Output(OTHER, 1_000)]) == "not_enough_funds"


def test_an_asset_is_paid_exactly_and_its_fees_in_bytes() -> None:
    joint = make([coin(10, 10**6), coin(11, 70, asset=GOLD)], [Output(OTHER, 70, GOLD)])
    payload: Any = joint.unit["messages"]
    [gold] = [message["payload"] for message in payload if message["payload"].get("asset") == GOLD]
    assert gold["outputs"] == [{"address": OTHER, "amount": 70}]
    assert refusal([coin(10, 10**6), coin(11, 69, asset=GOLD)], [Output(OTHER, 70, GOLD)]) == "not_enough_funds"
    assert refusal([coin(11, 70, asset=GOLD)], [Output(OTHER, 70, GOLD)]) == "not_enough_funds"


def test_a_senseless_tps_fee_is_not_paid() -> None:
    parents = Parents(1_700_000_000, (hash_of(1),), hash_of(2), hash_of(3), 5, 10**6)
    rich = [coin(10, 10**9)]
    assert refusal(rich, [Output(OTHER, 1_000)], parents=parents) == "fee_too_high"
    assert make(rich, [Output(OTHER, 1_000)], parents=parents, fee_limit=FeeLimit(10**4)).fees.tps == 10**6


def test_an_oversized_unit_pays_for_its_size() -> None:
    blob = data_message({"blob": "x" * 12_000})
    joint = make([coin(10, 10**9)], [], messages=[blob])
    assert joint.unit["oversize_fee"] == joint.fees.oversize > 0
    assert "oversize_fee" not in make([coin(10, 10**9)], [], messages=[blob], threshold_size=20_000).unit


@pytest.mark.parametrize(
    "output",
    [
        Output("x", 1),
        Output(OTHER, 0),
        Output(OTHER, -1),
        Output(OTHER, True),
        Output(OTHER, 1.0),  # type: ignore[arg-type]
        Output(OTHER, MAX_AMOUNT + 1),
        Output(OTHER, 1, "gold"),
        Output(OTHER, 1, ""),
    ],
)
def test_outputs_that_the_network_would_refuse_are_refused(output: Output) -> None:
    assert refusal([coin(10, 10**9)], [output]) == "bad_output"


def test_sums_over_all_money_are_refused() -> None:
    assert refusal([], [Output(OTHER, MAX_AMOUNT), Output(OTHER, 1)]) == "bad_output"


def test_outputs_and_messages_are_limited() -> None:
    assert refusal([coin(10, 10**9)], [Output(OTHER, 1)] * 128) == "too_many_outputs"
    assert refusal([coin(10, 10**9)], [], messages=[data_message({"a": 1})] * 128) == "too_many_messages"


def test_signatures_stay_out_of_reprs() -> None:
    assert "authentifiers" not in repr(make([coin(10, 10**6)], []))


def test_a_unit_that_replaces_another_spends_one_of_its_coins() -> None:
    purse = [coin(10, 5_000), coin(11, 6_000), coin(12, 900), coin(13, 10**6)]
    assert [spent.amount for spent in make(purse, [Output(OTHER, 1_000)]).spent] == [5_000]
    for contested, amounts in (
        ([purse[1]], [6_000]),
        ([purse[2]], [900, 10**6]),
        ([purse[1], purse[2]], [6_000]),
        ([coin(99, 10**6)], [5_000]),
    ):
        outpoints = {one.outpoint for one in contested}
        joint = make(purse, [Output(OTHER, 1_000)], contested=outpoints)
        assert [spent.amount for spent in joint.spent] == amounts


def test_the_reserve_is_left_in_change_and_sure_coins() -> None:
    purse = [coin(10, 5_000), coin(11, 3_000), coin(12, 10**6, is_stable=False)]
    left = 8_000 - cost()
    assert make(purse, [Output(OTHER, 1_000)], reserve=left).change == 3_000 - cost()
    with pytest.raises(CompositionError, match=f"leave {left} bytes, the reserve is {left + 1}") as refused:
        make(purse, [Output(OTHER, 1_000)], reserve=left + 1)
    assert refused.value.code == "reserve_needed"


def test_a_fee_out_of_reach_is_no_lack_of_money() -> None:
    dear = replace(PARENTS, tps_fee=10**6)
    assert refusal([coin(10, 5_000)], [Output(OTHER, 1_000)], parents=dear) == "fee_too_high"
    enough = FeeLimit(ratio=0, granted=10**6)
    assert refusal([coin(10, 5_000)], [Output(OTHER, 1_000)], parents=dear, fee_limit=enough) == "not_enough_funds"


def test_everything_but_the_reserve_is_sent() -> None:
    purse = [coin(10, 5_000), coin(11, 30_000), coin(12, 77, asset=GOLD), coin(13, 5, asset=GOLD)]
    joint = make(purse, [Output(OTHER, 1)], sends_all=True, reserve=6_000)
    [payment] = [message["payload"] for message in joint.unit["messages"]]  # type: ignore[index, union-attr]
    paid = {output["address"]: output["amount"] for output in payment["outputs"]}
    assert paid == {KEY.address: 6_000, OTHER: 35_000 - 6_000 - joint.fees.total}

    joint = make(purse, [Output(OTHER, 1, GOLD)], sends_all=True)
    assert sorted(spent.amount for spent in joint.spent if spent.asset == GOLD) == [5, 77]

    joint = make(purse, [], sends_all=True)
    assert (len(joint.spent), joint.change) == (2, 35_000 - joint.fees.total)


def test_everything_is_not_sent_when_that_is_nothing() -> None:
    assert refusal([coin(10, 5_000)], [Output(OTHER, 1)], sends_all=True, reserve=4_900) == "reserve_needed"
    assert refusal([coin(10, 500)], [Output(OTHER, 1)], sends_all=True) == "not_enough_funds"
    assert refusal([coin(10, 500)], [Output(OTHER, 1, GOLD)], sends_all=True) == "not_enough_funds"
    assert refusal([coin(10, 5_000)], [Output(OTHER, 1), Output(OTHER, 2)], sends_all=True) == "bad_output"


def test_the_fee_limit_counts_what_many_inputs_cost() -> None:
    purse = [Coin(hash_of(number), 0, index, KEY.address, BASE, 1_000) for number in range(10) for index in range(10)]
    most = FeeLimit(most=100)
    assert make(purse, [Output(OTHER, 5_000)], threshold_size=4_000, fee_limit=most).fees.oversize == 0
    assert refusal(purse, [Output(OTHER, 50_000)], threshold_size=4_000, fee_limit=most) == "fee_too_high"
