"""Whatever the agent has said, in whatever pieces it is read: the channel is the same in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from devnet.agent import AgentState, ChannelParams, Data, Trigger, trigger
from shared.agent.responses import read_responses
from shared.channels.errors import EventGapError
from shared.channels.ledger import Closing, Opened
from shared.channels.model import Channel, Status
from shared.obyte.history import ProvenUnit, prove_history
from shared.obyte.networks import DEVNET
from tests.unit.agent.builders import AGENT, ME, PEER, STRANGER, TRIGGER_UNIT, closing, new_channel, response
from worker.applying import advance

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSCRIPTS = Path(__file__).parents[2] / "vectors" / "obyte" / "transcripts"
TIMEOUT_S = 1_000
PARAMS = ChannelParams(address=AGENT, address_a=ME, address_b=PEER, asset="base", timeout_s=TIMEOUT_S)

CURRENT = -1
"""Stands for the agent's period at that moment."""

senders = st.sampled_from([ME, PEER, PEER, STRANGER])
periods = st.sampled_from([CURRENT, CURRENT, CURRENT, 1, 2])
sums = st.integers(0, 200_000)
pauses_s = st.sampled_from([0, TIMEOUT_S])
deposits = st.tuples(senders, st.sampled_from([9_999, 10_001, 70_000]), st.just({}), pauses_s)
closings = st.builds(lambda period, claim: {"close": 1, "period": period, "transferredFromMe": claim}, periods, sums)
confirmations = st.builds(
    lambda period, extra: {"confirm": 1, "period": period, "additionalTransferredFromMe": extra}, periods, sums
)
proofs = st.just({"fraud_proof": 1, "sentByPeer": {"signed_message": {"aa_address": AGENT, "amount_spent": 150_000}}})
orders = st.tuples(senders, st.just(10_000), st.one_of(closings, closings, confirmations, proofs), pauses_s)
triggers = st.one_of(deposits, orders)


def in_period(data: dict[str, Any], period: int) -> dict[str, Any]:
    told = data | {"period": period} if data.get("period") == CURRENT else data
    if "sentByPeer" not in data:
        return told
    return told | {"sentByPeer": {"signed_message": data["sentByPeer"]["signed_message"] | {"period": period}}}


def say(history: list[tuple[str, int, dict[str, Any], int]]) -> list[ProvenUnit]:
    """Let the agent execute the triggers, and return its response units."""
    state, now_s, units = AgentState(), 1_700_000_000, []
    for number, (sender, amount, data, later_s) in enumerate(history, start=1):
        now_s += later_s
        told = in_period(data, state.period or 0)
        cause = Trigger(sender, TRIGGER_UNIT, {"base": amount}, told, now_s)
        answer = trigger(state, PARAMS, cause, lambda _package, _signer: True)
        state = answer.state
        payloads = [message.payload for message in answer.messages if isinstance(message, Data)]
        units += [response(payload, number=number) for payload in payloads]
    return units


def read(channel: Channel, units: list[ProvenUnit]) -> Channel:
    applied = advance(channel, read_responses(units, channel))
    assert applied.obstacle is None
    return applied.channel


@settings(max_examples=300)
@given(st.lists(triggers, max_size=25))
def test_no_history_of_the_agent_contradicts_the_rules(history: list[Any]) -> None:
    units = say(history)
    channel = read(new_channel(), units)
    assert channel.last_event_id == len(units)
    event(f"in period {channel.period}, {channel.status}")


@settings(max_examples=300)
@given(st.lists(triggers, max_size=25), st.data())
def test_reading_in_pieces_twice_and_with_gaps_gives_the_same_channel(history: list[Any], data: st.DataObject) -> None:
    units = say(history)
    expected = read(new_channel(), units)
    channel = new_channel()
    for _ in range(data.draw(st.integers(0, 6))):
        piece = data.draw(st.lists(st.sampled_from(units), max_size=10)) if units else []
        applied = advance(channel, read_responses(piece, channel))
        assert applied.obstacle is None or isinstance(applied.obstacle, EventGapError)
        channel = applied.channel
    assert read(channel, units) == expected
    assert read(expected, units) == expected


def recorded_histories() -> Iterator[tuple[ProvenUnit, ...]]:
    network = replace(DEVNET, order_provider_count=3)
    providers: list[str] = []
    for file in sorted(TRANSCRIPTS.glob("0*.jsonl")):
        for line in file.read_text().splitlines():
            message = json.loads(line)["message"]
            if not isinstance(message, list) or message[1].get("command") != "light/get_history":
                continue
            kind, body = message
            if kind == "request":
                providers = body["params"]["witnesses"]
            elif "joints" in body.get("response", {}):
                yield prove_history(body["response"], providers, network, now_s=2e9).units


@pytest.mark.parametrize("seen_from", ["payer", "receiver"])
def test_recorded_traffic_of_a_real_network_is_read_to_the_closing(seen_from: str) -> None:
    agent = "ZZJR6HIAZZUGZZPNMU46QEPGXBLIDGIA"
    payer, receiver = "NCF7W33W3WWFKXCJYYJJCLWZC5UOKTHC", "CR47S46FK34TAWHQVA6CDG54KZU4DSRN"
    me, other = (payer, receiver) if seen_from == "payer" else (receiver, payer)
    channel = Channel(aa_address=agent, own_address=me, peer_address=other, asset="base", timeout_s=30)
    kinds = []
    for units in recorded_histories():
        applied = advance(channel, read_responses(units, channel))
        assert applied.obstacle is None
        kinds += [type(seen.event) for seen in applied.responses]
        channel = applied.channel
    assert kinds == [Opened, Opened, Closing]
    assert (channel.period, channel.last_event_id) == (1, 3)
    assert channel.status is (Status.CLOSING_BY_ME if seen_from == "payer" else Status.CLOSING_BY_PEER)


@pytest.mark.parametrize(
    ("shown", "is_unknown"), [(10**15 + 6, False), (10**15 + 10, False), (10**15 + 20, True), (10**15 + 4, False)]
)
def test_a_package_of_ours_that_the_agent_has_rounded_is_known(shown: int, *, is_unknown: bool) -> None:
    channel = replace(new_channel(), status=Status.OPEN, period=1, spent_by_me=10**15 + 6)
    applied = advance(channel, read_responses([response(closing(1, spent_by_me=shown))], channel))
    assert (applied.unknown_promise is not None) == is_unknown
