"""Recorded traffic of a real hub as the oracle of shape: the local hub sends the same frames with the same fields."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from devnet.ledger import Ledger
from shared.obyte.hashing import device_digest
from shared.obyte.keys import KeyPair
from tests.devnet_support import Actor, Client, Hub, TestChannel

TRANSCRIPTS = Path(__file__).parent / "obyte" / "transcripts"
DEVICE = KeyPair(b"\5" * 32)
PARENTS = "light/get_parents_and_last_ball_and_witness_list_unit"


@cache
def recorded() -> dict[str, list[Any]]:
    """Bodies and answers of the real hub by subject or command."""
    found = defaultdict(list)
    for path in sorted(TRANSCRIPTS.glob("0*.jsonl")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["direction"] == "hub->client":
                kind, content = entry["message"]
                name = content["subject"] if kind == "justsaying" else content["command"]
                key = {"justsaying": "body", "request": "params", "response": "response"}[kind]
                found[f"{kind} {name}"].append(content.get(key))
    return dict(found)


@pytest.fixture
def hub() -> Hub:
    return Hub(Ledger(seed=b"transcripts"))


@pytest.fixture
def client(hub: Hub) -> Client:
    return hub.connect()


def shape(value: Any) -> Any:
    """Names and types, without contents; a list has the shapes of its elements."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(member), sort_keys=True) for member in value})
    return type(value).__name__


def log_in(client: Client) -> None:
    login = {"challenge": client.told("hub/challenge")[0], "pubkey": DEVICE.pubkey_b64}
    client.say("hub/login", login | {"signature": DEVICE.sign(device_digest(login))})


def test_hub_says_the_same_first(client: Client) -> None:
    frames = [(kind, content.get("subject", content.get("command"))) for kind, content in client.frames]
    assert frames == [("justsaying", "version"), ("justsaying", "hub/challenge"), ("request", "subscribe")]
    version = client.frames[0][1]["body"]
    assert version.keys() >= recorded()["justsaying version"][0].keys()
    assert {name: version[name] for name in ("protocol_version", "alt", "library", "library_version")} == {
        name: recorded()["justsaying version"][0][name]
        for name in ("protocol_version", "alt", "library", "library_version")
    }
    assert len(client.frames[1][1]["body"]) == len(recorded()["justsaying hub/challenge"][0])
    assert shape(client.frames[2][1]["params"]) == shape(recorded()["request subscribe"][0])


def test_login_is_answered_the_same(hub: Hub, client: Client) -> None:
    log_in(client)
    assert client.told("info") == ["address created"]
    assert client.told("info")[0] in recorded()["justsaying info"]
    assert shape(client.told("system_vars")[0]) == shape(recorded()["justsaying system_vars"][0])
    assert client.told("hub/push_project_number")[0] == recorded()["justsaying hub/push_project_number"][0]

    again = hub.connect()
    log_in(again)
    assert again.told("info") == ["0 messages sent"]
    assert again.told("hub/message_box_status") == recorded()["justsaying hub/message_box_status"][:1]


def test_temporary_keys_are_kept_the_same(client: Client) -> None:
    log_in(client)
    package = {"temp_pubkey": KeyPair(b"\6" * 32).pubkey_b64, "pubkey": DEVICE.pubkey_b64}
    package["signature"] = DEVICE.sign(device_digest(package))
    assert client.ask("hub/temp_pubkey", package) == recorded()["response hub/temp_pubkey"][0]
    assert client.ask("hub/get_temp_pubkey", DEVICE.pubkey_b64) == package
    assert shape(package) == shape(recorded()["response hub/get_temp_pubkey"][0])


def test_witness_list_is_sorted_and_as_long_as_the_network_demands(hub: Hub, client: Client) -> None:
    witnesses = client.ask("get_witnesses")
    assert witnesses == sorted(witnesses) == [hub.ledger.provider_address]
    assert shape(witnesses) == shape(recorded()["response get_witnesses"][0])


