"""Every recorded scenario of the channel agent, executed by the reference's formula engine, weaknesses included."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from devnet.agent import BASE, BOUNCE_FEE_BYTES, AgentState, ChannelParams, Data, Message, Response, Trigger, trigger
from devnet.packages import package_verifier
from shared.obyte.networks import network_named

SCENARIOS = json.loads((Path(__file__).parent / "obyte" / "aa_channel_transitions.json").read_text())["cases"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[f"{case['network']}: {case['name']}" for case in SCENARIOS])
def test_agent_does_what_the_reference_recorded(scenario: dict[str, Any]) -> None:
    params = _params(scenario)
    verify = package_verifier(network_named(scenario["network"]))
    state, books = AgentState(), Counter[str]()
    for step in scenario["steps"]:
        assert state.variables() == step["state_before"], step["step"]
        event = _event(scenario, step)
        response = trigger(state, params, event, verify)
        books.update(_as_simulated(event, response))
        assert response.bounced == step["bounced"], step["step"]
        assert _text(response.error) == _text(step["response"].get("error")), step["step"]
        assert _paid(response.messages, books) == (step["response_messages"] or []), step["step"]
        assert response.state.variables() == step["state_after"], step["step"]
        assert +books == +Counter(step["balances_after_ignoring_fees"]), step["step"]
        state = response.state


def test_all_recorded_scenarios_are_here() -> None:
    assert len(SCENARIOS) == 45
    assert {case["network"] for case in SCENARIOS} == {"livenet", "testnet", "devnet"}
    assert sum("AA WEAKNESS" in case["name"] for case in SCENARIOS) == 5


def _params(scenario: dict[str, Any]) -> ChannelParams:
    params = scenario["definition"][1]["params"]
    return ChannelParams(
        scenario["aa_address"], params["addressA"], params["addressB"], params["asset"], params["timeout"]
    )


def _event(scenario: dict[str, Any], step: dict[str, Any]) -> Trigger:
    told = step["trigger"]
    outputs = {BASE: told["bytes"]}
    if told["asset_amount"]:
        outputs[scenario["channel_asset"]] = told["asset_amount"]
    return Trigger(scenario[told["address"]], told["unit"], outputs, told["data"], step["timestamp"])


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
        shown.append({"app": "payment", "asset": message.asset, "outputs": outputs})
    return shown


def _text(error: Any) -> str | None:
    return error["message"] if isinstance(error, dict) else error
