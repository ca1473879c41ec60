from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte import chash, signatures
from shared.obyte.addresses import definition_address, device_address, is_agent_definition, sig_definition
from shared.obyte.chash import chash160, chash288, decode_base64, is_valid_address, is_valid_base64
from shared.obyte.chash import is_valid_device_address as is_device
from shared.obyte.errors import AddressError, SerializationError

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
PUBKEY = "A6rrUt10lMNhBJ3mfMaA6D68u72+sTY32SzYRfcDCK9e"


@given(st.text())
def test_every_chash160_is_a_valid_address(data: str) -> None:
    assert is_valid_address(chash160(data))
    assert is_device("0" + chash160(data))
    assert is_valid_base64(chash288(data), 48)


@given(st.text(), st.integers(0, 31), st.sampled_from(ALPHABET))
def test_changing_one_character_makes_an_address_invalid(data: str, place: int, character: str) -> None:
    address = chash160(data)
    changed = address[:place] + character + address[place + 1 :]
    assert is_valid_address(changed) == (changed == address)


@given(st.text(), st.integers(0, 30))
def test_swapping_two_neighbours_makes_an_address_invalid(data: str, place: int) -> None:
    address = chash160(data)
    changed = address[:place] + address[place + 1] + address[place] + address[place + 2 :]
    assert is_valid_address(changed) == (changed == address)


@pytest.mark.parametrize("value", [None, 1, True, [], {}, b"", ["A" * 32], {"a": 1}])
def test_only_text_is_an_address(value: Any) -> None:
    assert not is_valid_address(value)
    assert not is_device(value)
    assert not is_valid_base64(value)
    assert decode_base64(value) is None


def test_nothing_may_follow_an_address() -> None:
    address = chash160("x")
    assert not is_valid_address(address + "\n")
    assert not is_valid_address(address.lower())
    assert not is_device(f"0{address}\n")


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert decode_base64(text) == data
    for other in (text + "=", text + "\n", " " + text, text.rstrip("=") + "\u00e9"):
        assert decode_base64(other) is None


@pytest.mark.parametrize("pubkey", ["", PUBKEY[:-1], PUBKEY + "A", PUBKEY.replace("+", "-"), " " * 44, "A" * 88])
def test_a_key_that_is_not_33_bytes_has_no_address(pubkey: str) -> None:
    for make in (sig_definition, device_address):
        with pytest.raises(AddressError) as refusal:
            make(pubkey)
        assert refusal.value.code == "invalid_pubkey"


def test_an_agent_is_a_pair() -> None:
    assert is_agent_definition(["autonomous agent", {}])
    assert not is_agent_definition(["autonomous agent", {}, 1])
    assert not is_agent_definition("autonomous agent")


@pytest.mark.parametrize("definition", [None, [], ["sig", {}], ["sig", None], ["sig", {"pubkey": None}], {"a": [None]}])
def test_a_definition_without_a_hash_has_no_address(definition: Any) -> None:
    with pytest.raises(SerializationError):
        definition_address(definition)


def test_a_single_key_definition_is_hashed_like_any_other() -> None:
    shuffled: Any = ("sig", {"pubkey": PUBKEY})
    assert definition_address(sig_definition(PUBKEY)) == definition_address(shuffled)
    assert definition_address(["sig", {"pubkey": PUBKEY}]) == "QZAB2MYRLRVUNITTOOCF5ZE3AG4TCJDD"
    assert definition_address(["sig", {"pubkey": PUBKEY, "algo": "x"}]) != "QZAB2MYRLRVUNITTOOCF5ZE3AG4TCJDD"


def test_texts_that_are_too_long_to_be_addresses_are_not_remembered() -> None:
    before = chash._is_valid_address.cache_info().currsize
    assert not is_valid_address("A" * 60_000)
    assert chash._is_valid_address.cache_info().currsize == before


def test_texts_that_are_too_long_to_be_keys_are_not_remembered() -> None:
    before = signatures._parsed_pubkey.cache_info().currsize
    assert not signatures.is_valid_pubkey("A" * 60_000)
    assert signatures._parsed_pubkey.cache_info().currsize == before
