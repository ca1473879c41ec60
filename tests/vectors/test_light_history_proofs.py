"""Light proofs: forged and valid synthetic answers with the reference's verdicts, and answers of a reference hub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.obyte.errors import HistoryProofError
from shared.obyte.history import prove_history
from shared.obyte.networks import Network, network_named

VECTORS = Path(__file__).parent / "obyte"
SYNTHETIC = json.loads((VECTORS / "history_proofs.json").read_text())["cases"]
LIVE = json.loads((VECTORS / "history_proofs_live.json").read_text())["cases"]
NOW_S = 1_900_000_000  # later than every timestamp in the vectors

# We answer differently from the reference client in one place: it takes the server's {} ("nothing found") for an error.
NOTHING_FOUND = "nothing found"

CODES = {
    "wrong ball hash": "wrong_ball",
    "broken proof chain": "ball_not_known",
    "proof chain not anchored in a last ball": "ball_not_known",
    "nonserial flag removed": "wrong_ball",
    "unstable MC joint with ball": "mc_joint_has_ball",
    "tampered MC unit": "mc_joint_invalid",
    "gap in the MC chain": "mc_chain_broken",
    "MC chain in the wrong order": "mc_chain_broken",
    "fewer than majority of witnesses": "not_enough_witnesses",
    "empty unstable_mc_joints": "no_proof",
    "MC unit of a witness signed by another key": "witness_signature_wrong",
    "witness definitions missing": "witness_definition_unknown",
    "definition joint without ball": "definition_joint_without_ball",
    "definition joint tampered": "definition_joint_invalid",
    "definition joint not authored by a witness": "definition_joint_not_by_witness",
    "definition joint without definition or change": "definition_joint_without_news",
    "joint with tampered payload": "joint_invalid",
    "joint with tampered header": "joint_invalid",
    "joint with wrong headers_commission": "joint_invalid",
    "joints empty": "no_joints",
    "aa_response of a foreign trigger": "agent_response_invalid",
    "aa_response with boolean bounced": "agent_response_invalid",
    "aa_response with bad json": "agent_response_invalid",
    "witness changed its definition; MC units still signed by the old key": "witness_signature_wrong",
    "other witness list": "not_enough_witnesses",
}


def network_of(case: dict[str, Any]) -> Network:
    network = replace(network_named(case["network"]), order_provider_count=case["count_witnesses"])
    assert network.majority == case["majority"]
    return network


def case_id(case: dict[str, Any]) -> str:
    return f"{case['network']}: {case['name']}"


@pytest.mark.parametrize("case", [case for case in SYNTHETIC + LIVE if case["accepted"]], ids=case_id)
def test_a_valid_history_is_proven(case: dict[str, Any]) -> None:
    history = prove_history(case["response"], case["witnesses"], network_of(case), now_s=NOW_S)
    assert [
        {
            "unit": unit.unit_hash,
            "stable": unit.is_stable,
            "sequence": "final-bad" if unit.is_nonserial else "good",
        }
        for unit in history.units
    ] == case["expected_units"]
    assert len(history.aa_responses) == len(case["response"].get("aa_responses", []))
    assert history.proof_timestamp_s == case["response"]["unstable_mc_joints"][0]["unit"]["timestamp"]


@pytest.mark.parametrize(
    "case", [case for case in SYNTHETIC if not case["accepted"] and case["name"] != NOTHING_FOUND], ids=case_id
)
def test_a_forged_history_is_refused_by_the_rule_it_breaks(case: dict[str, Any]) -> None:
    with pytest.raises(HistoryProofError) as refused:
        prove_history(case["response"], case["witnesses"], network_of(case), now_s=NOW_S)
    assert refused.value.code == CODES[case["name"]]


def test_nothing_found_is_an_empty_history_not_an_error() -> None:
    cases = [case for case in SYNTHETIC if case["name"] == NOTHING_FOUND]
    assert cases
    for case in cases:
        history = prove_history(case["response"], case["witnesses"], network_of(case), now_s=NOW_S)
        assert history.units == ()
        assert history.proof_timestamp_s is None


@pytest.mark.parametrize("case", LIVE, ids=case_id)
def test_what_hubs_add_to_units_is_only_a_hint(case: dict[str, Any]) -> None:
    history = prove_history(case["response"], case["witnesses"], network_of(case), now_s=NOW_S)
    for unit in history.units:
        assert "main_chain_index" not in unit.unit
        assert "actual_tps_fee" not in unit.unit
    sent = {joint["unit"]["unit"]: joint["unit"].get("main_chain_index") for joint in case["response"]["joints"]}
    assert {unit.unit_hash: unit.mci_hint for unit in history.units} == sent
