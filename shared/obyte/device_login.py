"""How a device makes itself known to its hub (Obyte, device messages): the login and the temporary key.

A correspondent encrypts to the temporary key, which its owner changes now and then: who gets hold of the permanent key
later cannot read what was sent before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.errors import DeviceMessageError, SerializationError
from shared.obyte.hashing import device_digest
from shared.obyte.signatures import is_valid_pubkey, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.keys import KeyPair
    from shared.obyte.serialization import JsonValue

MAX_MESSAGE_COUNT = 100
"""More than this a hub does not send at once."""


def signed(content: Mapping[str, JsonValue], key: KeyPair) -> dict[str, JsonValue]:
    """Return an object with the device's signature over it. Raises SerializationError for what has no hash."""
    return {**content, "signature": key.sign(device_digest(content))}


def is_signed_by(message: Mapping[str, JsonValue], pubkey: object) -> bool:
    """Tell whether an object's `signature` is that of a device's permanent key."""
    try:
        return verify(device_digest(message), message.get("signature"), pubkey)
    except SerializationError:
        return False


def login(
    challenge: str, key: KeyPair, *, max_message_length: int | None = None, max_message_count: int | None = None
) -> dict[str, JsonValue]:
    """Return the body of `hub/login`, the answer to a hub's challenge.

    `max_message_length`: longer messages, in characters of JSON, are thrown away by the hub. `max_message_count`:
    how many stored ones the hub sends before it waits for `hub/refresh`, 1 to 100.
    """
    content: dict[str, JsonValue] = {"challenge": challenge, "pubkey": key.pubkey_b64}
    if max_message_length is not None:
        content["max_message_length"] = max_message_length
    if max_message_count is not None:
        content["max_message_count"] = max_message_count
    return signed(content, key)


def temporary_key_package(temp_pubkey: str, key: KeyPair) -> dict[str, JsonValue]:
    """Return the parameters of `hub/temp_pubkey`: a temporary public key, vouched for by the permanent one."""
    return signed({"temp_pubkey": temp_pubkey, "pubkey": key.pubkey_b64}, key)


def read_temporary_key(package: JsonValue, pubkey: str) -> str:
    """Return a correspondent's temporary public key from what a hub answers to `hub/get_temp_pubkey`.

    Raises DeviceMessageError `invalid_temporary_key` unless the correspondent himself, `pubkey`, has signed it.
    """
    if not isinstance(package, dict) or package.get("pubkey") != pubkey:
        raise _invalid("it is another device's")
    temp_pubkey = package.get("temp_pubkey")
    if not isinstance(temp_pubkey, str) or not is_valid_pubkey(temp_pubkey):
        raise _invalid("it is no public key")
    if not is_signed_by(package, pubkey):
        raise _invalid("the signature is wrong")
    return temp_pubkey


def _invalid(why: str) -> DeviceMessageError:
    return DeviceMessageError("invalid_temporary_key", f"the temporary key is refused: {why}")
