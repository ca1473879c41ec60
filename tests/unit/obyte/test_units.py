from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shared.obyte.addresses import definition_address
from shared.obyte.errors import UnitError
from shared.obyte.hashing import base64_hash
from shared.obyte.networks import DEVNET, LIVENET
from shared.obyte.units import (
    check_joint,
    check_unit,
    headers_commission,
    message_payload_hash,
    oversize_fee,
    payload_commission,
    payload_hash,
    strip_hub_fields,
    unit_hash,
    unit_hash_to_sign,
    verify_author_signatures,
)
from tests.unit.obyte.unit_builders import ADDRESS, HASH, KEY, NOW_S, OTHER, new_unit, payment, sealed


def code_of(unit: Any, **options: Any) -> str:
    with pytest.raises(UnitError) as refusal:
        check_unit(unit, LIVENET, **options)
    return refusal.value.code


def changed(**fields: Any) -> dict[str, Any]:
    return sealed(new_unit() | fields)


def without(*names: str) -> dict[str, Any]:
    return sealed({name: value for name, value in new_unit().items() if name not in names})


def with_payload(app: str, payload: Any) -> dict[str, Any]:
    return changed(messages=[{"app": app, "payload_location": "inline", "payload": payload}])


def paying(**fields: Any) -> dict[str, Any]:
    return with_payload("payment", payment() | fields)


def with_author(**fields: Any) -> dict[str, Any]:
    return changed(authors=[new_unit()["authors"][0] | fields])


def test_an_honest_unit_passes_and_its_signature_holds() -> None:
    unit = new_unit()
    assert check_unit(unit, LIVENET, now_s=NOW_S) == unit
    verify_author_signatures(unit, {}, LIVENET)


def test_a_unit_may_be_from_the_near_future_only() -> None:
    check_unit(new_unit(), LIVENET, now_s=NOW_S - 5)
    assert code_of(new_unit(), now_s=NOW_S - 5.5) == "timestamp_in_future"
    check_unit(new_unit(), LIVENET)


def test_what_a_hub_adds_is_stripped() -> None:
    unit = new_unit()
    delivered = unit | {"main_chain_index": 5, "actual_tps_fee": 1.5}
    assert strip_hub_fields(delivered) == check_unit(delivered, LIVENET) == unit


@pytest.mark.parametrize("unit", [None, [], "x", 1, True])
def test_a_unit_must_be_an_object(unit: Any) -> None:
    assert code_of(unit) == "not_an_object"


@pytest.mark.parametrize("value", ["x", None, HASH, 1])
def test_the_hash_must_be_that_of_the_content(value: Any) -> None:
    assert code_of(new_unit() | {"unit": value}) in {"invalid_unit", "wrong_unit_hash"}


def test_any_change_of_the_content_changes_the_hash() -> None:
    other_hash = base64_hash("other")
    changes = {"timestamp": 7, "tps_fee": 7, "parent_units": [other_hash], "last_ball": other_hash, "burn_fee": 1}
    for name, value in changes.items():
        assert code_of(new_unit() | {name: value}) == "wrong_unit_hash"


