"""Units composed from the ingredients of the reference's units are the reference's units, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import Output, Parents, compose
from shared.obyte.keys import KeyPair
from shared.obyte.networks import network_named

CASES = json.loads((Path(__file__).parent / "obyte" / "units.json").read_text())["cases"]
# What a channel wallet never composes: other versions, agents' own units, earned commissions, burning.
FOREIGN = ("older version", "AA response unit", "burn_fee", "headers_commission and witnessing inputs")
# Both its inputs are worth far more than is paid: choosing coins as the reference does, one is enough.
NEEDLESS_INPUT = ("base payment, known address, 2 inputs, 2 parents",)


def is_ours(case: dict[str, Any]) -> bool:
    return not case["name"].startswith(FOREIGN + NEEDLESS_INPUT)


def case_id(case: dict[str, Any]) -> str:
    return f"{case['network']}: {case['name']}"


def payments_of(unit: dict[str, Any], app: str = "payment") -> list[dict[str, Any]]:
    return [message["payload"] for message in unit["messages"] if message["app"] == app]


def coins_for(payload: dict[str, Any], total: int, owner: str) -> list[Coin]:
    """Return the coin at the payload's only input."""
    [spent] = payload["inputs"]
    asset = payload.get("asset", BASE)
    return [Coin(spent["unit"], spent["message_index"], spent["output_index"], owner, asset, total)]


@pytest.mark.parametrize("case", list(filter(is_ours, CASES)), ids=case_id)
def test_the_same_ingredients_make_the_same_unit(case: dict[str, Any]) -> None:
    expected = case["unit"]
    key = KeyPair(bytes.fromhex(case["private_key_hex"]))
    base, *others = sorted(payments_of(expected), key=lambda payload: payload.get("asset", ""))
    fees = case["headers_commission"] + case["payload_commission"] + case["oversize_fee"] + expected["tps_fee"]
    change = (
        case["total_input"]
        - fees
        - sum(output["amount"] for output in base["outputs"] if output["address"] != key.address)
    )
    payments, coins = [], coins_for(base, case["total_input"], key.address)
    changes_left = [change]
    for output in base["outputs"]:
        if output["address"] == key.address and output["amount"] in changes_left:
            changes_left.remove(output["amount"])
        else:
            payments.append(Output(output["address"], output["amount"]))
    for payload in others:
        total = sum(output["amount"] for output in payload["outputs"])
        coins += coins_for(payload, total, key.address)
        payments += [
            Output(output["address"], output["amount"], payload["asset"])
            for output in payload["outputs"]
            if output["address"] != key.address
        ]
    joint = compose(
        network=network_named(case["network"]),
        key=key,
        coins=coins,
        parents=Parents(
            timestamp_s=expected["timestamp"],
            parent_units=tuple(expected["parent_units"]),
            last_ball=expected["last_ball"],
            last_ball_unit=expected["last_ball_unit"],
            last_ball_mci=1,
            tps_fee=expected["tps_fee"],
            count_primary_aa_triggers=1 if "max_aa_responses" in expected else 0,
        ),
        payments=payments,
        messages=[
            {"app": message["app"], "payload": message["payload"]}
            for message in expected["messages"]
            if message["app"] != "payment"
        ],
        include_definition="definition" in expected["authors"][0],
        max_aa_responses=expected.get("max_aa_responses"),
    )
    assert joint.unit == expected
    assert joint.unit_hash == case["unit_hash"]
    assert joint.change == change
