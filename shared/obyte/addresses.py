"""Addresses from definitions and keys (Obyte, ocore `object_hash.js`)."""

from __future__ import annotations

from functools import lru_cache

from shared.obyte.chash import chash160, is_valid_base64
from shared.obyte.errors import AddressError
from shared.obyte.serialization import JsonValue, json_source, typed_source

PUBKEY_CHARACTERS = 44
"""Length of a compressed public key in base64: 33 bytes, never padded."""

_PAIR = 2
_AGENT = "autonomous agent"


def is_agent_definition(definition: JsonValue) -> bool:
    """Tell whether a definition is one of an autonomous agent: `["autonomous agent", ...]`, exactly two elements."""
    return isinstance(definition, list | tuple) and len(definition) == _PAIR and definition[0] == _AGENT


def definition_address(definition: JsonValue) -> str:
    """Return the 32-character address of a definition; agents are hashed as JSON, all others as typed source.

    Raises `SerializationError` when the definition cannot be hashed.
    """
    if is_agent_definition(definition):
        return chash160(json_source(definition))
    pubkey = _single_pubkey(definition)
    return chash160(typed_source(definition)) if pubkey is None else sig_address(pubkey)


def sig_definition(pubkey_b64: str) -> list[JsonValue]:
    """Return the definition of a wallet with one key: `["sig", {"pubkey": ...}]`.

    Raises `AddressError` unless the key is 33 bytes in canonical base64.
    """
    _check_pubkey(pubkey_b64)
    return ["sig", {"pubkey": pubkey_b64}]


def device_address(pubkey_b64: str) -> str:
    """Return the 33-character address of a device from its permanent public key. Raises `AddressError`."""
    _check_pubkey(pubkey_b64)
    return "0" + chash160(typed_source(pubkey_b64))


def _check_pubkey(pubkey_b64: str) -> None:
    if not is_valid_base64(pubkey_b64, PUBKEY_CHARACTERS):
        raise AddressError("invalid_pubkey", "a public key must be 33 bytes in canonical base64, 44 characters")


def _single_pubkey(definition: JsonValue) -> str | None:
    """Return the key of a plain `sig` definition, the one kind worth caching, else None."""
    if not isinstance(definition, list | tuple) or len(definition) != _PAIR or definition[0] != "sig":
        return None
    arguments = definition[1]
    if not isinstance(arguments, dict) or len(arguments) != 1:
        return None
    pubkey = arguments.get("pubkey")
    is_usual = isinstance(pubkey, str) and len(pubkey) == PUBKEY_CHARACTERS and "\0" not in pubkey
    return pubkey if is_usual else None


@lru_cache(maxsize=16_384)  # every package of a payer carries the same definition
def sig_address(pubkey: str) -> str:
    """Return the address of the definition `["sig", {"pubkey": pubkey}]`. The key's text must not contain NUL."""
    # The typed source of that definition.
    return chash160(f"[\0s\0sig\0pubkey\0s\0{pubkey}\0]")
