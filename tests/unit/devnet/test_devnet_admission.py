"""Every rule a posted unit is held to, each broken alone."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from devnet.state import RejectedError
from shared.obyte.composing import Output, Parents, data_message
from shared.obyte.units import unit_hash
from tests.devnet_support import Actor, TestChannel

if TYPE_CHECKING:
    from devnet.ledger import Ledger
    from tests.unit.devnet.conftest import Clock


def refusal(ledger: Ledger, joint: Any) -> str:
    with pytest.raises(RejectedError) as refused:
        ledger.post(joint)
    return refused.value.text


def base_payment(unit: dict[str, Any]) -> dict[str, Any]:
    return next(m["payload"] for m in unit["messages"] if m["app"] == "payment" and "asset" not in m["payload"])


def test_good_unit_is_accepted_once(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    joint = alice.compose([Output(bob.address, 1_000)])
    ledger.post(joint)
    assert refusal(ledger, joint) == "known"


def test_fields_that_hubs_add_do_not_matter(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    joint = alice.compose([Output(bob.address, 1_000)])
    joint["unit"] |= {"main_chain_index": 5, "actual_tps_fee": 3}
    ledger.post(joint)


@pytest.mark.parametrize("joint", [None, [], "unit", {}, {"unit": None}, {"unit": []}, {"unit": {"unit": 5}}])
def test_what_is_no_joint_is_refused(ledger: Ledger, joint: Any) -> None:
    assert refusal(ledger, joint) == "no unit"


def test_changed_content_is_refused_by_the_hash(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    joint = alice.compose([Output(bob.address, 1_000)])
    joint["unit"]["timestamp"] -= 1
    assert "hash" in refusal(ledger, joint)


def test_changed_payload_is_refused_by_its_hash(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    joint = alice.compose([Output(bob.address, 1_000)])
    base_payment(joint["unit"])["outputs"][0]["amount"] += 1
    assert "payload_hash" in refusal(ledger, joint)


def test_signature_of_another_key_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["authors"][0]["authentifiers"]["r"] = bob.key.sign(b"\1" * 32)
    unit["unit"] = unit_hash(unit, ledger.network)
    assert refusal(ledger, {"unit": unit}).startswith("authentifier verification failed")


def test_refused_unit_is_known_bad_afterwards(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["outputs"][0]["amount"] += 1
    joint = alice.resigned(unit)
    refusal(ledger, joint)
    assert refusal(ledger, joint) == "known bad"


@pytest.mark.parametrize("field", ["oversize_fee", "headers_commission", "payload"])
def test_unit_spoilt_by_a_stranger_stays_good(ledger: Ledger, alice: Actor, bob: Actor, field: str) -> None:
    joint = alice.compose([Output(bob.address, 1_000)])
    spoilt = copy.deepcopy(joint)
    if field == "payload":
        base_payment(spoilt["unit"])["outputs"][0]["amount"] += 1
    else:
        spoilt["unit"][field] = 7
    refusal(ledger, spoilt)
    ledger.post(joint)


def test_money_from_nowhere_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["outputs"][0]["amount"] += 1
    assert refusal(ledger, alice.resigned(unit)).startswith("inputs and outputs do not balance")


def test_money_lost_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["outputs"][0]["amount"] -= 1
    assert refusal(ledger, alice.resigned(unit)).startswith("inputs and outputs do not balance")


def test_understated_commission_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["payload_commission"] -= 1
    base_payment(unit)["outputs"][-1]["amount"] += 1
    assert "payload_commission" in refusal(ledger, alice.resigned(unit, fees=False))


def test_money_of_others_cannot_be_spent(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    coin = bob.coins()[0]
    base_payment(unit)["inputs"] = [
        {"unit": coin.unit, "message_index": coin.message_index, "output_index": coin.output_index}
    ]
    assert refusal(ledger, alice.resigned(unit)) == "output owner is not among authors"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"unit": "A" * 43 + "="}, "not found"),
        ({"output_index": 99}, "not found"),
        ({"message_index": 99}, "not found"),
        ({"amount": 5}, "unknown fields"),
    ],
)
def test_inputs_must_be_there(ledger: Ledger, alice: Actor, bob: Actor, change: dict[str, Any], text: str) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["inputs"][0] |= change
    assert text in refusal(ledger, alice.resigned(unit))


def test_one_coin_cannot_be_spent_twice_in_a_unit(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    payment = base_payment(unit)
    payment["inputs"].append(dict(payment["inputs"][0]))
    assert "already used" in refusal(ledger, alice.resigned(unit))


def test_spent_coin_cannot_be_spent_again_further_up(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    coins = alice.coins()
    alice.pay(bob.address, 1_000)
    assert "conflicting" in refusal(ledger, alice.compose([Output(bob.address, 2_000)], coins=coins))


@pytest.mark.parametrize("kind", ["headers_commission", "witnessing"])
def test_nothing_is_earned_on_this_ledger(ledger: Ledger, alice: Actor, bob: Actor, kind: str) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["inputs"].append({"type": kind, "from_main_chain_index": 0, "to_main_chain_index": 1})
    assert refusal(ledger, alice.resigned(unit)) == f"zero {kind} commission"


def test_bytes_cannot_be_issued(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["inputs"][0] = {"type": "issue", "serial_number": 1, "amount": 10**15}
    assert refusal(ledger, alice.resigned(unit)) == "only genesis can issue base asset"


def test_unsorted_outputs_are_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    base_payment(unit)["outputs"].reverse()
    assert "not sorted" in refusal(ledger, alice.resigned(unit))


def test_second_base_payment_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["messages"].insert(0, copy.deepcopy(unit["messages"][0]))
    assert refusal(ledger, alice.resigned(unit)) == "can have only one base payment"


def test_unit_without_base_payment_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)], [data_message({"a": 1})])["unit"]
    unit["messages"] = [message for message in unit["messages"] if message["app"] == "data"]
    assert refusal(ledger, alice.resigned(unit)) == "no base payment message"


def test_fee_for_arrival_must_be_paid(ledger: Ledger, alice: Actor, bob: Actor, channel: TestChannel) -> None:
    channel.open()
    offer = alice.parents([channel.address])
    assert offer.tps_fee > 0
    cheap = Parents(
        offer.timestamp_s, offer.parent_units, offer.last_ball, offer.last_ball_unit, offer.last_ball_mci, 0, 1
    )
    assert refusal(ledger, alice.compose([Output(channel.address, 20_000)], parents=cheap)).startswith("tps_fee 0")


def test_oversize_fee_must_be_exact(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)], [data_message({"long": "x" * 12_000})])["unit"]
    assert unit["oversize_fee"] > 0
    unit["oversize_fee"] -= 1
    base_payment(unit)["outputs"][-1]["amount"] += 1
    assert refusal(ledger, alice.resigned(unit)).startswith("oversize_fee mismatch")


def test_unit_without_tps_fee_is_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    del unit["tps_fee"]
    assert refusal(ledger, alice.resigned(unit)) == "no tps_fee field"


@pytest.mark.parametrize("version", ["1.0dev", "2.0dev", "3.0dev", "4.0", "5.0dev"])
def test_other_versions_are_refused(ledger: Ledger, alice: Actor, bob: Actor, version: str) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["version"] = version
    assert "version" in refusal(ledger, alice.resigned(unit))


def test_unit_from_the_future_is_refused_but_not_for_ever(
    ledger: Ledger, alice: Actor, bob: Actor, clock: Clock
) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["timestamp"] = int(ledger.now_s()) + 6
    joint = alice.resigned(unit)
    assert "future" in refusal(ledger, joint)
    clock.now_s += 1
    ledger.post(joint)


def test_timestamp_must_not_go_back(ledger: Ledger, alice: Actor, bob: Actor, clock: Clock) -> None:
    clock.now_s += 10
    ledger.advance()
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["timestamp"] -= 1
    assert "timestamp decreased" in refusal(ledger, alice.resigned(unit))


def test_unknown_parents_may_become_known(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["parent_units"] = ["A" * 43 + "="]
    joint = alice.resigned(unit)
    assert refusal(ledger, joint) == "unknown parents"
    assert refusal(ledger, joint) == "unknown parents"


def test_related_parents_are_refused(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    newest, before = ledger.state.dag.main_chain[-1].hash, ledger.state.dag.main_chain[-2].hash
    unit["parent_units"] = sorted([newest, before])
    assert "related" in refusal(ledger, alice.resigned(unit))


def test_last_ball_must_be_stable_for_the_parents(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    record = ledger.state.dag.main_chain[-1]
    unit["last_ball_unit"] = record.hash
    assert "is not stable in view of your parents" in refusal(ledger, alice.resigned(unit))


@pytest.mark.parametrize("behind", [1, 2, 4])
def test_last_ball_stable_for_us_is_not_stable_for_old_parents(
    ledger: Ledger, alice: Actor, bob: Actor, behind: int
) -> None:
    old = alice.parents()
    for _ in range(behind):
        ledger.advance()
    new = alice.parents()
    parents = Parents(
        new.timestamp_s, old.parent_units, new.last_ball, new.last_ball_unit, new.last_ball_mci, new.tps_fee
    )
    joint = alice.compose([Output(bob.address, 1_000)], parents=parents)
    assert "is not stable in view of your parents" in refusal(ledger, joint)


def test_fresh_coin_must_be_in_the_past_of_its_spender(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    parents = bob.parents()
    paid = alice.pay(bob.address, 500_000)
    coins = [coin for coin in bob.coins() if coin.unit == paid.hash]
    joint = bob.compose([Output(alice.address, 1_000)], coins=coins, parents=parents)
    assert refusal(ledger, joint) == f"input {paid.hash} is not in your genes"


def test_last_ball_must_not_retreat(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    genesis = ledger.state.dag.main_chain[0]
    unit |= {"last_ball_unit": genesis.hash, "last_ball": genesis.ball}
    text = refusal(ledger, alice.resigned(unit))
    assert text == "last ball mci must not retreat"


def test_last_ball_must_match_its_unit(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["last_ball"] = ledger.state.dag.main_chain[0].ball
    assert "do not match" in refusal(ledger, alice.resigned(unit))


def test_new_address_must_disclose_its_definition(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    del unit["authors"][0]["definition"]
    assert "not found before last ball" in refusal(ledger, alice.resigned(unit))


def test_definition_is_repeated_until_it_is_stable_and_never_after(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    alice.pay(bob.address, 1_000)
    second = alice.compose([Output(bob.address, 1_000)])
    assert "definition" in second["unit"]["authors"][0]
    ledger.post(second)
    ledger.settle()
    third = alice.compose([Output(bob.address, 1_000)])["unit"]
    assert "definition" not in third["authors"][0]
    third["authors"][0]["definition"] = alice.key.definition
    assert refusal(ledger, alice.resigned(third)).startswith("duplicate definition of address")


def test_only_one_agent_may_be_triggered(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    one, two = TestChannel(ledger, alice, bob), TestChannel(ledger, alice, bob, salt="other")
    one.open()
    two.open()
    joint = alice.compose([Output(one.address, 20_000), Output(two.address, 20_000)])
    assert refusal(ledger, joint).startswith("more than 1 primary AA trigger")


def test_agent_takes_one_output_per_asset(ledger: Ledger, alice: Actor, channel: TestChannel) -> None:
    channel.open()
    joint = alice.compose([Output(channel.address, 20_000), Output(channel.address, 30_000)])
    assert refusal(ledger, joint).startswith("more than 1 output to the same AA")


def test_max_aa_responses_needs_an_agent(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["max_aa_responses"] = 1
    assert refusal(ledger, alice.resigned(unit)).startswith("no outputs to AAs")


def test_agents_do_not_sign(ledger: Ledger, alice: Actor, bob: Actor, channel: TestChannel) -> None:
    channel.open()
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    unit["authors"][0]["address"] = channel.address
    unit["authors"][0].pop("definition", None)
    assert refusal(ledger, alice.resigned(unit)) == "will not validate unit signed by AA"


@pytest.mark.parametrize(
    "message",
    [
        {"app": "poll", "payload": {"question": "?", "choices": ["a"]}},
        {"app": "text", "payload": 5},
        {"app": "data", "payload": "text"},
        {"app": "data_feed", "payload": {"a": 1.5}},
        {"app": "data_feed", "payload": {"a" * 65: 1}},
        {"app": "asset", "payload": {"cap": 5, "is_private": True}},
        {"app": "definition", "payload": {"address": "A" * 32, "definition": ["autonomous agent", {"messages": [1]}]}},
    ],
)
def test_messages_this_ledger_does_not_know_are_refused(
    ledger: Ledger, alice: Actor, bob: Actor, message: dict[str, Any]
) -> None:
    refusal(ledger, alice.compose([Output(bob.address, 1_000)], [message]))


@pytest.mark.parametrize(
    "change",
    [
        {"timeout": "1000"},
        {"timeout": 1.5},
        {"addressA": "nobody"},
        {"asset": "bytes"},
        {"extra": 1},
    ],
)
def test_malformed_channels_are_refused(
    ledger: Ledger, alice: Actor, channel: TestChannel, change: dict[str, Any]
) -> None:
    from shared.obyte.addresses import definition_address  # noqa: PLC0415
    from shared.obyte.agents import channel_definition  # noqa: PLC0415

    definition: Any = channel_definition(alice.address, channel.b.address, "base", 1000, "salt")
    definition[1]["params"] |= change
    message = {"app": "definition", "payload": {"address": definition_address(definition), "definition": definition}}
    assert "channel" in refusal(ledger, alice.compose([], [message]))


def test_unknown_assets_cannot_be_paid(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    unit = alice.compose([Output(bob.address, 1_000)])["unit"]
    payment = copy.deepcopy(unit["messages"][0])
    payment["payload"]["asset"] = "A" * 43 + "="
    unit["messages"].append(payment)
    assert "not found before last ball" in refusal(ledger, alice.resigned(unit))
