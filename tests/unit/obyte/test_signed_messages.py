from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from shared.obyte.addresses import definition_address
from shared.obyte.errors import SignedMessageError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET, LIVENET, TESTNET
from shared.obyte.signed_messages import MAX_AUTHORS, hash_to_sign, sign_message, verify_signed_message
from tests.unit.obyte.strategies import hashable_values

KEY = KeyPair(b"\x11" * 32)
OTHER = KeyPair(b"\x22" * 32)
PAYLOAD = {"amount_spent": 1000, "period": 1}
LAST_BALL_UNIT = "aLR8td71hxfvKoGN6CbxN5MIUE0t+sqfcV8RTfUwFpc="


def code_of(package: Any, **options: Any) -> str:
    with pytest.raises(SignedMessageError) as refusal:
        verify_signed_message(package, LIVENET, **options)
    return refusal.value.code


def signed(fields: dict[str, Any], *keys: KeyPair, definitions: bool = True) -> dict[str, Any]:
    """Sign a package of any form by all `keys`, in the order of their addresses."""
    authors = [
        {"address": key.address} | ({"definition": key.definition} if definitions else {})
        for key in sorted(keys, key=lambda key: key.address)
    ]
    package = {"signed_message": PAYLOAD, **fields, "authors": authors}
    digest = hash_to_sign(package, LIVENET)
    for author, key in zip(authors, sorted(keys, key=lambda key: key.address), strict=True):
        author["authentifiers"] = {"r": key.sign(digest)}
    return package


@given(hashable_values)
def test_what_is_signed_verifies(payload: Any) -> None:
    for network in (LIVENET, TESTNET, DEVNET):
        message = verify_signed_message(sign_message(payload, KEY, network), network)
        assert message.payload == payload
        assert message.signer == KEY.address
        assert message.authors == (KEY.address,)


@given(hashable_values, hashable_values)
def test_a_signature_is_for_one_payload_only(one: Any, other: Any) -> None:
    package = sign_message(one, KEY, LIVENET)
    package["signed_message"] = other
    if hash_to_sign(package, LIVENET) != hash_to_sign(sign_message(one, KEY, LIVENET), LIVENET):
        assert code_of(package) == "bad_signature"


def test_neither_payload_nor_signature_is_in_a_repr() -> None:
    package: Any = sign_message({"secret": "payload"}, KEY, LIVENET)
    message = verify_signed_message(package, LIVENET)
    assert "payload" not in repr(message).replace("payload=", "")
    assert package["authors"][0]["authentifiers"]["r"] not in repr(message)


def test_no_refusal_repeats_the_signature() -> None:
    package: Any = sign_message(PAYLOAD, KEY, LIVENET)
    package["signed_message"] = "other"
    signature = package["authors"][0]["authentifiers"]["r"]
    with pytest.raises(SignedMessageError) as refusal:
        verify_signed_message(package, LIVENET)
    assert signature not in str(refusal.value) + repr(refusal.value)


@pytest.mark.parametrize("version", [None, "1.0", "2.0", "3.0", "4.0"])
def test_every_version_of_the_network_is_read(version: str | None) -> None:
    fields = {} if version is None else {"version": version}
    verify_signed_message(signed(fields, KEY), LIVENET)


@pytest.mark.parametrize("version", ["5.0", "4.0t", "4.0dev", "", 4, 4.0, None, ["4.0"], {"a": 1}, True])
def test_other_versions_are_refused(version: Any) -> None:
    assert code_of(sign_message(PAYLOAD, KEY, LIVENET) | {"version": version}) == "unsupported_version"


def test_content_without_a_hash_is_refused_in_every_version() -> None:
    assert code_of(sign_message(PAYLOAD, KEY, LIVENET) | {"signed_message": {"a": None}}) == "null_value"
    package = signed({}, KEY)
    assert code_of(package | {"signed_message": {"a": None}}) == "null_value"
    assert code_of(package | {"signed_message": "\0"}) == "nul_character"


def test_the_expected_signer_must_be_among_the_authors() -> None:
    both = signed({"version": "4.0"}, KEY, OTHER)
    for key in (KEY, OTHER):
        assert verify_signed_message(both, LIVENET, expected_signer=key.address).signer == key.address
    assert code_of(both) == "several_authors"
    assert code_of(both, expected_signer=KeyPair(b"\x44" * 32).address) == "wrong_signer"
    assert code_of(sign_message(PAYLOAD, OTHER, LIVENET), expected_signer=KEY.address) == "wrong_signer"


def test_every_author_is_verified_not_only_the_expected_one() -> None:
    both = signed({"version": "4.0"}, KEY, OTHER)
    for author in both["authors"]:
        good = author["authentifiers"]
        author["authentifiers"] = {"r": KEY.sign(b"\0" * 32)}
        assert code_of(both, expected_signer=KEY.address) == "bad_signature"
        author["authentifiers"] = good
    verify_signed_message(both, LIVENET, expected_signer=KEY.address)


