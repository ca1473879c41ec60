"""Who may write to us: devices that proved to hold an invitation of ours, and those that accepted theirs.

Joining    note the other side as unconfirmed, send it its secret and a fresh one of ours that only it may use
Inviting   check the secret, note the device, and send its own secret back if it gave one
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.pairing import MAX_SECRET_CHARACTERS, SECRET_LIFETIME_S, is_valid_hub, new_pairing_secret
from shared.peers.errors import PeerUnreachableError
from shared.store import correspondents
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.device_messages import DeviceMessage
    from shared.obyte.pairing import PairingCode
    from shared.obyte.serialization import JsonValue
    from shared.store.correspondents import Correspondent
    from shared.store.database import Connection
    from worker.devices.courier import Courier
    from worker.guard import Guard

logger = get_logger(__name__)

PAIRING = "pairing"
MAX_CORRESPONDENTS = 10_000
IDLE_S = 30 * 86_400.0
"""Devices without a channel that are silent for longer make room for others."""
MAX_NAME_CHARACTERS = 100
_INVITED_NAME = "Payment channel peer"
_MARKUP = re.compile("<[^>]*>?")


class PairingError(WorkerError):
    """A device is not paired with; codes: `incomplete`, `wrong_secret`, `too_many_correspondents`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Paired:
    """A device that has proved itself, and what to send back to it, if anything."""

    correspondent: Correspondent
    reply: dict[str, JsonValue] | None = field(repr=False)


def clean_name(name: str) -> str:
    """Return what a device calls itself as plain text: no markup, nothing that steers a terminal."""
    plain = "".join(character for character in _MARKUP.sub("", name) if character.isprintable())
    return plain.strip()[:MAX_NAME_CHARACTERS]


class Pairings:
    """Pairs our device with others. `permanent_secret`, if there is one, pairs everybody who knows it."""

    def __init__(
        self,
        guard: Guard,
        courier: Courier,
        *,
        own_address: str,
        device_name: str,
        permanent_secret: str | None,
        limit: int = MAX_CORRESPONDENTS,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._guard = guard
        self._courier = courier
        self._own_address = own_address
        self._device_name = device_name
        self._permanent_secret = permanent_secret
        self._limit = limit
        self._random_bytes = random_bytes

    async def accept(self, conn: Connection, message: DeviceMessage) -> Paired:
        """Pair with the sender of a pairing message, in the transaction that notes the message as handled.

        Raises PairingError, StoreError.
        """
        secret, name, reverse, hub = _read(message)
        if not self._is_permanent(secret) and not await correspondents.redeem(conn, secret, message.sender):
            raise PairingError("wrong_secret", "the pairing secret is not known, or expired")
        await self._make_room(conn, message.sender)
        correspondent = await correspondents.add(
            conn, message.sender, pubkey=message.sender_pubkey, hub=hub, name=name, is_confirmed=True
        )
        logger.info("device_paired", device=message.sender, name=name)
        reply: dict[str, JsonValue] = {"pairing_secret": reverse or "", "device_name": self._device_name}
        return Paired(correspondent, reply if reverse else None)

    async def join(self, invitation: PairingCode) -> Correspondent:
        """Return the inviting device as a correspondent, after asking it to be paired if need be.

        Raises PeerUnreachableError, HubError, DeviceMessageError, StoreError.
        """
        device = invitation.device_address
        if device == self._own_address:
            raise PeerUnreachableError("not_paired", "this pairing code is our own", may_have_acted=False)
        async with self._guard.transaction() as conn:
            known = await correspondents.find(conn, device)
            if known is not None and known.is_confirmed:
                return known
            try:
                await self._make_room(conn, device)
            except PairingError as error:
                raise PeerUnreachableError("not_paired", str(error), may_have_acted=False) from None
            correspondent = await correspondents.add(
                conn, device, pubkey=invitation.pubkey, hub=invitation.hub, name=_INVITED_NAME, is_confirmed=False
            )
            reverse = new_pairing_secret(self._random_bytes)
            await correspondents.invite(conn, reverse, lifetime_s=SECRET_LIFETIME_S, for_device=device)
        body: dict[str, JsonValue] = {
            "pairing_secret": invitation.secret,
            "device_name": self._device_name,
            "reverse_pairing_secret": reverse,
        }
        await self._courier.send(correspondent, PAIRING, body)
        logger.info("pairing_asked_for", device=device)
        return correspondent

    def _is_permanent(self, secret: str) -> bool:
        known = self._permanent_secret
        return known is not None and hmac.compare_digest(secret.encode("utf-8", "replace"), known.encode())

    async def _make_room(self, conn: Connection, device: str) -> None:
        if await correspondents.count(conn) < self._limit or await correspondents.find(conn, device) is not None:
            return
        if not await correspondents.forget_idle(conn, IDLE_S):
            raise PairingError("too_many_correspondents", f"we are paired with {self._limit} devices already")


def _read(message: DeviceMessage) -> tuple[str, str, str | None, str]:
    """Return secret, name, reverse secret and hub of a pairing message."""
    body = message.body if isinstance(message.body, dict) else {}
    secret, name, reverse = (body.get(key) for key in ("pairing_secret", "device_name", "reverse_pairing_secret"))
    if not _is_text(secret, MAX_SECRET_CHARACTERS):
        raise PairingError("incomplete", "pairing_secret should be a text")
    if not _is_text(name, MAX_NAME_CHARACTERS):
        raise PairingError("incomplete", f"device_name should have 1 to {MAX_NAME_CHARACTERS} characters")
    if reverse is not None and not _is_text(reverse, MAX_SECRET_CHARACTERS):
        raise PairingError("incomplete", "reverse_pairing_secret should be a text")
    if not is_valid_hub(message.device_hub):
        raise PairingError("incomplete", "device_hub should be the host of a hub")
    return str(secret), clean_name(str(name)), reverse if isinstance(reverse, str) else None, str(message.device_hub)


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest
