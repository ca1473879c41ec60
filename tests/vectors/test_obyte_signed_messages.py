from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.obyte.errors import SignedMessageError
from shared.obyte.networks import network_named
from shared.obyte.signatures import verify
from shared.obyte.signed_messages import hash_to_sign, verify_signed_message
from tests.vectors.obyte_vectors import Case, cases, label

if TYPE_CHECKING:
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MESSAGES = cases("signed_messages")
JUDGED = [case for case in MESSAGES if "valid" in case]
NETWORK_AWARE = [case for case in MESSAGES if case.get("hash_only")]
HASHED = [case for case in MESSAGES + cases("payment_packages") if "hash_to_sign_hex" in case]

# The code with which we refuse what the reference refuses in these words.
CODES = {
    "not signed by the expected address": "wrong_signer",
    "unsupported version": "unsupported_version",
    "bad signature at path": "bad_signature",
    "wrong definition": "wrong_definition",
    "unknown fields": "unknown_fields",
    "foreign fields in author": "invalid_author",
    "no signed message": "no_signed_message",
    "no authors": "invalid_authors",
    "no authentifiers": "invalid_authentifiers",
    "authentifiers must be nonempty strings": "invalid_authentifiers",
    "some authentifiers are not used": "unused_authentifiers",
    "invalid signed message: Error: null": "null_value",
    "invalid signed message: Error: empty object": "empty_object",
    "invalid signed message: Error: empty array": "empty_array",
    "invalid last_ball_unit": "invalid_last_ball_unit",
    "AA cannot be defined": "agent_definition",
    "author addresses not sorted": "unsorted_authors",
    "authentifier verification failed": "definition_not_satisfied",
    "default algo must not": "invalid_definition",
    "wrong pubkey length": "invalid_definition",
    "no definition": "definition_expected",
    "not valid address": "invalid_address",
    "authors not an array of len 1": "several_authors",
}


def network_of(case: Case) -> Network:
    return network_named(case["network"])


@pytest.mark.parametrize("case", HASHED, ids=label)
def test_hash_to_sign(case: Case) -> None:
    assert hash_to_sign(case["package"], network_of(case)).hex() == case["hash_to_sign_hex"]


@pytest.mark.parametrize("case", [case for case in JUDGED if case["valid"]], ids=label)
def test_accepts(case: Case) -> None:
    signer = case.get("expected_signer")
    message = verify_signed_message(case["package"], network_of(case), expected_signer=signer)
    assert message.payload == case["package"]["signed_message"]
    assert message.signer == signer or message.authors == (message.signer,)


@pytest.mark.parametrize("case", [case for case in JUDGED if not case["valid"]], ids=label)
def test_refuses(case: Case) -> None:
    with pytest.raises(SignedMessageError) as refusal:
        verify_signed_message(case["package"], network_of(case), expected_signer=case.get("expected_signer"))
    assert [refusal.value.code] == [code for words, code in CODES.items() if case["error"].startswith(words)]


@pytest.mark.parametrize("case", NETWORK_AWARE, ids=label)
def test_a_network_aware_package_needs_the_ledger(case: Case) -> None:
    package, network = case["package"], network_of(case)
    with pytest.raises(SignedMessageError) as refusal:
        verify_signed_message(package, network)
    assert refusal.value.code == "network_aware"
    [author] = package["authors"]
    assert verify(hash_to_sign(package, network), author["authentifiers"]["r"], case["signer_pubkey"])

    asked = []

    def find_definition(address: str, last_ball_unit: str) -> JsonValue:
        asked.append((address, last_ball_unit))
        return ["sig", {"pubkey": case["signer_pubkey"]}]

    message = verify_signed_message(package, network, find_definition=find_definition)
    assert message.last_ball_unit == package["last_ball_unit"]
    assert asked == [(author["address"], package["last_ball_unit"])]


@pytest.mark.parametrize("case", cases("payment_packages"), ids=label)
def test_payment_packages(case: Case) -> None:
    assert case["signature_valid"]
    assert verify_signed_message(case["package"], network_of(case)).signer == case["signer"]


@pytest.mark.parametrize("case", cases("payment_packages"), ids=label)
def test_a_payment_package_of_one_network_is_refused_on_the_others(case: Case) -> None:
    for name in {"livenet", "testnet", "devnet"} - {case["network"]}:
        with pytest.raises(SignedMessageError) as refusal:
            verify_signed_message(case["package"], network_named(name))
        assert refusal.value.code == "unsupported_version"