def test_authors_are_sorted_different_and_few() -> None:
    both = signed({"version": "4.0"}, KEY, OTHER)
    swapped = both | {"authors": both["authors"][::-1]}
    assert code_of(swapped, expected_signer=KEY.address) == "unsorted_authors"
    twice = both | {"authors": both["authors"][:1] * 2}
    assert code_of(twice, expected_signer=KEY.address) == "unsorted_authors"
    many = both | {"authors": both["authors"][:1] * (MAX_AUTHORS + 1)}
    assert code_of(many, expected_signer=KEY.address) == "too_many_authors"


def test_a_multisignature_address_signs() -> None:
    definition: Any = ["and", [KEY.definition, OTHER.definition]]
    author: dict[str, Any] = {"address": definition_address(definition), "definition": definition}
    package: dict[str, Any] = {"version": "4.0", "signed_message": PAYLOAD, "authors": [author]}
    digest = hash_to_sign(package, LIVENET)
    author["authentifiers"] = {"r.0": KEY.sign(digest), "r.1": OTHER.sign(digest)}
    assert verify_signed_message(package, LIVENET).signer == author["address"]
    del author["authentifiers"]["r.1"]
    assert code_of(package) == "definition_not_satisfied"


def test_a_network_aware_package_discloses_its_definition_if_and_only_if_it_is_new() -> None:
    aware = {"version": "4.0", "last_ball_unit": LAST_BALL_UNIT}
    disclosing, silent = signed(aware, KEY), signed(aware, KEY, definitions=False)

    def known(_address: str, _unit: str) -> Any:
        return KEY.definition

    def new(_address: str, _unit: str) -> Any:
        return None

    assert verify_signed_message(silent, LIVENET, find_definition=known).last_ball_unit == LAST_BALL_UNIT
    verify_signed_message(disclosing, LIVENET, find_definition=new)
    assert code_of(disclosing, find_definition=known) == "definition_not_expected"
    assert code_of(silent, find_definition=new) == "definition_expected"
    assert code_of(silent) == code_of(disclosing) == "network_aware"


def test_the_definition_in_force_may_be_another_than_the_first() -> None:
    aware = signed({"version": "4.0", "last_ball_unit": LAST_BALL_UNIT}, KEY, definitions=False)
    aware["authors"][0]["authentifiers"] = {"r": OTHER.sign(hash_to_sign(aware, LIVENET))}
    verify_signed_message(aware, LIVENET, find_definition=lambda _address, _unit: OTHER.definition)
    assert code_of(aware, find_definition=lambda _address, _unit: KEY.definition) == "bad_signature"


def test_an_unknown_last_ball_unit_is_reported_by_the_lookup() -> None:
    def unknown(_address: str, _unit: str) -> Any:
        raise SignedMessageError("unknown_last_ball_unit")

    aware = signed({"version": "4.0", "last_ball_unit": LAST_BALL_UNIT}, KEY)
    assert code_of(aware, find_definition=unknown) == "unknown_last_ball_unit"


@pytest.mark.parametrize("unit", ["", "x", None, 1, LAST_BALL_UNIT[:-1], LAST_BALL_UNIT + "=", [LAST_BALL_UNIT]])
def test_a_malformed_last_ball_unit_is_refused(unit: Any) -> None:
    package = sign_message(PAYLOAD, KEY, LIVENET) | {"last_ball_unit": unit}
    assert code_of(package) in {"invalid_last_ball_unit", "null_value"}


@pytest.mark.parametrize("package", [None, 1, "x", True, [], {}, [{}]])
def test_what_is_no_object_is_refused(package: Any) -> None:
    assert code_of(package) == "not_an_object"


@pytest.mark.parametrize("authors", [None, {}, [], "x", 1])
def test_authors_must_be_an_array(authors: Any) -> None:
    assert code_of(sign_message(PAYLOAD, KEY, LIVENET) | {"authors": authors}) == "invalid_authors"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"address": None}, "invalid_address"),
        ({"address": [KEY.address]}, "invalid_address"),
        ({"address": KEY.address.lower()}, "invalid_address"),
        ({"address": OTHER.address}, "wrong_definition"),
        ({"definition": OTHER.definition}, "wrong_definition"),
        ({"definition": None}, "invalid_definition"),
        ({"definition": ["sig"]}, "invalid_definition"),
        ({"definition": ["sig", {}]}, "empty_object"),
        ({"definition": ["autonomous agent", {"a": 1}]}, "agent_definition"),
        ({"authentifiers": None}, "invalid_authentifiers"),
        ({"authentifiers": {}}, "invalid_authentifiers"),
        ({"authentifiers": {"r": ""}}, "invalid_authentifiers"),
        ({"authentifiers": {"r": 1}}, "invalid_authentifiers"),
        ({"authentifiers": {"r": "A" * 4097}}, "invalid_authentifiers"),
        ({"authentifiers": {"r": "A" * 4096}}, "bad_signature"),
        ({"extra": 1}, "invalid_author"),
    ],
)
def test_a_malformed_author_is_refused(change: dict[str, Any], code: str) -> None:
    package: Any = sign_message(PAYLOAD, KEY, LIVENET)
    package["authors"][0] |= change
    assert code_of(package) == code


def test_an_author_must_be_an_object() -> None:
    assert code_of(sign_message(PAYLOAD, KEY, LIVENET) | {"authors": [None]}) == "invalid_author"
