"""Messages between devices: who may send, what is kept for whom, and when it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from devnet import relay
from shared.obyte.addresses import device_address
from shared.obyte.hashing import base64_hash, device_digest
from shared.obyte.keys import KeyPair
from tests.devnet_support import Client, Hub

if TYPE_CHECKING:
    from devnet.ledger import Ledger

ALICE, BOB = KeyPair(b"\5" * 32), KeyPair(b"\6" * 32)
TEMPORARY = KeyPair(b"\7" * 32).pubkey_b64
FULL = {"error": "this hub keeps no more messages"}
NO_MESSAGES = ["0 messages sent"]


@pytest.fixture
def hub(ledger: Ledger) -> Hub:
    return Hub(ledger)


@pytest.fixture
def stranger(hub: Hub) -> Client:
    """Whoever sends: no login is needed for that."""
    return hub.connect()


def signed(key: KeyPair, message: dict[str, Any]) -> dict[str, Any]:
    return message | {"signature": key.sign(device_digest(message))}


def log_in(hub: Hub, key: KeyPair, **limits: int) -> Client:
    client = hub.connect()
    login = {"challenge": client.told("hub/challenge")[0], "pubkey": key.pubkey_b64, **limits}
    client.say("hub/login", signed(key, login))
    return client


def message(
    number: int = 0, *, sender: KeyPair = ALICE, to: KeyPair = BOB, encrypted_to: str = BOB.pubkey_b64, length: int = 10
) -> dict[str, Any]:
    keys = {"sender_ephemeral_pubkey": TEMPORARY, "recipient_ephemeral_pubkey": encrypted_to}
    text = f"{number:0{length}}"
    package = {"encrypted_message": text, "iv": "i", "authtag": "t", "dh": keys}
    whole = {"encrypted_package": package, "to": device_address(to.pubkey_b64), "pubkey": sender.pubkey_b64}
    return signed(sender, whole)


def received(client: Client) -> list[int]:
    return [int(told["message"]["encrypted_package"]["encrypted_message"]) for told in client.told("hub/message")]


def test_new_device_is_told_so_and_a_known_one_what_is_there(hub: Hub) -> None:
    assert log_in(hub, BOB).told("info") == ["address created"]
    again = log_in(hub, BOB)
    assert again.told("info") == NO_MESSAGES
    assert again.told("hub/message_box_status") == ["empty"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"challenge": "other"}, "wrong challenge"),
        ({"pubkey": None}, "no login params"),
        ({"signature": ""}, "no login params"),
        ({"pubkey": "short"}, "wrong pubkey length"),
        ({"signature": "short"}, "wrong signature length"),
        ({"signature": "A" * 88}, "wrong signature"),
        ({"pubkey": ALICE.pubkey_b64}, "wrong signature"),
        ({"max_message_length": "1"}, "max_message_length must be an integer"),
        ({"max_message_count": 101}, "max_message_count must be an integer > 0 and <= 100"),
    ],
)
def test_login_is_refused(hub: Hub, change: dict[str, Any], complaint: str) -> None:
    client = hub.connect()
    login = signed(BOB, {"challenge": client.told("hub/challenge")[0], "pubkey": BOB.pubkey_b64})
    client.say("hub/login", login | change)
    assert client.told("error") == [complaint]
    client.say("hub/refresh")
    assert client.told("error")[1:] == ["please log in first"]


def test_challenge_is_repeated_and_nulls_are_not_signed(hub: Hub) -> None:
    client = hub.connect()
    client.say("hub/repeat_challenge")
    first, second = client.told("hub/challenge")
    assert first == second
    login = signed(BOB, {"challenge": first, "pubkey": BOB.pubkey_b64})
    client.say("hub/login", login | {"max_message_length": None})
    assert client.told("error") == []


def test_message_is_told_at_once_to_every_connection_of_the_device(hub: Hub, stranger: Client) -> None:
    connections = [log_in(hub, BOB), log_in(hub, BOB)]
    other = log_in(hub, ALICE)
    sent = message(1)
    assert stranger.ask("hub/deliver", sent) == "accepted"
    for connection in connections:
        assert connection.told("hub/message") == [{"message_hash": base64_hash(sent, typed=True), "message": sent}]
    assert received(other) == []


def test_recipient_hears_before_the_sender_does(hub: Hub) -> None:
    both = log_in(hub, BOB)
    both.ask("hub/deliver", message(1))
    subjects = [body.get("subject", body.get("command")) for _, body in both.frames]
    assert subjects[-2:] == ["hub/message", "hub/deliver"]


def test_message_for_one_who_is_away_waits_and_comes_again_until_deleted(hub: Hub, stranger: Client) -> None:
    log_in(hub, BOB).session.end()
    for number in (1, 2, 3):
        stranger.ask("hub/deliver", message(number))
    bob = log_in(hub, BOB)
    assert received(bob) == [1, 2, 3]
    assert bob.told("info") == ["3 messages sent"]
    first = bob.told("hub/message")[0]["message_hash"]
    bob.say("hub/delete", first)
    assert bob.told("info")[-1] == f"deleted message {first}"
    bob.say("hub/refresh")
    assert received(bob) == [1, 2, 3, 2, 3]
    assert received(log_in(hub, BOB)) == [2, 3]


def test_connection_that_is_gone_is_told_nothing(hub: Hub, stranger: Client) -> None:
    bob = log_in(hub, BOB)
    bob.session.end()
    assert stranger.ask("hub/deliver", message(1)) == "accepted"
    assert received(bob) == []


def test_box_is_emptied_in_portions(hub: Hub, stranger: Client) -> None:
    log_in(hub, BOB)
    for number in range(3):
        stranger.ask("hub/deliver", message(number))
    bob = log_in(hub, BOB, max_message_count=2)
    assert (received(bob), bob.told("hub/message_box_status")) == ([0, 1], ["has_more"])
    for told in bob.told("hub/message"):
        bob.say("hub/delete", told["message_hash"])
    bob.say("hub/refresh")
    assert (received(bob), bob.told("hub/message_box_status")) == ([0, 1, 2], ["has_more", "empty"])


def test_hundred_messages_come_at_once(hub: Hub, stranger: Client) -> None:
    log_in(hub, BOB)
    for number in range(101):
        stranger.ask("hub/deliver", message(number))
    bob = log_in(hub, BOB)
    assert received(bob) == list(range(100))
    assert bob.told("hub/message_box_status") == ["has_more"]


def test_messages_over_the_limit_are_not_told_and_deleted_at_login(hub: Hub, stranger: Client) -> None:
    length = len(json.dumps(message(1), separators=(",", ":")))
    exact, tight = log_in(hub, BOB, max_message_length=length), log_in(hub, BOB, max_message_length=length - 1)
    stranger.ask("hub/deliver", message(1))
    assert (received(exact), received(tight)) == ([1], [])
    assert received(log_in(hub, BOB)) == [1]
    assert received(log_in(hub, BOB, max_message_length=length - 1)) == []
    assert received(log_in(hub, BOB)) == []


def test_same_message_twice_is_kept_once(hub: Hub, stranger: Client) -> None:
    bob = log_in(hub, BOB)
    for _ in range(2):
        assert stranger.ask("hub/deliver", message(1)) == "accepted"
    assert received(bob) == [1, 1]
    assert received(log_in(hub, BOB)) == [1]


def test_same_message_again_takes_no_room(hub: Hub, stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(hub, BOB)
    monkeypatch.setattr(relay, "MAX_STORED_CHARACTERS", 800)
    for _ in range(3):
        assert stranger.ask("hub/deliver", message(1)) == "accepted"


def test_nobody_deletes_the_messages_of_another(hub: Hub, stranger: Client) -> None:
    bob = log_in(hub, BOB)
    stranger.ask("hub/deliver", message(1))
    log_in(hub, ALICE).say("hub/delete", bob.told("hub/message")[0]["message_hash"])
    assert received(log_in(hub, BOB)) == [1]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (None, "no message hash"),
        ("x", "invalid message hash"),
        (["x"], "invalid message hash"),
        ("A" * 43 + "=", "please log in first"),
    ],
)
def test_deletion_is_refused(stranger: Client, body: Any, complaint: str) -> None:
    stranger.say("hub/delete", body)
    assert stranger.told("error") == [complaint]


def nested(levels: int) -> Any:
    return nested(levels - 1) | {"deeper": nested(levels - 1)} if levels else {"end": 1}


def changed(**change: Any) -> dict[str, Any]:
    whole = {key: value for key, value in message(1).items() if key != "signature"} | change
    return signed(ALICE, whole)


PACKAGE = message(1)["encrypted_package"]


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        (None, "missing fields"),
        ([], "missing fields"),
        (message(1) | {"signature": ""}, "missing fields"),
        (changed(encrypted_package=PACKAGE | {"iv": None}), "missing fields"),
        (changed(encrypted_package=PACKAGE | {"dh": "keys"}), "missing fields"),
        (changed(to="me"), "invalid to address"),
        (changed(extra=nested(3)), "device message is too deeply nested or has too many nodes"),
        (changed(extra=[1] * 101), "device message is too deeply nested or has too many nodes"),
        (message(1) | {"pubkey": BOB.pubkey_b64}, "wrong message signature"),
        (changed(extra="") | {"extra": []}, "message hash failed: "),
        (message(1, to=ALICE), f"address {device_address(ALICE.pubkey_b64)} not registered here"),
        (message(1, encrypted_to=TEMPORARY), "wrong recipient ephemeral pubkey"),
    ],
)
def test_delivery_is_refused(hub: Hub, stranger: Client, params: Any, complaint: str) -> None:
    bob = log_in(hub, BOB)
    error = stranger.ask("hub/deliver", params)["error"]
    assert error.startswith(complaint) if complaint.endswith(" ") else error == complaint
    assert received(bob) == []


def test_message_of_five_levels_is_taken(hub: Hub, stranger: Client) -> None:
    log_in(hub, BOB)
    assert stranger.ask("hub/deliver", changed(extra=nested(2))) == "accepted"


def test_temporary_key_is_kept_for_correspondents(hub: Hub, stranger: Client) -> None:
    assert stranger.ask("hub/get_temp_pubkey", BOB.pubkey_b64) == {
        "error": "device with this pubkey is not registered here"
    }
    bob = log_in(hub, BOB)
    assert stranger.ask("hub/get_temp_pubkey", BOB.pubkey_b64) == {"error": "temp pub key not set yet"}
    package = signed(BOB, {"temp_pubkey": TEMPORARY, "pubkey": BOB.pubkey_b64})
    assert bob.ask("hub/temp_pubkey", package) == "updated"
    assert stranger.ask("hub/get_temp_pubkey", BOB.pubkey_b64) == package
    assert stranger.ask("hub/deliver", message(1, encrypted_to=TEMPORARY)) == "accepted"
    assert stranger.ask("hub/deliver", message(2)) == "accepted"  # to the permanent key too


@pytest.mark.parametrize("key", [None, "", "A" * 43, 5])
def test_temporary_key_is_asked_for_by_a_whole_key(stranger: Client, key: Any) -> None:
    assert stranger.ask("hub/get_temp_pubkey", key) == {"error": "wrong permanent_pubkey length"}


def temporary_key(key: KeyPair = BOB, **change: Any) -> dict[str, Any]:
    return signed(key, {"temp_pubkey": TEMPORARY, "pubkey": key.pubkey_b64} | change)


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        (None, "no temp_pubkey params"),
        (temporary_key(temp_pubkey=""), "no temp_pubkey params"),
        (temporary_key(more=1), "unexpected fields in temp_pubkey package"),
        (temporary_key(temp_pubkey="x"), "wrong temp_pubkey length"),
        (temporary_key(pubkey="x"), "wrong pubkey length"),
        (temporary_key(ALICE), "signed by another pubkey"),
        (temporary_key(pubkey="!" * 44), "signed by another pubkey"),
        (temporary_key() | {"signature": "A" * 88}, "wrong signature"),
    ],
)
def test_temporary_key_is_refused(hub: Hub, params: Any, complaint: str) -> None:
    assert log_in(hub, BOB).ask("hub/temp_pubkey", params) == {"error": complaint}


def test_what_is_kept_is_bounded(hub: Hub, stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = log_in(hub, BOB)
    monkeypatch.setattr(relay, "MAX_STORED_CHARACTERS", 800)
    answers = [stranger.ask("hub/deliver", message(number)) for number in range(3)]
    assert answers == ["accepted", FULL, FULL]
    bob.say("hub/delete", bob.told("hub/message")[0]["message_hash"])
    assert stranger.ask("hub/deliver", message(2)) == "accepted"
    monkeypatch.setattr(relay, "MAX_DEVICES", 1)
    assert log_in(hub, ALICE).told("error") == ["this hub takes no more devices"]


def test_hubs_of_one_ledger_know_different_devices(hub: Hub, ledger: Ledger) -> None:
    log_in(hub, BOB)
    elsewhere = Hub(ledger).connect()
    assert elsewhere.ask("hub/deliver", message(1)).keys() == {"error"}
