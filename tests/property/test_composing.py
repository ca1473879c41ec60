"""Whatever is composed, no byte is lost: inputs = outputs + change + all fees, and the network would take it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.obyte import units
from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import Joint, Output, Parents, compose, data_message, definition_message
from shared.obyte.errors import CompositionError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET, LIVENET, TESTNET
from shared.obyte.selection import INPUT_SIZE, FeeLimit

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
KEY = KeyPair(hashlib.sha256(b"composer").digest())
OTHERS = [KeyPair(hashlib.sha256(bytes([number])).digest()).address for number in range(4)]


def hash_of(number: int) -> str:
    return b64encode(hashlib.sha256(str(number).encode()).digest()).decode()


ASSETS = [hash_of(-1), hash_of(-2)]
NETWORKS = st.sampled_from([LIVENET, TESTNET, DEVNET])
AMOUNTS = st.one_of(st.integers(1, 3_000), st.integers(1, 10**6), st.integers(1, 10**15))


@st.composite
def coins(draw: st.DrawFn) -> list[Coin]:
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from([BASE, BASE, BASE, *ASSETS]), AMOUNTS, st.booleans(), st.integers(0, 2)),
            max_size=140,
        )
    )
    return [
        Coin(hash_of(number), 0, index, KEY.address, asset, amount, is_stable=is_stable)
        for number, (asset, amount, is_stable, index) in enumerate(drawn)
    ]


@st.composite
def ingredients(draw: st.DrawFn) -> dict[str, Any]:
    data = st.dictionaries(TEXT, st.one_of(st.integers(-(2**53), 2**53), TEXT), min_size=1, max_size=4)
    blob = data_message({"blob": "x" * 12_000})
    definition = definition_message(OTHERS[0], KEY.definition)
    messages = draw(st.lists(st.one_of(st.builds(data_message, data), st.sampled_from([blob, definition])), max_size=2))
    outputs = st.builds(
        Output, st.sampled_from([*OTHERS, KEY.address]), AMOUNTS, st.sampled_from([BASE, BASE, *ASSETS])
    )
    return {
        "network": draw(NETWORKS),
        "coins": draw(coins()),
        "parents": Parents(
            timestamp_s=1_700_000_000,
            parent_units=tuple(sorted(hash_of(1000 + number) for number in range(draw(st.integers(1, 3))))),
            last_ball=hash_of(2000),
            last_ball_unit=hash_of(2001),
            last_ball_mci=5,
            tps_fee=draw(st.integers(0, 5_000)),
            count_primary_aa_triggers=draw(st.integers(0, 1)),
        ),
        "payments": draw(st.lists(outputs, max_size=5)),
        "messages": messages,
        "include_definition": draw(st.booleans()),
        "max_aa_responses": draw(st.sampled_from([None, 1])),
    }


def composed(ingredients: dict[str, Any]) -> Joint | None:
    try:
        return compose(key=KEY, **ingredients)
    except CompositionError as error:
        if error.code not in {"not_enough_funds", "fee_too_high", "bad_output"}:
            raise
        return None


def payments(unit: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = [message["payload"] for message in unit["messages"] if message["app"] == "payment"]
    by_asset = {payload.get("asset", BASE): payload for payload in found}
    assert len(by_asset) == len(found)
    return by_asset


@given(ingredients())
def test_inputs_pay_outputs_change_and_all_fees_exactly(given_to: dict[str, Any]) -> None:
    joint = composed(given_to)
    if joint is None:
        return
    worth = {(coin.unit, coin.message_index, coin.output_index): coin for coin in given_to["coins"]}
    spent: set[tuple[str, int, int]] = set()
    for asset, payload in payments(joint.unit).items():
        inputs = [(item["unit"], item["message_index"], item["output_index"]) for item in payload["inputs"]]
        assert all(worth[outpoint].asset == asset for outpoint in inputs)
        assert not spent.intersection(inputs)
        assert len(set(inputs)) == len(inputs)
        spent.update(inputs)
        paid = sum(output["amount"] for output in payload["outputs"])
        fees = 0
        if asset == BASE:
            unit: Any = joint.unit
            fees = (
                unit["headers_commission"] + unit["payload_commission"] + unit.get("oversize_fee", 0) + unit["tps_fee"]
            )
            assert fees == joint.fees.total
            assert joint.change >= 1
        assert sum(worth[outpoint].amount for outpoint in inputs) == paid + fees
    assert {(coin.unit, coin.message_index, coin.output_index) for coin in joint.spent} == spent


@given(ingredients())
def test_everyone_gets_what_was_ordered_and_the_rest_is_mine(given_to: dict[str, Any]) -> None:
    joint = composed(given_to)
    if joint is None:
        return
    ordered = [(payment.asset, payment.address, payment.amount) for payment in given_to["payments"]]
    for asset, payload in payments(joint.unit).items():
        for output in payload["outputs"]:
            entry = (asset, output["address"], output["amount"])
            if entry in ordered:
                ordered.remove(entry)
            else:
                assert output["address"] == KEY.address
        assert payload["outputs"] == sorted(
            payload["outputs"], key=lambda output: (output["address"], output["amount"])
        )
    assert ordered == []


@given(ingredients())
def test_a_composed_unit_passes_every_check_of_a_unit(given_to: dict[str, Any]) -> None:
    joint = composed(given_to)
    if joint is None:
        return
    network = given_to["network"]
    assert units.check_unit(joint.unit, network, now_s=1_700_000_000) == joint.unit
    units.verify_author_signatures(joint.unit, {KEY.address: KEY.definition}, network)
    fees = joint.fees
    assert fees.headers == units.headers_commission(joint.unit, network)
    assert fees.payload == units.payload_commission(joint.unit, network)
    assert fees.oversize == units.oversize_fee(fees.headers + fees.payload)
    assert ("oversize_fee" in joint.unit) == (fees.oversize > 0)
    assert ("max_aa_responses" in joint.unit) == (
        given_to["max_aa_responses"] is not None and given_to["parents"].count_primary_aa_triggers > 0
    )


@given(ingredients())
def test_composing_again_gives_the_same_unit(given_to: dict[str, Any]) -> None:
    joint = composed(given_to)
    shuffled = {**given_to, "coins": list(reversed(given_to["coins"]))}
    again = composed(shuffled)
    assert (joint and joint.unit) == (again and again.unit)


@given(ingredients())
def test_funds_are_called_insufficient_only_when_they_are(given_to: dict[str, Any]) -> None:
    def attempt(*extra: Coin) -> Joint:
        return compose(key=KEY, fee_limit=FeeLimit(10**9), **{**given_to, "coins": [*given_to["coins"], *extra]})

    def richest(asset: str) -> list[int]:
        return sorted((coin.amount for coin in given_to["coins"] if coin.asset == asset), reverse=True)[:126]

    try:
        attempt()
    except CompositionError as error:
        if error.code != "not_enough_funds":
            return
    else:
        return
    needed = dict.fromkeys((BASE, *ASSETS), 0)
    for payment in given_to["payments"]:
        needed[payment.asset] += payment.amount
    if any(sum(richest(asset)) < needed[asset] for asset in ASSETS):
        return
    fees = attempt(Coin(hash_of(9999), 0, 0, KEY.address, BASE, 8 * 10**15)).fees
    for count in range(1, len(richest(BASE)) + 1):
        size = fees.headers + fees.payload + INPUT_SIZE * (count - 1)
        assert sum(richest(BASE)[:count]) <= needed[BASE] + size + units.oversize_fee(size) + fees.tps
