"""Every recorded scenario of the channel agents, executed by the reference's formula engine, weaknesses included."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from devnet.agent import BASE, BOUNCE_FEE_BYTES, AgentState, ChannelParams, Data, Message, Response, Trigger, trigger
from devnet.packages import package_verifier
from shared.obyte.addresses import definition_address
from shared.obyte.agents import CHANNELS_BASE_AA
from shared.obyte.networks import network_named

FOLDER = Path(__file__).parent / "obyte"
OLD = json.loads((FOLDER / "aa_channel_transitions.json").read_text())["cases"]
W2 = "W2: a stranger copies the fraud proof"
NEW = json.loads((FOLDER / "aa_channel_transitions_1_2.json").read_text())["cases"]
SCENARIOS = [*OLD, *NEW]


def _name(scenario: dict[str, Any]) -> str:
    return f"{scenario.get('version', '1.1')} {scenario['network']}: {scenario['name']}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=map(_name, SCENARIOS))
def test_agent_does_what_the_reference_recorded(scenario: dict[str, Any]) -> None:
    params = _params(scenario)
    verify = package_verifier(network_named(scenario["network"]))
    state, books = AgentState(), Counter[str]()
    agents: set[str] = set()
    for step in scenario["steps"]:
        agents.update(step.get("agents_defined", ()))
        assert _as_numbers(state) == step["state_before"], step["step"]
        event = _event(scenario, step)
        response = trigger(state, params, event, verify, agents.__contains__)
        books.update(_as_simulated(event, response))
        assert response.bounced == step["bounced"], step["step"]
        assert _text(response.error) == _text(step["response"].get("error")), step["step"]
        assert _paid(response.messages, books) == (step["response_messages"] or []), step["step"]
        assert _as_numbers(response.state) == step["state_after"], step["step"]
        assert +books == +Counter(step["balances_after_ignoring_fees"]), step["step"]
        state = response.state


def test_all_recorded_scenarios_are_here() -> None:
    assert len(OLD) == 45
    assert {case["network"] for case in OLD} == {"livenet", "testnet", "devnet"}
    assert sum("AA WEAKNESS" in case["name"] for case in OLD) == 5
    assert Counter(case["version"] for case in NEW) == {"1.1": 48, "1.2": 98}
    assert sum(case["name"].startswith("REPAIRED") for case in NEW) == 5


def test_the_scenarios_of_1_1_go_the_same_way_with_1_2_but_for_the_repairs() -> None:
    with_1_2 = NEW[: len(OLD)]
    for old, new in zip(OLD, with_1_2, strict=True):
        outcomes = [[(step["step"], step["bounced"]) for step in case["steps"]] for case in (old, new)]
        assert (outcomes[0] == outcomes[1]) is not old["name"].startswith("AA WEAKNESS"), old["name"]


@pytest.mark.parametrize("weakness", ["W1: the closing party proves a fraud against itself, back to back", W2])
def test_what_is_stolen_with_1_1_is_refused_by_1_2(weakness: str) -> None:
    old, new = (case for case in NEW if case["name"] == weakness)
    theft_of_old, theft_of_new = old["steps"][3], new["steps"][3]
    assert [old["version"], new["version"]] == ["1.1", "1.2"]
    assert theft_of_old["balances_after_ignoring_fees"] == {"base": 0}
    assert _text(theft_of_new["response"]["error"]) == "only the other party can prove a fraud"
    justice = new["steps"][4]
    assert justice["response_messages"][0]["outputs"] == [{"address": new["A"], "amount": 1_530_000}]


def _params(scenario: dict[str, Any]) -> ChannelParams:
    params = scenario["definition"][1]["params"]
    version = scenario.get("version", "1.1")
    assert scenario["definition"][1]["base_aa"] == CHANNELS_BASE_AA[version]
    assert definition_address(scenario["definition"]) == scenario["aa_address"]
    return ChannelParams(
        scenario["aa_address"], params["addressA"], params["addressB"], params["asset"], params["timeout"], version
    )


def _as_numbers(state: AgentState) -> dict[str, Any]:
    """State variables as JavaScript shows them: whole numbers that are very great are still numbers."""
    return {name: value if isinstance(value, str) else float(value) for name, value in state.variables().items()}


def _event(scenario: dict[str, Any], step: dict[str, Any]) -> Trigger:
    told = step["trigger"]
    outputs = {BASE: told["bytes"]}
    if told["asset_amount"]:
        outputs[scenario["channel_asset"]] = told["asset_amount"]
    return Trigger(
        scenario.get(told["address"], told["address"]), told["unit"], outputs, told["data"], step["timestamp"]
    )


def _as_simulated(event: Trigger, response: Response) -> dict[str, int]:
    """What the recording books: its simulator books the bounce fee alone for every bounce, whatever came in.

    The returned money of a bounce is deducted from that again; the real composer, and the devnet, keep honest books.
    """
    return {BASE: BOUNCE_FEE_BYTES} if response.bounced else dict(event.outputs)


def _paid(messages: tuple[Message, ...], books: Counter[str]) -> list[dict[str, Any]]:
    """Send the money as the composer does, but without fees: fixed outputs first, then all that is left."""
    shown: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, Data):
            shown.append({"app": "data", "payload": message.payload})
            continue
        left = books[message.asset] - sum(output.amount or 0 for output in message.outputs)
        amounts = [(output.address, left if output.amount is None else output.amount) for output in message.outputs]
        outputs = [{"address": address, "amount": amount} for address, amount in sorted(amounts) if amount]
        books[message.asset] -= sum(output["amount"] for output in outputs)
        if outputs:
            shown.append({"app": "payment", "asset": message.asset, "outputs": outputs})
    return shown


def _text(error: Any) -> str | None:
    return error["message"] if isinstance(error, dict) else error
