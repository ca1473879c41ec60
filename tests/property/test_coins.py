"""A wallet's coins depend on what was delivered, not on the order or the number of deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from shared.obyte.coins import CoinSet

ME, PEER = "ME", "PEER"


@dataclass(frozen=True)
class Delivery:
    unit: str
    is_stable: bool
    sequence: Literal["good", "bad"]
    only_news: bool
    """Only the hub's word that the unit became bad, without the unit."""


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[dict[str, dict[str, Any]], list[Delivery]]:
    """Units that spend each other's outputs, some in conflict, and facts about them as a hub tells them."""
    units: dict[str, dict[str, Any]] = {}
    outputs: list[tuple[str, int]] = []
    deliveries = []
    for number in range(draw(st.integers(1, 8))):
        name = f"u{number}"
        spent = draw(st.lists(st.sampled_from(outputs), max_size=2, unique=True)) if outputs else []
        paid = draw(st.lists(st.tuples(st.sampled_from([ME, PEER]), st.integers(1, 100)), min_size=1, max_size=3))
        units[name] = {
            "unit": name,
            "timestamp": number,
            "authors": [{"address": draw(st.sampled_from([ME, PEER])), "authentifiers": {"r": "-"}}],
            "messages": [
                {
                    "app": "payment",
                    "payload": {
                        "inputs": [{"unit": unit, "message_index": 0, "output_index": index} for unit, index in spent],
                        "outputs": [{"address": address, "amount": amount} for address, amount in paid],
                    },
                }
            ],
        }
        outputs += [(name, index) for index in range(len(paid))]
        fate: Literal["good", "bad"] = draw(st.sampled_from(["good", "bad"]))
        possible = [
            Delivery(name, is_stable=False, sequence="good", only_news=False),
            Delivery(name, is_stable=False, sequence="bad", only_news=True),
            Delivery(name, is_stable=True, sequence=fate, only_news=False),
        ]
        deliveries += draw(st.lists(st.sampled_from(possible), max_size=3, unique=True))
    return units, deliveries


def wallet(units: dict[str, dict[str, Any]], deliveries: list[Delivery]) -> CoinSet:
    coins = CoinSet(frozenset({ME}))
    for delivery in deliveries:
        if delivery.only_news:
            coins.mark_bad(delivery.unit)
        else:
            number = int(delivery.unit[1:])
            coins.apply(
                units[delivery.unit],
                is_stable=delivery.is_stable,
                mci=number if delivery.is_stable else None,
                sequence=delivery.sequence,
            )
    return coins


@given(ledgers(), st.randoms(use_true_random=False))
def test_order_and_repetition_of_deliveries_change_nothing(
    ledger: tuple[dict[str, dict[str, Any]], list[Delivery]], random: Any
) -> None:
    units, deliveries = ledger
    again = deliveries + random.choices(deliveries, k=len(deliveries)) if deliveries else []
    random.shuffle(again)
    once, often = wallet(units, deliveries), wallet(units, again)
    assert once.coins() == often.coins()
    assert once.last_stable_mci() == often.last_stable_mci()
    assert set(once.unstable_units()) == set(often.unstable_units())


@given(ledgers())
def test_no_coin_is_spent_twice_or_made_from_nothing(
    ledger: tuple[dict[str, dict[str, Any]], list[Delivery]],
) -> None:
    units, deliveries = ledger
    coins = wallet(units, deliveries)
    outpoints = [coin.outpoint for coin in coins.coins()]
    assert len(outpoints) == len(set(outpoints))
    for coin in coins.coins():
        assert coin.unit in coins
        assert not coins.is_bad(coin.unit)
        output = units[coin.unit]["messages"][0]["payload"]["outputs"][coin.output_index]
        assert output == {"address": ME, "amount": coin.amount}
        for other in units.values():
            spends = any(
                (spent["unit"], spent["output_index"]) == (coin.unit, coin.output_index)
                for spent in other["messages"][0]["payload"]["inputs"]
            )
            assert not spends or other["unit"] not in coins or coins.is_bad(other["unit"])


@given(ledgers())
def test_no_coin_is_forgotten(ledger: tuple[dict[str, dict[str, Any]], list[Delivery]]) -> None:
    units, deliveries = ledger
    coins = wallet(units, deliveries)
    spent = {
        (spent["unit"], spent["output_index"])
        for name, unit in units.items()
        if name in coins and not coins.is_bad(name)
        for spent in unit["messages"][0]["payload"]["inputs"]
    }
    mine = {
        (name, index)
        for name, unit in units.items()
        if name in coins and not coins.is_bad(name)
        for index, output in enumerate(unit["messages"][0]["payload"]["outputs"])
        if output["address"] == ME
    }
    assert {(coin.unit, coin.output_index) for coin in coins.coins()} == mine - spent