def test_nothing_found_is_an_empty_object(hub: Hub, client: Client) -> None:
    params = {"witnesses": [hub.ledger.provider_address], "addresses": [DEVICE.address], "min_mci": 0}
    assert client.ask("light/get_history", params) == {}
    assert {} in recorded()["response light/get_history"]
    assert shape(client.told("system_vars")[0]) == shape(recorded()["justsaying system_vars"][0])


def test_unknown_definition_is_null(client: Client) -> None:
    assert client.ask("light/get_definition", DEVICE.address) is None
    assert None in recorded()["response light/get_definition"]


def test_life_of_a_channel_looks_the_same(hub: Hub, client: Client) -> None:
    """The story of the recordings: funds arrive, a channel opens, closes and is confirmed; every answer has the shape
    of a recorded one, and so has every unit in it.
    """
    ledger = hub.ledger
    alice, bob = Actor(ledger, 1), Actor(ledger, 2)
    channel = TestChannel(ledger, alice, bob)
    client.say("light/new_address_to_watch", bob.address)
    client.say("light/new_address_to_watch", channel.address)
    alice.fund()
    bob.fund()
    assert shape(client.told("joint")[0]).keys() == shape(recorded()["justsaying joint"][0]).keys()
    assert client.told("joint")[0]["unit"].keys() - {"messages"} <= recorded()["justsaying joint"][0]["unit"].keys()

    asked = {"witnesses": [ledger.provider_address], "from_addresses": [bob.address]}
    asked |= {"output_addresses": [channel.address, bob.address], "max_aa_responses": 10}
    assert shape(client.ask(PARENTS, asked)) == shape(recorded()[f"response {PARENTS}"][0])
    assert client.ask("post_joint", channel.open_unit(50_000)) == recorded()["response post_joint"][0]

    histories = [history_of(client, bob.address, channel.address)]
    for data in (None, {"close": 1, "period": 1}, {"confirm": 1, "period": 1}):
        if data:
            (alice if "close" in data else bob).trigger(channel.address, data)
        for _ in range(6):
            ledger.advance()
            histories.append(history_of(client, bob.address, channel.address))
    assert None in client.told("light/have_updates")
    known = recorded_shapes()
    for history in histories:
        assert list(history) in [list(answer) for answer in recorded()["response light/get_history"]]
        for name, shapes in shapes_of(history).items():
            assert shapes <= known[name], name


def history_of(client: Client, *addresses: str) -> Any:
    witnesses = [client.ask("get_witnesses")[0]]
    return client.ask("light/get_history", {"witnesses": witnesses, "addresses": list(addresses), "min_mci": 1})


def recorded_shapes() -> dict[str, set[str]]:
    merged: dict[str, set[str]] = defaultdict(set)
    for history in recorded()["response light/get_history"]:
        for name, shapes in shapes_of(history).items():
            merged[name] |= shapes
    return merged


def shapes_of(history: dict[str, Any]) -> dict[str, set[str]]:
    """Field names of everything in a history, by kind."""
    shapes: dict[str, set[str]] = defaultdict(set)
    for joint in (*history.get("joints", ()), *history.get("unstable_mc_joints", ())):
        shapes["joint"] |= {"+".join(sorted(joint.keys() - {"skiplist_units"}))}
        unit = joint["unit"]
        kind = "agent unit" if "authentifiers" not in unit["authors"][0] else "unit"
        shapes[kind] |= {"+".join(sorted(unit.keys() - {"max_aa_responses"}))}
        for message in unit["messages"]:
            shapes[f"{kind}: {message['app']}"] |= {"+".join(sorted(message))}
            if message["app"] == "payment":
                shapes[f"{kind}: payment payload"] |= {"+".join(sorted(message["payload"]))}
                shapes[f"{kind}: input"] |= {"+".join(sorted(spent)) for spent in message["payload"]["inputs"]}
    for joint in history.get("witness_change_and_definition_joints", ()):
        shapes["definition joint"] |= {"+".join(sorted(joint))}
    for ball in history.get("proofchain_balls", ()):
        shapes["ball"] |= {"+".join(sorted(ball))}
    for response in history.get("aa_responses", ()):
        shapes["response"] |= {json.dumps(shape(response), sort_keys=True)}
    return shapes