def test_a_payload_cannot_be_exchanged() -> None:
    unit = new_unit()
    unit["messages"][0]["payload"]["outputs"][0]["amount"] += 1
    assert code_of(unit) == "wrong_payload_hash"


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        (changed(version="4.0t"), "wrong_version"),
        (changed(version=4), "wrong_version"),
        (changed(alt="2"), "wrong_alt"),
        (changed(alt=1), "wrong_alt"),
        (changed(extra=1), "unknown_fields"),
        (changed(content_hash=HASH), "unknown_fields"),
        (changed(timestamp=0), "invalid_timestamp"),
        (changed(timestamp=1.5), "invalid_timestamp"),
        (changed(timestamp=True), "invalid_timestamp"),
        (changed(timestamp="1"), "invalid_timestamp"),
        (changed(parent_units="x"), "invalid_parent_units"),
        (changed(parent_units=[1]), "invalid_parent_units"),
        (changed(parent_units=["x"]), "invalid_parent_units"),
        (changed(parent_units=[HASH] * 17), "invalid_parent_units"),
        (without("parent_units"), "invalid_parent_units"),
        (changed(last_ball="x"), "invalid_last_ball"),
        (changed(last_ball_unit=1), "invalid_last_ball_unit"),
        (changed(witnesses=[ADDRESS], witness_list_unit=HASH), "ambiguous_witnesses"),
        (changed(authors=[]), "empty_array"),
        (changed(authors=new_unit()["authors"] * 2), "unsorted_authors"),
        (changed(authors=new_unit()["authors"] * 17), "invalid_authors"),
        (with_author(address="x"), "invalid_authors"),
        (with_author(extra="x"), "invalid_authors"),
        (with_author(authentifiers={"r": 1}), "invalid_authors"),
        (with_author(authentifiers={"r": ""}), "invalid_authors"),
        (with_author(authentifiers={"r": "A" * 4097}), "invalid_authors"),
        (with_author(authentifiers="x"), "invalid_authors"),
        (changed(tps_fee=-1), "invalid_tps_fee"),
        (changed(tps_fee=1.5), "invalid_tps_fee"),
        (changed(oversize_fee=0), "invalid_oversize_fee"),
        (changed(burn_fee=0), "invalid_burn_fee"),
        (changed(max_aa_responses=11), "invalid_max_aa_responses"),
        (changed(max_aa_responses=True), "invalid_max_aa_responses"),
        (without("messages"), "invalid_messages"),
        (changed(messages=[]), "empty_array"),
        (changed(messages=new_unit()["messages"] * 129), "invalid_messages"),
        (new_unit() | {"headers_commission": 1}, "wrong_headers_commission"),
        (new_unit() | {"payload_commission": 1}, "wrong_payload_commission"),
        (new_unit() | {"headers_commission": "1"}, "invalid_headers_commission"),
        (new_unit() | {"payload_commission": None}, "invalid_payload_commission"),
        (changed(messages=[{"app": 1, "payload_location": "none", "payload_hash": HASH}]), "invalid_message"),
        (changed(messages=[{"app": "x", "payload_location": "x", "payload_hash": HASH}]), "invalid_message"),
        (changed(messages=[{"app": "x", "payload_location": ["x"], "payload_hash": HASH}]), "invalid_message"),
        (changed(messages=[{"app": "x", "payload_location": "inline", "payload_hash": HASH}]), "invalid_message"),
        (changed(messages=[{"app": "x", "payload_location": "none", "payload_hash": "x"}]), "invalid_payload_hash"),
        (changed(messages=[{"app": "x", "payload_location": "none", "payload": 1}]), "invalid_message"),
        (with_payload("payment", "x"), "invalid_payment"),
        (paying(asset="base"), "invalid_payment"),
        (paying(inputs="x"), "invalid_inputs"),
        (paying(inputs=payment()["inputs"] * 129), "invalid_payment"),
        (paying(outputs=payment()["outputs"] * 129), "invalid_payment"),
        (paying(inputs=[{"type": "transfer"}]), "invalid_payment"),
        (paying(inputs=[{"unit": "x", "message_index": 0, "output_index": 0}]), "invalid_unit"),
        (paying(inputs=[{"unit": HASH, "message_index": -1, "output_index": 0}]), "invalid_message_index"),
        (paying(inputs=[{"unit": HASH, "message_index": 0}]), "invalid_output_index"),
        (paying(outputs=[{"address": "x", "amount": 1}]), "invalid_payment"),
        (paying(outputs=[{"address": ADDRESS, "amount": 9 * 10**15 + 1}]), "invalid_payment"),
        *(
            (paying(outputs=[{"address": ADDRESS, "amount": amount}]), "invalid_amount")
            for amount in (0, -1, 1.5, "1", True)
        ),
    ],
)
def test_a_unit_that_breaks_a_rule_is_refused(unit: Any, code: str) -> None:
    assert code_of(unit) == code


@pytest.mark.parametrize(
    "unit",
    [
        changed(max_aa_responses=0),
        changed(max_aa_responses=10, burn_fee=1, oversize_fee=1),
        changed(messages=[{"app": "payment", "payload_location": "none", "payload_hash": HASH}]),
        with_payload("text", "hello"),
        with_payload("anything new", {"a": [1.5, True]}),
        paying(asset=HASH),
        paying(inputs=[{"type": "witnessing", "from_main_chain_index": 1, "to_main_chain_index": 2}]),
        paying(outputs=[{"address": ADDRESS, "amount": 9 * 10**15}]),
        changed(version="3.0", witness_list_unit=HASH),
        changed(version="2.0", witnesses=[ADDRESS]),
    ],
)
def test_what_the_rules_allow_passes(unit: Any) -> None:
    assert check_unit(unit, LIVENET) == unit


