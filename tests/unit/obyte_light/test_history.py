"""Forgeries beyond the recorded ones: what a hub may try with an otherwise valid proof."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.obyte import units
from shared.obyte.errors import HistoryProofError
from shared.obyte.history import CLOCK_TOLERANCE_S, MAX_JOINTS, prove_history
from shared.obyte.networks import DEVNET, Network

VECTORS = Path(__file__).parents[2] / "vectors" / "obyte"
CASES = json.loads((VECTORS / "history_proofs.json").read_text())["cases"]
CASE = next(case for case in CASES if case["network"] == "devnet" and case["name"] == "with aa_responses")
NETWORK: Network = replace(DEVNET, order_provider_count=CASE["count_witnesses"])
NOW_S = 1_900_000_000


@pytest.fixture
def response() -> dict[str, Any]:
    answer: dict[str, Any] = copy.deepcopy(CASE["response"])
    return answer


def prove(response: Any, **more: Any) -> Any:
    return prove_history(response, CASE["witnesses"], NETWORK, **{"now_s": NOW_S, **more})


def refusal(response: Any, **more: Any) -> str:
    with pytest.raises(HistoryProofError) as refused:
        prove(response, **more)
    return refused.value.code


def stripped(joint: dict[str, Any]) -> dict[str, Any]:
    """The joint as hubs send void units: its content replaced by the hash of it."""
    kept = ("unit", "version", "alt", "timestamp", "parent_units", "last_ball", "last_ball_unit", "witness_list_unit")
    unit = {name: joint["unit"][name] for name in kept if name in joint["unit"]}
    unit["authors"] = [{"address": author["address"]} for author in joint["unit"]["authors"]]
    unit["content_hash"] = units.content_hash(joint["unit"], NETWORK)
    return {**joint, "unit": unit}


def test_the_untouched_answer_is_proven(response: dict[str, Any]) -> None:
    unstable, void, good = prove(response).units
    assert (unstable.is_stable, void.is_stable, good.is_stable) == (False, True, True)
    assert (void.is_nonserial, good.is_nonserial) == (True, False)
    assert good.ball == next(b["ball"] for b in response["proofchain_balls"] if b["unit"] == good.unit_hash)
    assert unstable.ball is None


@pytest.mark.parametrize("answer", [None, [], "x", 5, [{}]])
def test_an_answer_of_another_kind_is_refused(answer: Any) -> None:
    assert refusal(answer) == "bad_response"


@pytest.mark.parametrize(
    "name", ["unstable_mc_joints", "witness_change_and_definition_joints", "proofchain_balls", "joints", "aa_responses"]
)
@pytest.mark.parametrize("value", [{}, "x", [1], [None]])
def test_lists_must_be_lists_of_objects(response: dict[str, Any], name: str, value: Any) -> None:
    response[name] = value
    assert refusal(response) == "bad_response"


def test_a_history_of_too_many_units_is_refused_unread(response: dict[str, Any]) -> None:
    response["joints"] = [{}] * (MAX_JOINTS + 1)
    assert refusal(response) == "too_large"


def test_a_void_unit_may_come_stripped(response: dict[str, Any]) -> None:
    response["joints"][1] = stripped(response["joints"][1])
    assert [unit.is_nonserial for unit in prove(response).units] == [False, True, False]


def test_a_good_unit_must_not_come_stripped(response: dict[str, Any]) -> None:
    response["joints"][2] = stripped(response["joints"][2])
    assert refusal(response) == "joint_invalid"


def test_a_stripped_unit_that_is_not_proven_void_says_nothing(response: dict[str, Any]) -> None:
    void = response["joints"][1]["unit"]["unit"]
    response["joints"][1] = stripped(response["joints"][1])
    del response["proofchain_balls"]
    assert void not in [unit.unit_hash for unit in prove(response | {"aa_responses": []}).units]


def test_a_stripped_unit_cannot_be_given_other_content(response: dict[str, Any]) -> None:
    joint = stripped(response["joints"][1])
    joint["unit"]["messages"] = response["joints"][2]["unit"]["messages"]
    response["joints"][1] = joint
    assert refusal(response) == "joint_invalid"


@pytest.mark.parametrize("position", [0, 1])
def test_the_proof_itself_may_not_be_stripped(response: dict[str, Any], position: int) -> None:
    response["unstable_mc_joints"][position] = stripped(response["unstable_mc_joints"][position])
    assert refusal(response) == "mc_joint_invalid"


def test_a_definition_may_not_come_stripped(response: dict[str, Any]) -> None:
    joints = response["witness_change_and_definition_joints"]
    joints[0] = stripped(joints[0])
    assert refusal(response) == "definition_joint_invalid"


def test_a_unit_without_last_ball_anchors_nothing(response: dict[str, Any]) -> None:
    unit = response["unstable_mc_joints"][0]["unit"]
    for name in ("last_ball", "last_ball_unit"):
        del unit[name]
    assert refusal(response) == "mc_joint_invalid"


def test_a_witness_cannot_be_impersonated_by_a_unit_nobody_signed(response: dict[str, Any]) -> None:
    witness_unit = next(
        joint["unit"]
        for joint in response["unstable_mc_joints"]
        if joint["unit"]["authors"][0]["address"] in CASE["witnesses"]
    )
    forged = copy.deepcopy(witness_unit)
    del forged["authors"][0]["authentifiers"]
    forged["parent_units"] = [response["unstable_mc_joints"][0]["unit"]["unit"]]
    forged["unit"] = units.unit_hash(forged, NETWORK)
    response["unstable_mc_joints"].insert(0, {"unit": forged})
    assert refusal(response) == "witness_signature_wrong"


@pytest.mark.parametrize(
    "change",
    [
        {"parent_balls": "x"},
        {"parent_balls": [5]},
        {"parent_balls": ["short"]},
        {"skiplist_balls": {}},
        {"parent_balls": []},
        {"unit": None},
        {"unit": "short"},
        {"ball": None},
    ],
)
def test_misshapen_balls_are_refused(response: dict[str, Any], change: dict[str, Any]) -> None:
    response["proofchain_balls"][0].update(change)
    assert refusal(response) == "wrong_ball"


@pytest.mark.parametrize(
    "change",
    [
        {"mci": 0},
        {"mci": True},
        {"mci": "5"},
        {"bounced": 2},
        {"bounced": True},
        {"aa_address": "x"},
        {"trigger_address": None},
        {"trigger_unit": "x"},
        {"response_unit": "x"},
        {"response": "{"},
        {"response": {}},
        {"response": None},
    ],
)
def test_misshapen_hints_are_refused(response: dict[str, Any], change: dict[str, Any]) -> None:
    response["aa_responses"][0].update(change)
    assert refusal(response) == "agent_response_invalid"


def test_unknown_fields_of_a_joint_are_refused(response: dict[str, Any]) -> None:
    response["joints"][0]["arrived"] = 1
    assert refusal(response) == "joint_invalid"


def proven_time_s(response: dict[str, Any]) -> int:
    time_s: int = prove(response).proven_time_s
    return time_s


def test_an_unstable_unit_from_the_future_is_refused(response: dict[str, Any]) -> None:
    [unstable] = [unit for unit in prove(response).units if not unit.is_stable]
    on_time = unstable.unit["timestamp"] - CLOCK_TOLERANCE_S - units.MAX_SECONDS_INTO_FUTURE
    assert prove(response, now_s=on_time)
    assert refusal(response, now_s=on_time - 1) == "joint_invalid"


def test_a_clock_that_is_years_late_does_not_hide_what_is_proven_stable(response: dict[str, Any]) -> None:
    stable = {unit.unit_hash for unit in prove(response).units if unit.is_stable}
    response["joints"] = [joint for joint in response["joints"] if joint["unit"]["unit"] in stable]
    response["aa_responses"] = []

    assert {unit.unit_hash for unit in prove(response, now_s=0).units} == stable


def test_an_old_proof_is_stale_if_one_asks(response: dict[str, Any]) -> None:
    proven_s = proven_time_s(response)
    assert prove(response, now_s=proven_s + 600, max_age_s=600)
    assert refusal(response, now_s=proven_s + 601, max_age_s=600) == "stale_proof"


def test_a_proof_from_before_one_that_was_seen_is_stale(response: dict[str, Any]) -> None:
    proven_s = proven_time_s(response)
    assert prove(response, not_before_s=proven_s)
    assert refusal(response, not_before_s=proven_s + 1) == "stale_proof"


def test_the_proven_time_is_one_that_a_majority_of_order_providers_has_signed_at_or_after(
    response: dict[str, Any],
) -> None:
    latest: dict[str, int] = {}
    for joint in response["unstable_mc_joints"]:
        for author in joint["unit"]["authors"]:
            if author["address"] in CASE["witnesses"]:
                latest.setdefault(author["address"], joint["unit"]["timestamp"])
    assert proven_time_s(response) == sorted(latest.values())[-NETWORK.majority]


def test_a_unit_invented_on_top_of_an_old_proof_makes_it_no_younger(response: dict[str, Any]) -> None:
    before_s = proven_time_s(response)
    top = response["unstable_mc_joints"][0]["unit"]
    invented = {
        **{name: top[name] for name in ("version", "alt", "last_ball", "last_ball_unit")},
        "authors": [{"address": CASE["response"]["aa_responses"][0]["trigger_address"], "authentifiers": {"r": "x"}}],
        "messages": [{"app": "text", "payload_location": "inline", "payload_hash": "x", "payload": "x"}],
        "parent_units": [top["unit"]],
        "timestamp": before_s + 10_000,
    }
    invented["unit"] = units.unit_hash(invented, NETWORK)
    response["unstable_mc_joints"].insert(0, {"unit": invented})

    assert prove(response).proof_timestamp_s == before_s + 10_000
    assert proven_time_s(response) == before_s


def test_a_unit_told_twice_counts_once(response: dict[str, Any]) -> None:
    response["joints"] += response["joints"]
    assert len(prove(response).units) == 3


def test_contents_stay_out_of_reprs_and_errors(response: dict[str, Any]) -> None:
    shown = repr(prove(response))
    assert "authentifiers" not in shown
    assert "responseVars" not in shown
