from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte.device_encryption import MAX_LAYERS, decrypt, encrypt_json, new_key
from shared.obyte.device_login import is_signed_by, login, read_temporary_key, signed, temporary_key_package
from shared.obyte.device_messages import DeviceMessage, message_hash_of, open_message, seal_message
from shared.obyte.errors import DeviceMessageError
from shared.obyte.hashing import base64_hash
from shared.obyte.keys import KeyPair
from shared.obyte.serialization import parse_js_json

ALICE = KeyPair(bytes([1]) * 32)
BOB = KeyPair(bytes([2]) * 32)
BOBS_TEMPORARY = KeyPair(bytes([3]) * 32)
BOBS_KEYS = {key.pubkey_b64: key for key in (BOB, BOBS_TEMPORARY)}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def sealed(body: Any = "hello", **changes: Any) -> dict[str, Any]:
    """A message from Alice to Bob; `changes` are made before it is signed."""
    message = seal_message(
        subject="text",
        body=body,
        key=ALICE,
        device_hub="hub.example",
        recipient=BOB.device_address,
        temp_pubkey=BOBS_TEMPORARY.pubkey_b64,
        random_bytes=secrets.token_bytes,
    )
    return signed({**message, **changes}, ALICE) if changes else message


def delivered(message: dict[str, Any]) -> dict[str, Any]:
    return {"message_hash": base64_hash(message, typed=True), "message": message}


def opened(found: Any) -> DeviceMessage:
    return open_message(found, BOB.device_address, BOBS_KEYS)


def refusal(found: Any) -> str:
    with pytest.raises(DeviceMessageError) as refused:
        opened(found)
    return refused.value.code


def inside(content: Any, key: KeyPair = BOBS_TEMPORARY) -> dict[str, Any]:
    """A message of Alice whose encrypted content is this."""
    package = encrypt_json(content, key.pubkey_b64, secrets.token_bytes)
    return signed({"encrypted_package": package, "to": BOB.device_address, "pubkey": ALICE.pubkey_b64}, ALICE)


def content(**changes: Any) -> dict[str, Any]:
    return {"from": ALICE.device_address, "device_hub": "hub", "subject": "text", "body": "x", **changes}


@given(body=JSON)
def test_whatever_is_sealed_can_be_opened(body: Any) -> None:
    read = opened(delivered(sealed(body)))
    assert (read.sender, read.device_hub, read.subject) == (ALICE.device_address, "hub.example", "text")
    assert read.body == parse_js_json(json.dumps(body))


def test_two_messages_share_no_key_and_no_vector() -> None:
    first, second = sealed()["encrypted_package"], sealed()["encrypted_package"]
    assert first["iv"] != second["iv"]
    assert first["dh"]["sender_ephemeral_pubkey"] != second["dh"]["sender_ephemeral_pubkey"]


@pytest.mark.parametrize("field", ["encrypted_package", "to", "pubkey", "signature"])
def test_a_message_without_a_field_is_refused(field: str) -> None:
    message = sealed()
    del message[field]
    assert refusal(delivered(message)) in {"missing_field", "not_for_us", "wrong_signature"}


def test_a_message_for_another_device_is_refused() -> None:
    assert refusal(delivered(sealed(to=ALICE.device_address))) == "not_for_us"


def test_a_message_under_another_hash_is_refused() -> None:
    assert refusal({**delivered(sealed()), "message_hash": base64_hash("other")}) == "wrong_hash"


@pytest.mark.parametrize("name", [None, "", 1, "short", "=" * 44])
def test_what_is_no_hash_cannot_even_be_deleted(name: Any) -> None:
    assert message_hash_of({"message_hash": name}) is None
    assert refusal({**delivered(sealed()), "message_hash": name}) == "missing_field"


def test_a_message_that_was_changed_after_signing_is_refused() -> None:
    message = sealed()
    message["encrypted_package"]["authtag"] = encrypt_json({"a": 1}, BOB.pubkey_b64, secrets.token_bytes)["authtag"]
    assert refusal(delivered(message)) == "wrong_signature"


def test_a_hub_cannot_put_another_sender_on_a_message() -> None:
    stolen = sealed()["encrypted_package"]
    mallory = KeyPair(bytes([9]) * 32)
    forged = signed({"encrypted_package": stolen, "to": BOB.device_address, "pubkey": mallory.pubkey_b64}, mallory)
    assert refusal(delivered(forged)) == "wrong_sender"


