"""Whatever is ordered of the wallet, the unit it makes balances, keeps to the limits and leaves what it must."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.obyte import units
from shared.obyte.coins import BASE, CoinSet
from shared.obyte.composing import Joint, Output, Parents, data_message
from shared.obyte.errors import CompositionError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from worker.wallet import Purpose, Spending, UnitOrder, Urgency
from worker.wallet.making import Circumstances, Maker
from worker.wallet.spending import DEFENCE_SHARE

KEY = KeyPair(hashlib.sha256(b"wallet").digest())
OTHER = KeyPair(hashlib.sha256(b"other").digest()).address
THRESHOLD = 2_000
MCI = 100


def hash_of(name: object) -> str:
    return b64encode(hashlib.sha256(str(name).encode()).digest()).decode()


GOLD = hash_of("gold")
AMOUNTS = st.one_of(st.integers(1, 3_000), st.integers(1, 10**6), st.integers(1, 10**12))


class Silent:
    """A session that says what the system variables are, and alarms that nobody needs."""

    def threshold_size(self, _mci: int) -> int:
        return THRESHOLD


@dataclass(frozen=True)
class Situation:
    coins: CoinSet
    spending: Spending
    order: UnitOrder
    parents: Parents
    disputed: frozenset[str]


async def always(_: Any) -> bool:
    return True


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    coins = CoinSet(frozenset({KEY.address}))
    authors = st.sampled_from([OTHER, KEY.address])
    outputs = st.tuples(st.sampled_from([BASE, BASE, GOLD]), AMOUNTS, authors, st.booleans())
    names = []
    for number, (asset, amount, author, is_stable) in enumerate(draw(st.lists(outputs, max_size=150))):
        payload: dict[str, Any] = {"inputs": [], "outputs": [{"address": KEY.address, "amount": amount}]}
        names.append(hash_of(number))
        unit: dict[str, Any] = {
            "unit": names[-1],
            "timestamp": 1_000,
            "authors": [{"address": author, "authentifiers": {"r": "-"}}],
            "messages": [{"app": "payment", "payload": payload if asset == BASE else {**payload, "asset": asset}}],
        }
        coins.apply(unit, is_stable=is_stable, mci=draw(st.sampled_from([5, MCI + 1])) if is_stable else None)
    sends_all = draw(st.booleans())
    payment = st.builds(Output, st.just(OTHER), AMOUNTS, st.sampled_from([BASE, GOLD]))
    order = UnitOrder(
        purpose=Purpose("test"),
        payments=tuple(draw(st.lists(payment, max_size=1 if sends_all else 3))),
        messages=tuple(
            data_message({"blob": "x" * size}) for size in draw(st.lists(st.integers(1, 4_000), max_size=1))
        ),
        is_wanted=always,
        policy=draw(st.sampled_from(["none", "own", "all"])),
        urgency=draw(st.sampled_from(Urgency)),
        at_stake=draw(st.sampled_from([None, 0, 5_000, 10**6])),
        sends_all=sends_all,
    )
    return Situation(
        coins,
        Spending(
            reserve=draw(st.sampled_from([0, 10_000, 200_000])),
            max_fee_ratio=draw(st.sampled_from([0.5, 100.0])),
            max_fee=draw(st.sampled_from([None, 3_000])),
        ),
        order,
        Parents(
            1_000,
            (hash_of("parent"),),
            hash_of("ball"),
            hash_of("last ball unit"),
            MCI,
            tps_fee=draw(st.sampled_from([0, 1, 900, 60_000])),
            count_primary_aa_triggers=draw(st.integers(0, 1)),
        ),
        frozenset(draw(st.lists(st.sampled_from(names), max_size=2))) if names else frozenset(),
    )


def make(given_to: Situation) -> Joint | str:
    """Make the unit that was ordered, or say why not."""
    silent: Any = Silent()
    maker = Maker(silent, KEY, DEVNET, given_to.coins, given_to.spending, silent, lambda: 1_000.0)
    maker.disputed |= given_to.disputed
    try:
        return maker._compose(given_to.order, given_to.parents, Circumstances())
    except CompositionError as error:
        if error.code not in {"not_enough_funds", "reserve_needed", "fee_too_high", "bad_output"}:
            raise
        return error.code


@given(situations())
def test_every_unit_balances_and_pays_the_fees_that_the_network_recomputes(given_to: Situation) -> None:
    joint = make(given_to)
    if isinstance(joint, str):
        return
    unit: Any = units.check_unit(joint.unit, DEVNET, now_s=1_000)
    size = units.headers_commission(unit, DEVNET), units.payload_commission(unit, DEVNET)
    assert size == (unit["headers_commission"], unit["payload_commission"])
    assert unit.get("oversize_fee", 0) == units.oversize_fee(sum(size), THRESHOLD)
    assert unit["tps_fee"] == given_to.parents.tps_fee
    assert ("max_aa_responses" in unit) == (given_to.parents.count_primary_aa_triggers > 0)
    assert "burn_fee" not in unit
    worth = {coin.outpoint: coin for coin in given_to.coins.coins()}
    spent = [worth[coin.outpoint] for coin in joint.spent]
    assert len(set(spent)) == len(spent)
    for asset in (BASE, GOLD):
        paid = [
            output
            for message in unit["messages"]
            if message["app"] == "payment" and message["payload"].get("asset", BASE) == asset
            for output in message["payload"]["outputs"]
        ]
        fees = sum(size) + unit.get("oversize_fee", 0) + unit["tps_fee"] if asset == BASE else 0
        assert sum(coin.amount for coin in spent if coin.asset == asset) == sum(o["amount"] for o in paid) + fees
        assert all(output["amount"] > 0 for output in paid)
        ordered = sum(payment.amount for payment in given_to.order.payments if payment.asset == asset)
        received = sum(output["amount"] for output in paid if output["address"] == OTHER)
        assert received == ordered or (given_to.order.sends_all and received > 0)


@given(situations())
def test_no_unit_costs_more_than_it_may_and_routine_leaves_the_reserve(given_to: Situation) -> None:
    joint = make(given_to)
    if isinstance(joint, str):
        return
    order, spending = given_to.order, given_to.spending
    usual = min(
        spending.max_fee_ratio * (joint.fees.headers + joint.fees.payload),
        10**18 if spending.max_fee is None else spending.max_fee,
    )
    stake = spending.reserve if order.at_stake is None else order.at_stake
    granted = stake // DEFENCE_SHARE if order.urgency is Urgency.DEFENCE else 0
    assert joint.fees.oversize + joint.fees.tps <= max(usual, granted)
    given_to.coins.apply(joint.unit, is_stable=False)
    left = sum(coin.amount for coin in given_to.coins.spendable(BASE, "own"))
    assert left >= 1
    assert order.urgency is not Urgency.ROUTINE or left >= spending.reserve


@given(situations())
def test_only_coins_that_may_be_spent_are_spent(given_to: Situation) -> None:
    joint = make(given_to)
    if isinstance(joint, str):
        return
    policy = "all" if given_to.order.urgency is Urgency.DEFENCE else given_to.order.policy
    for coin in joint.spent:
        allowed = given_to.coins.spendable(coin.asset, policy, last_ball_mci=MCI)
        assert coin in allowed
        assert coin.unit not in given_to.disputed
    foreign = [coin for coin in joint.spent if not coin.is_stable and not coin.author_is_mine]
    if foreign and not given_to.order.sends_all:
        # Others' unconfirmed coins are the last resort: without them there is no such unit.
        urgency = Urgency.ROUTINE if given_to.order.urgency is Urgency.ROUTINE else Urgency.SETTLING
        careful = replace(given_to, order=replace(given_to.order, policy="own", urgency=urgency))
        assert isinstance(make(careful), str)


@given(situations())
def test_sending_all_leaves_the_reserve_and_no_more(given_to: Situation) -> None:
    order = given_to.order
    joint = make(given_to)
    if isinstance(joint, str) or not order.sends_all or not order.payments:
        return
    asset = order.payments[0].asset
    purse = [
        coin
        for coin in given_to.coins.spendable(asset, "all" if order.policy == "all" else order.policy, last_ball_mci=MCI)
        if coin.unit not in given_to.disputed
    ]
    if len(purse) > 126 or order.policy == "all" or order.urgency is Urgency.DEFENCE:
        return
    if asset == GOLD:
        assert sum(coin.amount for coin in joint.spent if coin.asset == GOLD) == sum(coin.amount for coin in purse)
        return
    reserve = given_to.spending.reserve if order.urgency is Urgency.ROUTINE else 0
    assert {coin.outpoint for coin in joint.spent} == {coin.outpoint for coin in purse}
    assert joint.change == max(1, reserve)
