"""Messages from device to device, as hubs carry them (Obyte, device messages).

    carried   {encrypted_package, to: the recipient's device address, pubkey: the sender's permanent key, signature}
    inside    {from: the sender's device address, device_hub: where to answer him, subject, body}

The hub sees who writes to whom and how much, nothing else. `from` is inside so that a hub cannot put another sender's
key and signature on a message that it cannot read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.obyte.addresses import device_address
from shared.obyte.chash import is_valid_base64
from shared.obyte.device_encryption import decrypt, encrypt_json
from shared.obyte.device_login import is_signed_by, signed
from shared.obyte.errors import DeviceMessageError, SerializationError
from shared.obyte.hashing import base64_hash
from shared.obyte.signatures import is_valid_pubkey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.obyte.keys import KeyPair
    from shared.obyte.serialization import JsonValue

HASH_CHARACTERS = 44
MAX_SUBJECT_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A message that was checked and read."""

    message_hash: str
    sender: str
    """Device address."""
    sender_pubkey: str
    device_hub: str | None
    """Where the sender says that messages for him are left; no more than a text yet."""
    subject: str
    body: JsonValue = field(repr=False)
    text: bytes = field(repr=False)
    """The JSON inside, for whoever reads it more strictly than JavaScript does."""
    recipient_pubkey: str
    """Which of our keys it was encrypted to."""


def seal_message(
    *,
    subject: str,
    body: JsonValue,
    key: KeyPair,
    device_hub: str,
    recipient: str,
    temp_pubkey: str,
    random_bytes: Callable[[int], bytes],
) -> dict[str, JsonValue]:
    """Return the parameters of `hub/deliver`. `recipient` is a device address, `temp_pubkey` its temporary key now."""
    inside: dict[str, JsonValue] = {
        "from": key.device_address,
        "device_hub": device_hub,
        "subject": subject,
        "body": body,
    }
    package = encrypt_json(inside, temp_pubkey, random_bytes)
    return signed({"encrypted_package": package, "to": recipient, "pubkey": key.pubkey_b64}, key)


def message_hash_of(delivered: JsonValue) -> str | None:
    """Return by which name a hub keeps what it delivered in `hub/message`, None if that is no hash."""
    found = delivered.get("message_hash") if isinstance(delivered, dict) else None
    return found if isinstance(found, str) and is_valid_base64(found, HASH_CHARACTERS) else None


def open_message(delivered: JsonValue, own_address: str, keys: Mapping[str, KeyPair]) -> DeviceMessage:
    """Check and read the body of `hub/message`. `keys`: ours, by public key: temporary, previous and permanent.

    Raises DeviceMessageError: `missing_field`, `not_for_us`, `wrong_hash`, `wrong_signature`, `unknown_key`,
    `undecryptable`, `too_many_layers`, `not_an_object`, `wrong_sender`.
    """
    message_hash, message, pubkey = _carried(delivered)
    if message.get("to") != own_address:
        raise DeviceMessageError("not_for_us", "to is another device")
    if message_hash not in _hashes(message):
        raise DeviceMessageError("wrong_hash", "message_hash is not that of the message")
    if not is_signed_by(message, pubkey):
        raise DeviceMessageError("wrong_signature", "the signature is not the sender's")
    opened = decrypt(message["encrypted_package"], keys)
    sender = device_address(pubkey)
    if opened.content.get("from") != sender:
        raise DeviceMessageError("wrong_sender", "from is not the device that has signed")
    subject = opened.content.get("subject")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
        raise DeviceMessageError("missing_field", "subject should be a short text")
    hub = opened.content.get("device_hub")
    return DeviceMessage(
        message_hash=message_hash,
        sender=sender,
        sender_pubkey=pubkey,
        device_hub=hub if isinstance(hub, str) else None,
        subject=subject,
        body=opened.content.get("body"),
        text=opened.text,
        recipient_pubkey=opened.recipient_pubkey,
    )


def _carried(delivered: JsonValue) -> tuple[str, dict[str, Any], str]:
    message_hash = message_hash_of(delivered)
    message: Any = delivered.get("message") if isinstance(delivered, dict) else None
    if message_hash is None or not isinstance(message, dict) or not message.get("encrypted_package"):
        raise DeviceMessageError("missing_field", "a delivered message lacks message_hash, message or its package")
    pubkey = message.get("pubkey")
    if not isinstance(pubkey, str) or not is_valid_pubkey(pubkey):
        raise DeviceMessageError("missing_field", "pubkey should be a public key, 44 characters")
    return message_hash, message, pubkey


def _hashes(message: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Return the names a message may have: hubs hash the typed source, and may come to hash JSON."""
    try:
        return base64_hash(message, typed=True), base64_hash(message)
    except SerializationError:
        return ()
