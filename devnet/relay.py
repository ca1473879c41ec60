"""Messages between devices, kept until they are fetched (Obyte, device messaging; ocore `network.js`, hub commands).

The hub sees who writes to whom, never what: messages are encrypted to a key of the addressee. It keeps a message until
the addressee deletes it, tells it at once to every connection the addressee is logged in on, and again at every login
and refresh. Refusals are raised as `QueryError`; the texts are those of the reference, but for the last two, which
say that a bound is met where the reference has none.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from devnet.request_fields import QueryError, is_hash
from shared.obyte.addresses import device_address
from shared.obyte.chash import is_valid_device_address
from shared.obyte.errors import ObyteError
from shared.obyte.hashing import base64_hash, device_digest
from shared.obyte.serialization import utf16_length
from shared.obyte.signatures import SIGNATURE_CHARACTERS, verify

if TYPE_CHECKING:
    from shared.obyte.serialization import JsonValue

MESSAGES_AT_ONCE = 100
MAX_MESSAGE_DEPTH = 5
MAX_MESSAGE_NODES = 100
MAX_DEVICES = 10_000
MAX_STORED_CHARACTERS = 64 * 1024 * 1024
_PUBKEY_CHARACTERS = 44
_TEMPORARY_KEY_FIELDS = {"temp_pubkey", "pubkey", "signature"}


class Listener(Protocol):
    """A connection that a device may log in on."""

    def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Send a one-way message."""


@dataclass(frozen=True, slots=True)
class _Message:
    body: dict[str, JsonValue] = field(repr=False)
    characters: int


@dataclass(slots=True)
class _Device:
    pubkey: str
    temporary_key: dict[str, JsonValue] | None = field(default=None, repr=False)
    messages: OrderedDict[str, _Message] = field(default_factory=OrderedDict, repr=False)
    """By hash, in order of arrival."""


@dataclass(frozen=True, slots=True)
class _Login:
    device: str
    max_message_length: int | None
    max_message_count: int


