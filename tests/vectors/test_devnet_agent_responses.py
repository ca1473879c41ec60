"""Response units are composed to the byte as the reference composes them: sizes, fees, order, hashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devnet.agent import AgentState, ChannelParams, Trigger, trigger
from devnet.composer import Coins, compose_response
from devnet.dag import UnitRecord
from devnet.outputs import LedgerOutput, outputs_of
from devnet.packages import package_verifier
from devnet.responses import Outcome, full_response
from shared.obyte.coins import Outpoint
from shared.obyte.networks import DEVNET

CASES = json.loads((Path(__file__).parent / "obyte" / "aa_response_objects.json").read_text())["cases"]
PARAMS = ChannelParams(
    "OXJ2PKKOYESORPIQAWLKTBPJBOP3URE2",
    "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6",
    "WY2BUWUP7NMMG62V4SJJXV4GXKY7TTEB",
    "base",
    1000,
)
CLOSING = AgentState("A", 1, 3, 20_000, 1_000_000, 0, 0, 1)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_response_object_is_the_recorded_one(case: dict[str, Any]) -> None:
    recorded = case["response"]
    told = case["trigger"]
    event = Trigger(told["address"], told["unit"], told["outputs"], told.get("data"), recorded["timestamp"])
    before = AgentState() if case["name"].startswith("deposit by A") else CLOSING
    response = trigger(before, PARAMS, event, package_verifier(DEVNET))
    coin = _coin(recorded["objResponseUnit"], told["outputs"]["base"])
    sent = compose_response(
        DEVNET,
        PARAMS.address,
        response.messages,
        Coins(stable=[coin]),
        main_chain_unit=_main_chain_unit(recorded["objResponseUnit"]),
        parents=tuple(recorded["objResponseUnit"]["parent_units"]),
        storage_size=before.storage_size(),
    )
    assert sent is not None
    kept = sum(output.amount for output in outputs_of("", sent.unit) if output.address == PARAMS.address)
    outcome = Outcome(response, sent, {"base": kept})
    assert full_response(PARAMS.address, before, event, outcome, recorded["mci"]) == recorded


def _coin(unit: dict[str, Any], amount: int) -> LedgerOutput:
    """The one coin that the recorded unit spends."""
    payments = [message["payload"] for message in unit["messages"] if message["app"] == "payment"]
    spent = payments[0]["inputs"][0]
    outpoint = Outpoint(spent["unit"], spent["message_index"], spent["output_index"])
    return LedgerOutput(outpoint, PARAMS.address, "base", amount)


def _main_chain_unit(unit: dict[str, Any]) -> UnitRecord:
    last_ball = {"last_ball": unit["last_ball"], "last_ball_unit": unit["last_ball_unit"]}
    return UnitRecord("", last_ball, (), (), 0, None, 0, 1, timestamp_s=unit["timestamp"], last_ball_mci=0)
