"""Encryption between devices (Obyte, device messages): a fresh key for each message, ECDH, AES-128-GCM.

    shared secret = X coordinate of (ephemeral private key times the recipient's public key), 32 bytes
    AES key       = the first 16 bytes of its SHA-256
    package       = {encrypted_message, iv, authtag, dh: {sender_ephemeral_pubkey, recipient_ephemeral_pubkey}}

A message that waited in its sender's outbox is a package inside a package: what is inside is encrypted to the
recipient's permanent key, what is outside to his temporary one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coincurve import PublicKey
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.obyte.chash import decode_base64
from shared.obyte.errors import DeviceMessageError, SerializationError, SignatureError
from shared.obyte.hashing import sha256
from shared.obyte.keys import KeyPair
from shared.obyte.serialization import parse_js_json
from shared.obyte.signatures import is_valid_pubkey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.obyte.serialization import JsonValue

MAX_LAYERS = 3
IV_BYTES = 12
TAG_BYTES = 16
AES_KEY_BYTES = 16
PRIVATE_KEY_BYTES = 32
_X_COORDINATE = slice(1, 33)
"""Of a compressed point: the first byte tells the sign of Y."""


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What a package holds. `text` is the JSON it was read from."""

    content: dict[str, Any] = field(repr=False)
    text: bytes = field(repr=False)
    recipient_pubkey: str
    """Which of our keys the outermost layer was encrypted to."""


def new_key(random_bytes: Callable[[int], bytes]) -> KeyPair:
    """Make a key pair from randomness; the few numbers that are no keys are drawn again."""
    while True:
        try:
            return KeyPair(random_bytes(PRIVATE_KEY_BYTES))
        except SignatureError:
            continue


def shared_x(private_key: bytes, pubkey_b64: str) -> bytes:
    """Return the X coordinate that both ends compute, 32 bytes. Raises DeviceMessageError `undecryptable`."""
    point = decode_base64(pubkey_b64) if is_valid_pubkey(pubkey_b64) else None
    if point is None:
        raise DeviceMessageError("undecryptable", "a public key is no compressed point of the curve")
    return PublicKey(point).multiply(private_key).format()[_X_COORDINATE]


def encrypt(text: bytes, recipient_pubkey: str, random_bytes: Callable[[int], bytes]) -> dict[str, JsonValue]:
    """Encrypt a text to a public key. Raises DeviceMessageError when that is none."""
    ephemeral = new_key(random_bytes)
    iv = random_bytes(IV_BYTES)
    sealed = AESGCM(_aes_key(ephemeral.private_key, recipient_pubkey)).encrypt(iv, text, None)
    return {
        "encrypted_message": _b64(sealed[:-TAG_BYTES]),
        "iv": _b64(iv),
        "authtag": _b64(sealed[-TAG_BYTES:]),
        "dh": {"sender_ephemeral_pubkey": ephemeral.pubkey_b64, "recipient_ephemeral_pubkey": recipient_pubkey},
    }


def encrypt_json(content: Mapping[str, JsonValue], recipient_pubkey: str, random_bytes: Callable[[int], bytes]) -> Any:
    """Encrypt an object as JSON text."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return encrypt(text.encode(), recipient_pubkey, random_bytes)


def decrypt(package: JsonValue, keys: Mapping[str, KeyPair]) -> Decrypted:
    """Take every layer off. `keys`: ours, by public key.

    Raises DeviceMessageError: `missing_field`, `unknown_key` (encrypted to none of ours), `undecryptable`,
    `not_an_object`, `too_many_layers`.
    """
    outermost = ""
    for _ in range(MAX_LAYERS):
        text, recipient_pubkey = _decrypt_layer(package, keys)
        outermost = outermost or recipient_pubkey
        try:
            content: Any = parse_js_json(text)
        except SerializationError as error:
            raise DeviceMessageError("not_an_object", f"the message is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise DeviceMessageError("not_an_object", "the message should be a JSON object")
        if not content.get("encrypted_package"):
            return Decrypted(content, text, outermost)
        package = content["encrypted_package"]
    raise DeviceMessageError("too_many_layers", f"a message has at most {MAX_LAYERS} layers")


def _decrypt_layer(package: JsonValue, keys: Mapping[str, KeyPair]) -> tuple[bytes, str]:
    match package:
        case {
            "encrypted_message": str(message),
            "iv": str(iv_text),
            "authtag": str(tag_text),
            "dh": {"sender_ephemeral_pubkey": str(sender), "recipient_ephemeral_pubkey": str(recipient)},
        }:
            pass
        case _:
            raise DeviceMessageError("missing_field", "an encrypted package lacks a field, or it is no text")
    key = keys.get(recipient)
    if key is None:
        raise DeviceMessageError("unknown_key", "the message is encrypted to a key that is not ours (any more)")
    sealed, iv, tag = decode_base64(message), decode_base64(iv_text), decode_base64(tag_text)
    if sealed is None or iv is None or tag is None or len(iv) != IV_BYTES or len(tag) != TAG_BYTES:
        raise DeviceMessageError("undecryptable", "a part of the encrypted package has not its form")
    try:
        return AESGCM(_aes_key(key.private_key, sender)).decrypt(iv, sealed + tag, None), recipient
    except InvalidTag:
        raise DeviceMessageError("undecryptable", "the message was changed, or not encrypted to us") from None


def _aes_key(private_key: bytes, pubkey_b64: str) -> bytes:
    return sha256(shared_x(private_key, pubkey_b64))[:AES_KEY_BYTES]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