class Relay:
    """The devices of one hub, their keys, their messages and the connections they are logged in on."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}
        self._logins: dict[Listener, _Login] = {}
        self._stored_characters = 0

    def log_in(self, listener: Listener, challenge: str, told: dict[str, Any]) -> bool:
        """Take `{challenge, pubkey, signature, max_message_length?, max_message_count?}`; return whether it is new.

        Whoever calls tells a new device so, and sends a known one what is kept for it (`send_stored`).
        """
        _check_login(told, challenge)
        device = device_address(told["pubkey"])
        is_new = device not in self._devices
        if is_new:
            if len(self._devices) >= MAX_DEVICES:
                raise QueryError("this hub takes no more devices")
            self._devices[device] = _Device(told["pubkey"])
        count = told.get("max_message_count") or MESSAGES_AT_ONCE
        self._logins[listener] = _Login(device, told.get("max_message_length") or None, count)
        return is_new

    def log_out(self, listener: Listener) -> None:
        """Forget a connection that is gone."""
        self._logins.pop(listener, None)

    def send_stored(self, listener: Listener) -> None:
        """Send a logged in connection its oldest messages; those longer than it takes are deleted."""
        login = self._login_of(listener)
        messages = self._devices[login.device].messages
        if login.max_message_length is not None:
            for message_hash in [h for h, kept in messages.items() if kept.characters > login.max_message_length]:
                self._drop(login.device, message_hash)
        sent = list(messages.items())[: login.max_message_count]
        for message_hash, kept in sent:
            listener.justsaying("hub/message", {"message_hash": message_hash, "message": kept.body})
        listener.justsaying("info", f"{len(sent)} messages sent")
        is_full = len(sent) == login.max_message_count
        listener.justsaying("hub/message_box_status", "has_more" if is_full else "empty")

    def delete(self, listener: Listener, message_hash: Any) -> None:
        """Forget a message that the addressee has dealt with; one that is not there is as good."""
        if not message_hash:
            raise QueryError("no message hash")
        if not is_hash(message_hash):
            raise QueryError("invalid message hash")
        self._drop(self._login_of(listener).device, message_hash)
        listener.justsaying("info", f"deleted message {message_hash}")

    def keep_temporary_key(self, listener: Listener, params: Any) -> JsonValue:
        """Take `{temp_pubkey, pubkey, signature}`, the key that correspondents shall encrypt to: "updated"."""
        device = self._login_of(listener).device
        package = params if isinstance(params, dict) else {}
        if not all(package.get(name) for name in _TEMPORARY_KEY_FIELDS):
            raise QueryError("no temp_pubkey params")
        if package.keys() != _TEMPORARY_KEY_FIELDS:
            raise QueryError("unexpected fields in temp_pubkey package")
        _check_length(package, "temp_pubkey", _PUBKEY_CHARACTERS)
        _check_length(package, "pubkey", _PUBKEY_CHARACTERS)
        if _address_of(package["pubkey"]) != device:
            raise QueryError("signed by another pubkey")
        _check_signature(package, "wrong signature")
        self._devices[device].temporary_key = package
        return "updated"

    def temporary_key(self, params: Any) -> JsonValue:
        """Return the package a device left under its permanent key; a login is not needed."""
        if not isinstance(params, str) or len(params) != _PUBKEY_CHARACTERS:
            raise QueryError("wrong permanent_pubkey length")
        device = self._devices.get(_address_of(params))
        if device is None:
            raise QueryError("device with this pubkey is not registered here")
        if device.temporary_key is None:
            raise QueryError("temp pub key not set yet")
        return device.temporary_key

    def deliver(self, params: Any) -> JsonValue:
        """Take a message `{encrypted_package, to, pubkey, signature}` for a device of this hub: "accepted"."""
        message = _check_message(params)
        try:
            message_hash = base64_hash(message, typed=True)
        except ObyteError as error:
            raise QueryError(f"message hash failed: {error.text}") from None
        to = str(message["to"])
        device = self._devices.get(to)
        if device is None:
            raise QueryError(f"address {to} not registered here")
        keys = {device.pubkey, (device.temporary_key or {}).get("temp_pubkey")}
        if message["encrypted_package"]["dh"]["recipient_ephemeral_pubkey"] not in keys:
            raise QueryError("wrong recipient ephemeral pubkey")
        characters = utf16_length(json.dumps(message, separators=(",", ":"), ensure_ascii=False))
        self._keep(device, message_hash, _Message(message, characters))
        for listener, login in list(self._logins.items()):
            if login.device == to and characters <= (login.max_message_length or characters):
                listener.justsaying("hub/message", {"message_hash": message_hash, "message": message})
        return "accepted"

    def _keep(self, device: _Device, message_hash: str, message: _Message) -> None:
        if message_hash in device.messages:
            return
        if self._stored_characters + message.characters > MAX_STORED_CHARACTERS:
            raise QueryError("this hub keeps no more messages")
        device.messages[message_hash] = message
        self._stored_characters += message.characters

    def _drop(self, device: str, message_hash: str) -> None:
        message = self._devices[device].messages.pop(message_hash, None)
        if message is not None:
            self._stored_characters -= message.characters

    def _login_of(self, listener: Listener) -> _Login:
        login = self._logins.get(listener)
        if login is None:
            raise QueryError("please log in first")
        return login


def _address_of(pubkey: str) -> str:
    try:
        return device_address(pubkey)
    except ObyteError:
        return ""  # no device's


def _check_login(told: dict[str, Any], challenge: str) -> None:
    if told.get("challenge") != challenge:
        raise QueryError("wrong challenge")
    if not told.get("pubkey") or not told.get("signature"):
        raise QueryError("no login params")
    _check_length(told, "pubkey", _PUBKEY_CHARACTERS)
    _check_length(told, "signature", SIGNATURE_CHARACTERS)
    length, count = told.get("max_message_length"), told.get("max_message_count")
    if length and not (type(length) is int and length > 0):
        raise QueryError("max_message_length must be an integer")
    if count and not (type(count) is int and 0 < count <= MESSAGES_AT_ONCE):
        raise QueryError("max_message_count must be an integer > 0 and <= 100")
    _check_signature(told, "wrong signature")


def _check_message(params: Any) -> dict[str, Any]:
    message: dict[str, Any] = params if isinstance(params, dict) else {}
    package = message.get("encrypted_package")
    package = package if isinstance(package, dict) else {}
    keys = package.get("dh")
    keys = keys if isinstance(keys, dict) else {}
    needed = [message.get(name) for name in ("signature", "pubkey", "to")]
    needed += [package.get(name) for name in ("encrypted_message", "iv", "authtag")]
    needed += [keys.get(name) for name in ("sender_ephemeral_pubkey", "recipient_ephemeral_pubkey")]
    if not all(needed):
        raise QueryError("missing fields")
    if not is_valid_device_address(message["to"]):
        raise QueryError("invalid to address")
    if _is_too_deep_or_large(message):
        raise QueryError("device message is too deeply nested or has too many nodes")
    _check_signature(message, "wrong message signature")
    return message


def _is_too_deep_or_large(message: JsonValue) -> bool:
    """Count as the reference does: the entries of all containers, and the levels below the message."""
    level, nodes = [message], 0
    for _ in range(MAX_MESSAGE_DEPTH):
        containers = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        nodes += sum(map(len, containers))
        level = [value for container in containers for value in container]
    return bool(level) or nodes > MAX_MESSAGE_NODES


def _check_length(told: dict[str, Any], name: str, characters: int) -> None:
    value = told[name]
    if not isinstance(value, str) or len(value) != characters:
        raise QueryError(f"wrong {name} length")


def _check_signature(told: dict[str, Any], complaint: str) -> None:
    try:
        digest = device_digest(told)
    except ObyteError as error:
        raise QueryError(f"message hash failed: {error.text}") from None
    if not verify(digest, told["signature"], told["pubkey"]):
        raise QueryError(complaint)
