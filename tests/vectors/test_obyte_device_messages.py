"""Login, temporary keys, encryption and messages of devices, byte for byte."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from shared.obyte.device_encryption import decrypt, encrypt, shared_x
from shared.obyte.device_login import is_signed_by, login, read_temporary_key, signed, temporary_key_package
from shared.obyte.device_messages import open_message
from shared.obyte.errors import DeviceMessageError
from shared.obyte.hashing import base64_hash, device_digest
from shared.obyte.keys import KeyPair
from shared.obyte.serialization import typed_source
from tests.vectors.obyte_vectors import FOLDER, Case, cases, label, parse_js_json

DOCUMENT: Any = parse_js_json((FOLDER / "device_messages.json").read_bytes())
KNOWN_KINDS = {
    "hub_login",
    "temp_pubkey_package",
    "ecdh",
    "device_message",
    "decrypt_only",
    "device_message_hash_ignores_nulls",
}
OWN = {
    key.pubkey_b64: key
    for key in (
        KeyPair(bytes.fromhex(DOCUMENT["keys"][f"{name}_private_key_hex"]))
        for name in ("permanent", "temp", "prev_temp")
    )
}
OWN_ADDRESS = DOCUMENT["keys"]["my_device_address"]
MESSAGES = cases("device_messages", "device_message")


def key_of(case: Case, name: str = "private_key_hex") -> KeyPair:
    return KeyPair(bytes.fromhex(case[name]))


def test_every_kind_of_case_is_tested() -> None:
    assert {case["kind"] for case in cases("device_messages")} == KNOWN_KINDS


@pytest.mark.parametrize("case", cases("device_messages", "hub_login"))
def test_login(case: Case) -> None:
    assert login(case["challenge"], key_of(case)) == case["login"]
    unsigned = {name: value for name, value in case["login"].items() if name != "signature"}
    assert typed_source(unsigned).encode().hex() == case["source_string_hex"]
    assert device_digest(case["login"]).hex() == case["hash_to_sign_hex"]


@pytest.mark.parametrize("case", cases("device_messages", "temp_pubkey_package"), ids=label)
def test_temporary_keys(case: Case) -> None:
    package = case["package"]
    if not case["valid"]:
        with pytest.raises(DeviceMessageError) as refused:
            read_temporary_key(package, package["pubkey"])
        assert refused.value.code == "invalid_temporary_key"
        return
    assert temporary_key_package(package["temp_pubkey"], key_of(case)) == package
    assert read_temporary_key(package, package["pubkey"]) == package["temp_pubkey"]
    assert device_digest(package).hex() == case["hash_to_sign_hex"]


@pytest.mark.parametrize("case", cases("device_messages", "ecdh"))
def test_shared_secrets(case: Case) -> None:
    x = shared_x(bytes.fromhex(case["private_key_hex"]), case["peer_pubkey_b64"])
    assert x.hex() == case["shared_x_hex"]
    assert hashlib.sha256(x).digest()[:16].hex() == case["aes_key_hex"]


@pytest.mark.parametrize("case", MESSAGES, ids=label)
def test_encryption_gives_the_same_bytes_from_the_same_randomness(case: Case) -> None:
    randomness = {32: bytes.fromhex(case["ephemeral_private_key_hex"]), 12: bytes.fromhex(case["iv_hex"])}
    package = encrypt(case["plaintext"].encode(), case["recipient_pubkey_b64"], randomness.__getitem__)
    assert package == case["device_message"]["encrypted_package"]


@pytest.mark.parametrize("case", MESSAGES, ids=label)
def test_signing_a_message(case: Case) -> None:
    message = case["device_message"]
    unsigned = {name: value for name, value in message.items() if name != "signature"}
    assert typed_source(unsigned).encode().hex() == case["source_string_hex"]
    assert device_digest(message).hex() == case["hash_to_sign_hex"]
    assert signed(unsigned, key_of(case, "sender_private_key_hex")) == message
    assert is_signed_by(message, message["pubkey"])


@pytest.mark.parametrize("form", ["message_hash", "message_hash_json"])
@pytest.mark.parametrize("case", MESSAGES, ids=label)
def test_opening_a_message_by_either_hash(case: Case, form: str) -> None:
    opened = open_message({"message_hash": case[form], "message": case["device_message"]}, OWN_ADDRESS, OWN)
    told = case["decrypted_json"]
    assert (opened.sender, opened.device_hub) == (told["from"], told["device_hub"])
    assert (opened.subject, opened.body) == (told["subject"], told["body"])
    assert opened.text == case["plaintext"].encode()
    assert opened.recipient_pubkey == case["recipient_pubkey_b64"]
    assert opened.sender == DOCUMENT["keys"]["sender_device_address"]


@pytest.mark.parametrize("case", MESSAGES, ids=label)
def test_hashes_of_a_message(case: Case) -> None:
    assert base64_hash(case["device_message"], typed=True) == case["message_hash"]
    assert base64_hash(case["device_message"]) == case["message_hash_json"]


@pytest.mark.parametrize("case", cases("device_messages", "decrypt_only"), ids=label)
def test_decryption_of_what_the_reference_has_encrypted(case: Case) -> None:
    if case.get("must_fail"):
        with pytest.raises(DeviceMessageError) as refused:
            decrypt(case["encrypted_package"], OWN)
        assert refused.value.code == "undecryptable"
    else:
        assert decrypt(case["encrypted_package"], OWN).content == case["decrypted_json"]


@pytest.mark.parametrize("case", cases("device_messages", "device_message_hash_ignores_nulls"))
def test_nulls_are_not_signed(case: Case) -> None:
    assert device_digest(case["message"]).hex() == case["hash_to_sign_hex"]