def test_an_agent_may_spend_any_number_of_coins_at_once() -> None:
    """Whoever sends an agent many coins must not stop those who watch it: the network takes its answers."""
    unit = paying(inputs=payment()["inputs"] * 500)
    assert code_of(unit) == "invalid_payment"
    answer = sealed({**unit, "authors": [{"address": ADDRESS}]})
    assert check_unit(answer, LIVENET) == answer
    crowded = sealed({**answer, "messages": paying(inputs=payment()["inputs"] * 2_500)["messages"]})
    assert code_of(crowded) == "too_many_nodes"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_nesting_and_size_are_bounded() -> None:
    # The unit, messages, the message and payload are four levels, and a value inside counts as one.
    check_unit(with_payload("data", nested(95)), LIVENET)
    assert code_of(new_unit() | {"extra": nested(99)}) == "too_deep"
    assert code_of(new_unit() | {"extra": nested(100_000)}) == "too_deep"
    assert code_of(new_unit() | {"extra": [1] * 10_000}) == "too_many_nodes"
    check_unit(with_payload("data", {"a": [1] * 9_900}), LIVENET)
    assert code_of(with_payload("text", "x" * 5_000_000)) == "unit_too_large"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udc00x", "\ud83d\ude00"])
def test_strings_and_keys_must_be_well_formed(text: str) -> None:
    assert code_of(new_unit() | {"extra": [text]}) == "malformed_string"
    assert code_of(new_unit() | {"extra": {text: 1}}) == "malformed_string"


def test_the_genesis_unit_of_the_network_has_no_parents() -> None:
    genesis = without("parent_units", "last_ball", "last_ball_unit", "tps_fee")
    network = dataclasses.replace(LIVENET, genesis_unit=genesis["unit"])
    assert check_unit(genesis, network) == genesis
    child = new_unit()
    with pytest.raises(UnitError) as refusal:
        check_unit(child, dataclasses.replace(LIVENET, genesis_unit=child["unit"]))
    assert refusal.value.code == "invalid_parent_units"


@pytest.mark.parametrize(
    ("joint", "code"),
    [
        (None, "not_an_object"),
        ({}, "not_an_object"),
        ({"unit": new_unit(), "extra": 1}, "unknown_fields"),
        ({"unit": new_unit(), "ball": "x"}, "invalid_ball"),
        ({"unit": new_unit(), "ball": HASH, "skiplist_units": []}, "invalid_skiplist_units"),
        ({"unit": new_unit(), "ball": HASH, "skiplist_units": ["x"]}, "invalid_skiplist_units"),
        ({"unit": new_unit() | {"tps_fee": 7}}, "wrong_unit_hash"),
    ],
)
def test_a_malformed_joint_is_refused(joint: Any, code: str) -> None:
    with pytest.raises(UnitError) as refusal:
        check_joint(joint, LIVENET)
    assert refusal.value.code == code


def test_a_joint_may_carry_its_ball_and_skiplist() -> None:
    unit = new_unit()
    assert check_joint({"unit": unit, "ball": HASH, "skiplist_units": [HASH] * 20}, LIVENET) == unit


def signature_code(unit: Any, definitions: Any) -> str:
    with pytest.raises(UnitError) as refusal:
        verify_author_signatures(unit, definitions, LIVENET)
    return refusal.value.code


def test_a_known_definition_verifies_with_and_without_being_repeated() -> None:
    known = {ADDRESS: KEY.definition}
    verify_author_signatures(new_unit(), known, LIVENET)
    silent = new_unit()
    del silent["authors"][0]["definition"]
    silent["authors"][0]["authentifiers"]["r"] = KEY.sign(unit_hash_to_sign(silent, LIVENET))
    verify_author_signatures(silent, known, LIVENET)
    assert signature_code(silent, {}) == "unknown_definition"
    assert signature_code(silent, {ADDRESS: OTHER.definition}) == "bad_signature"
    assert signature_code(new_unit(), {ADDRESS: OTHER.definition}) == "wrong_definition"


def test_a_disclosed_definition_must_be_that_of_the_address() -> None:
    assert signature_code(with_author(definition=OTHER.definition), {}) == "wrong_definition"
    assert signature_code(with_author(definition=["sig", {}]), {}) == "empty_object"


