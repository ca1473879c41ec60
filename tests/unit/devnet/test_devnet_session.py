"""One connection: what is refused, what is answered, who is told of what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.composing import Output
from shared.obyte.hashing import device_digest
from shared.obyte.keys import KeyPair
from tests.devnet_support import Actor, Client, Hub, TestChannel

if TYPE_CHECKING:
    from devnet.ledger import Ledger

BASE_AGENT = "4IRUGAUUCAQ6QRQLG4SNOLOE6VW2STWZ"
VERSION = {
    "protocol_version": "4.0dev",
    "alt": "3",
    "library": "ocore",
    "library_version": "0.4.6",
    "program": "wallet",
    "program_version": "1.0",
}


@pytest.fixture
def hub(ledger: Ledger) -> Hub:
    return Hub(ledger)


@pytest.fixture
def client(hub: Hub) -> Client:
    return hub.connect()


def history(client: Client, **params: Any) -> Any:
    return client.ask("light/get_history", {"witnesses": client.ask("get_witnesses")} | params)


def test_good_version_is_welcome(client: Client) -> None:
    client.say("version", VERSION)
    assert not client.is_closed


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"alt": "1"}, "error"),
        ({"protocol_version": "4.0"}, "error"),
        ({"library_version": None}, "error"),
        ({"library_version": "0.3.9"}, "upgrade_required"),
    ],
)
def test_bad_version_is_told_and_closed(client: Client, change: dict[str, Any], subject: str) -> None:
    client.say("version", VERSION | change)
    assert len(client.told(subject)) == 1
    assert client.is_closed


def test_heartbeat_is_answered_without_a_value(client: Client) -> None:
    client.session.receive(json.dumps(["request", {"command": "heartbeat", "tag": "t"}]))
    assert client.frames[-1] == ["response", {"tag": "t", "command": "heartbeat"}]


@pytest.mark.parametrize("command", ["catchup", "light/get_attestation", "nonsense"])
def test_unknown_commands_get_no_answer(client: Client, command: str) -> None:
    with pytest.raises(LookupError):
        client.ask(command, {})


@pytest.mark.parametrize(
    "frame", ["", "{}", "[]", "null", '["request"]', '["request",{"command":5,"tag":"t"}]', "[1,2]"]
)
def test_noise_is_ignored(client: Client, frame: str) -> None:
    before = len(client.frames)
    client.session.receive(frame)
    assert len(client.frames) == before


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"challenge": "other"}, "wrong challenge"), ({"signature": "A" * 88}, "wrong signature"), ({}, None)],
)
def test_login_needs_a_signed_challenge(client: Client, change: dict[str, Any], complaint: str | None) -> None:
    key = KeyPair(b"\5" * 32)
    login = {"challenge": client.told("hub/challenge")[0], "pubkey": key.pubkey_b64}
    client.say("hub/login", login | {"signature": key.sign(device_digest(login))} | change)
    assert client.told("error") == ([complaint] if complaint else [])


def test_temporary_key_needs_a_login(client: Client) -> None:
    assert client.ask("hub/temp_pubkey", {"temp_pubkey": "a", "pubkey": "b", "signature": "c"}) == {
        "error": "please log in first"
    }


def test_posting_is_answered_with_accepted_known_or_the_reason(client: Client, alice: Actor, bob: Actor) -> None:
    joint = alice.compose([Output(bob.address, 1_000)])
    assert client.ask("post_joint", joint) == "accepted"
    assert client.ask("post_joint", joint) == {"error": "known"}
    assert client.ask("post_joint", {"unit": joint["unit"], "ball": "x"}) == {"error": "no ball via post_joint"}
    assert client.ask("post_joint", None) == {"error": "no unit"}


def test_watcher_is_told_of_the_unit_and_then_that_it_is_proven(hub: Hub, alice: Actor, bob: Actor) -> None:
    watcher, poster = hub.connect(), hub.connect()
    watcher.say("light/new_address_to_watch", bob.address)
    poster.say("light/new_address_to_watch", bob.address)
    joint = alice.compose([Output(bob.address, 1_000)])
    poster.ask("post_joint", joint)
    assert [body["unit"]["unit"] for body in watcher.told("joint")] == [joint["unit"]["unit"]]
    assert poster.told("joint") == []
    assert watcher.told("light/have_updates") == []
    hub.ledger.settle()
    assert len(watcher.told("light/have_updates")) == len(poster.told("light/have_updates")) == 1


def test_asking_for_a_history_watches_addresses_and_units(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    history(client, addresses=[bob.address])
    record = alice.pay(bob.address, 1_000)
    assert client.told("joint")
    other = hub.connect()
    history(other, requested_joints=[record.hash])
    hub.ledger.settle()
    assert other.told("light/have_updates") == [None]


def test_watches_end_with_the_connection(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    client.say("light/new_address_to_watch", bob.address)
    client.session.end()
    alice.pay(bob.address, 1_000)
    assert client.told("joint") == []


def test_response_is_announced_as_an_update_not_as_a_joint(hub: Hub, client: Client, channel: TestChannel) -> None:
    client.say("light/new_address_to_watch", channel.address)
    hub.ledger.post(channel.open_unit(50_000))
    hub.ledger.advance()
    assert client.told("light/have_updates") == []
    hub.ledger.advance()
    assert client.told("light/have_updates") == [None]
    assert len(client.told("joint")) == 1


def test_agent_watcher_hears_requests_and_responses(
    hub: Hub, client: Client, channel: TestChannel, alice: Actor, carol: Actor
) -> None:
    client.say("light/new_aa_to_watch", {"aa": BASE_AGENT})
    joint = channel.open_unit(50_000)
    hub.ledger.post(joint)
    assert [unit["unit"] for unit in client.told("light/aa_definition")] == [joint["unit"]["unit"]]
    client.say("light/new_aa_to_watch", {"aa": channel.address, "address": alice.address})
    hub.ledger.settle()
    assert client.told("light/aa_response") == []
    carol.trigger(channel.address, amount=20_000)
    asked = alice.trigger(channel.address, amount=20_000)
    assert [body["unit"]["unit"] for body in client.told("light/aa_request")] == [asked.hash]
    hub.ledger.settle()
    (response,) = client.told("light/aa_response")
    assert response["trigger_unit"] == asked.hash
    assert response["bounced"] is False
    assert response["objResponseUnit"]["unit"] == response["response_unit"]
    assert response["updatedStateVars"][channel.address]["event_id"] == {"value": 3, "old_value": 2, "delta": 1}


def test_what_is_no_agent_cannot_be_watched_as_one(client: Client, alice: Actor) -> None:
    client.say("light/new_aa_to_watch", {"aa": alice.address})
    client.say("light/new_aa_to_watch", {"aa": "nonsense"})
    client.say("light/new_aa_to_watch")
    assert len(client.told("error")) == 3


def test_watcher_is_told_of_units_in_doubt(hub: Hub, client: Client, alice: Actor, bob: Actor, carol: Actor) -> None:
    client.say("light/new_address_to_watch", bob.address)
    coins, parents = alice.coins(), alice.parents()
    first = alice.compose([Output(bob.address, 1_000)], coins=coins, parents=parents)
    second = alice.compose([Output(carol.address, 1_000)], coins=coins, parents=parents)
    hub.ledger.post(first, with_conflicts=True)
    hub.ledger.post(second, with_conflicts=True)
    assert client.told("light/sequence_became_bad") == [[first["unit"]["unit"]]]


def test_system_variables_are_told_once_per_connection(client: Client, bob: Actor) -> None:
    history(client, addresses=[bob.address])
    history(client, addresses=[bob.address])
    assert len(client.told("system_vars")) == 1


def test_faults_happen_once_and_after_the_deed(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    hub.faults.lose_answer("post_joint")
    joint = alice.compose([Output(bob.address, 1_000)])
    with pytest.raises(LookupError):
        client.ask("post_joint", joint)
    assert client.ask("post_joint", joint) == {"error": "known"}

    hub.faults.drop_connection_after("post_joint")
    with pytest.raises(LookupError):
        client.ask("post_joint", alice.compose([Output(bob.address, 1_000)]))
    assert client.is_cut

    hub.faults.delay_answer("get_witnesses", 2.5)
    client.ask("get_witnesses")
    assert client.delays[-1] == 2.5


def test_refusal_carries_out_nothing(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    hub.faults.refuse("post_joint", "unknown parents")
    joint = alice.compose([Output(bob.address, 1_000)])
    assert client.ask("post_joint", joint) == {"error": "unknown parents"}
    assert client.ask("post_joint", joint) == "accepted"


def test_faucet_pays_on_request(hub: Hub, client: Client, alice: Actor) -> None:
    answer = client.ask("devnet/fund", {"address": alice.address, "amount": 5_000})
    assert answer["unit"] in hub.ledger.state.dag.records
    asset = client.ask("devnet/issue", {"cap": 1_000})["asset"]
    client.ask("devnet/fund", {"address": alice.address, "amount": 400, "asset": asset})
    assert alice.balance(asset) == 400
    assert client.ask("devnet/stabilise") == {"last_stable_mci": hub.ledger.state.last_stable_mci}
    assert hub.ledger.is_settled


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("devnet/fund", None),
        ("devnet/fund", {}),
        ("devnet/fund", {"address": "nobody", "amount": 5}),
        ("devnet/fund", {"address": BASE_AGENT}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": 0}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": 1.5}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": True}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": 10**15}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": 10**16}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": 5, "asset": "bytes"}),
        ("devnet/fund", {"address": BASE_AGENT, "amount": 5, "asset": "A" * 43 + "="}),
        ("devnet/issue", {"cap": 0}),
        ("devnet/issue", {"cap": 10**16}),
        ("devnet/skip_time", {"seconds": -1}),
        ("devnet/skip_time", {"seconds": "1"}),
        ("devnet/skip_time", {"seconds": 1, "agents_only": "yes"}),
        ("devnet/skip_time", {"seconds": True}),
    ],
)
def test_bad_private_requests_are_refused(client: Client, command: str, params: Any) -> None:
    assert client.ask(command, params).keys() == {"error"}


def test_skipped_time_passes_for_agents_unless_the_whole_ledger_is_meant(hub: Hub, client: Client) -> None:
    before = hub.ledger.now_s()
    told = {"now": before, "agents_now": before + 100}
    assert client.ask("devnet/skip_time", {"seconds": 100}) == told
    assert client.ask("devnet/skip_time", {"seconds": 0, "agents_only": True}) == told
    assert hub.ledger.advance().timestamp_s < before + 100
    told = {"now": before + 50, "agents_now": before + 150}
    assert client.ask("devnet/skip_time", {"seconds": 50, "agents_only": False}) == told
    assert hub.ledger.advance().timestamp_s >= before + 50