def test_a_message_to_a_key_we_do_not_have_is_refused() -> None:
    assert refusal(delivered(inside(content(), ALICE))) == "unknown_key"


@pytest.mark.parametrize("damage", [{"iv": "AAAA"}, {"authtag": "AAAA"}, {"encrypted_message": "a=b"}, {"iv": 1}])
def test_a_package_in_another_form_is_refused(damage: dict[str, Any]) -> None:
    package = {**sealed()["encrypted_package"], **damage}
    assert refusal(delivered(sealed(encrypted_package=package))) in {"undecryptable", "missing_field"}


@pytest.mark.parametrize("sender", ["", "AAAA", "A" * 44])
def test_a_sender_key_off_the_curve_is_refused(sender: str) -> None:
    package = sealed()["encrypted_package"]
    package["dh"]["sender_ephemeral_pubkey"] = sender
    with pytest.raises(DeviceMessageError) as refused:
        decrypt(package, BOBS_KEYS)
    assert refused.value.code == "undecryptable"


@pytest.mark.parametrize("subject", [None, "", 1, "s" * 65])
def test_a_message_without_a_subject_is_refused(subject: Any) -> None:
    assert refusal(delivered(inside(content(subject=subject)))) == "missing_field"


def test_a_device_hub_that_is_no_text_is_left_out() -> None:
    assert opened(delivered(inside(content(device_hub=5)))).device_hub is None


def test_layers_are_taken_off_up_to_a_limit() -> None:
    wrapped: dict[str, Any] = content()
    for _ in range(MAX_LAYERS - 1):
        wrapped = {"encrypted_package": encrypt_json(wrapped, BOB.pubkey_b64, secrets.token_bytes)}
    read = opened(delivered(inside(wrapped)))
    assert (read.body, read.recipient_pubkey) == ("x", BOBS_TEMPORARY.pubkey_b64)
    wrapped = {"encrypted_package": encrypt_json(wrapped, BOB.pubkey_b64, secrets.token_bytes)}
    assert refusal(delivered(inside(wrapped))) == "too_many_layers"


@given(found=JSON)
def test_nothing_a_hub_delivers_raises_anything_else(found: Any) -> None:
    for hostile in (
        found,
        {"message_hash": base64_hash("x"), "message": found},
        {"message": {"encrypted_package": found}},
    ):
        with pytest.raises(DeviceMessageError):
            opened(hostile)


@given(package=JSON)
def test_nothing_inside_a_signed_message_raises_anything_else(package: Any) -> None:
    for hostile in (package, {"dh": package}):
        with pytest.raises(DeviceMessageError):
            decrypt(hostile, BOBS_KEYS)


def test_a_temporary_key_counts_only_when_its_owner_has_signed_it() -> None:
    package = temporary_key_package(BOBS_TEMPORARY.pubkey_b64, BOB)
    assert read_temporary_key(package, BOB.pubkey_b64) == BOBS_TEMPORARY.pubkey_b64
    hostile: list[Any] = [
        temporary_key_package(BOBS_TEMPORARY.pubkey_b64, ALICE),
        signed({"temp_pubkey": ALICE.pubkey_b64, "pubkey": BOB.pubkey_b64}, ALICE),
        signed({"temp_pubkey": "AAAA", "pubkey": BOB.pubkey_b64}, BOB),
        signed({"pubkey": BOB.pubkey_b64}, BOB),
        {},
        None,
        "text",
    ]
    for package in hostile:
        with pytest.raises(DeviceMessageError) as refused:
            read_temporary_key(package, BOB.pubkey_b64)
        assert refused.value.code == "invalid_temporary_key"


def test_the_limits_of_a_login_are_signed_too() -> None:
    body = login("challenge", ALICE, max_message_length=1000, max_message_count=100)
    assert is_signed_by(body, ALICE.pubkey_b64)
    assert not is_signed_by({**body, "max_message_count": 1}, ALICE.pubkey_b64)


def test_numbers_that_are_no_keys_are_drawn_again() -> None:
    draws = iter([bytes(32), b"\xff" * 32, bytes([5]) * 32])
    assert new_key(lambda _: next(draws)) == KeyPair(bytes([5]) * 32)