def test_a_signature_over_other_content_is_wrong() -> None:
    assert signature_code(changed(tps_fee=7), {}) == "bad_signature"
    assert signature_code(changed(unknown=7), {}) == "bad_signature"


def test_unsigned_and_stripped_units_have_no_signature_to_verify() -> None:
    assert signature_code(changed(authors=[{"address": ADDRESS}]), {}) == "not_signed"
    assert signature_code(changed(authors=[{"address": ADDRESS, "authentifiers": {}}]), {}) == "not_signed"
    assert signature_code({"content_hash": HASH}, {}) == "stripped_unit"
    assert signature_code({}, {}) == "invalid_authors"


def test_every_author_must_have_signed() -> None:
    keys = sorted([KEY, OTHER], key=lambda key: key.address)
    unit = new_unit()
    unit["authors"] = [{"address": key.address, "definition": key.definition} for key in keys]
    digest = unit_hash_to_sign(unit, LIVENET)
    for author, key in zip(unit["authors"], keys, strict=True):
        author["authentifiers"] = {"r": key.sign(digest)}
    verify_author_signatures(unit, {}, LIVENET)
    unit["authors"][1]["authentifiers"] = {"r": keys[0].sign(digest)}
    assert signature_code(unit, {}) == "bad_signature"


def test_a_multisignature_address_authors_a_unit() -> None:
    definition: Any = ["r of set", {"required": 1, "set": [KEY.definition, OTHER.definition]}]
    unit = new_unit()
    unit["authors"] = [{"address": definition_address(definition), "definition": definition}]
    unit["authors"][0]["authentifiers"] = {"r.1": OTHER.sign(unit_hash_to_sign(unit, LIVENET))}
    verify_author_signatures(unit, {}, LIVENET)


def test_the_data_of_temporary_data_is_neither_hashed_nor_charged_in_full() -> None:
    data = {"a": "x" * 96}
    message: Any = {
        "app": "temp_data",
        "payload_location": "inline",
        "payload": {"data_length": 97, "data_hash": HASH, "data": data},
    }
    forgotten = message | {"payload": {"data_length": 97, "data_hash": HASH}}
    assert message_payload_hash(message) == message_payload_hash(forgotten) == payload_hash(forgotten["payload"])
    kept, pruned = (sealed(new_unit() | {"messages": [each]}) for each in (message, forgotten))
    assert kept["unit"] == pruned["unit"]
    charged_in_full = payload_commission({"version": "4.0", "messages": [forgotten | {"app": "temp_dat_"}]}, LIVENET)
    assert kept["payload_commission"] == pruned["payload_commission"]
    assert payload_commission({"version": "4.0", "messages": [message]}, LIVENET) == charged_in_full + 51
    assert check_unit(kept, LIVENET) == kept


@pytest.mark.parametrize("function", [headers_commission, payload_commission])
def test_a_stripped_unit_has_no_size(function: Any) -> None:
    with pytest.raises(UnitError) as refusal:
        function({"content_hash": HASH}, LIVENET)
    assert refusal.value.code == "stripped_unit"


def test_the_placeholder_of_a_signature_is_charged_like_the_signature() -> None:
    unit = new_unit()
    signed = headers_commission(unit, LIVENET)
    unit["authors"][0]["authentifiers"]["r"] = "-" * 88
    assert headers_commission(unit, LIVENET) == signed


@pytest.mark.parametrize("missing", ["version", "alt", "timestamp", "authors", "last_ball"])
def test_a_unit_with_a_part_missing_has_no_hash(missing: str) -> None:
    with pytest.raises(UnitError):
        unit_hash({name: value for name, value in new_unit().items() if name != missing}, LIVENET)


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_senseless_threshold_is_refused(threshold: int) -> None:
    with pytest.raises(UnitError) as refusal:
        oversize_fee(1, threshold)
    assert refusal.value.code == "invalid_threshold"


def test_a_fee_beyond_all_money_is_refused() -> None:
    with pytest.raises(UnitError) as refusal:
        oversize_fee(5_000_000, 1)
    assert refusal.value.code == "unit_too_large"


def test_a_unit_belongs_to_one_network() -> None:
    with pytest.raises(UnitError):
        check_unit(new_unit(), DEVNET)
