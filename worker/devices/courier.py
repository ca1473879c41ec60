"""Leaving a message for a device at its hub (Obyte, device messages): ask for its temporary key, encrypt, deliver."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from shared.obyte.device_login import read_temporary_key
from shared.obyte.device_messages import seal_message
from shared.obyte.hub_errors import HubAnswerError, HubRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.keys import KeyPair
    from shared.obyte.serialization import JsonValue
    from worker.devices.hubs import HubConnections

_KEY_CHANGED = "wrong recipient ephemeral pubkey"


class Recipient(Protocol):
    """A device that a message can be left for."""

    @property
    def device_address(self) -> str:
        """Who it is."""
        ...

    @property
    def pubkey(self) -> str:
        """The permanent key that the address is made of."""
        ...

    @property
    def hub(self) -> str:
        """Where messages for it are left: host and path."""
        ...


class Courier:
    """Delivers messages. There is no outbox: what is not delivered now, its receiver no longer waits for."""

    def __init__(
        self,
        hubs: HubConnections,
        key: KeyPair,
        device_hub: str,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._hubs = hubs
        self._key = key
        self._device_hub = device_hub
        self._random_bytes = random_bytes

    async def send(self, to: Recipient, subject: str, body: JsonValue) -> None:
        """Return when the recipient's hub keeps the message. Raises HubError, DeviceMessageError."""
        try:
            await self._send_once(to, subject, body)
        except HubRequestError as error:
            if _KEY_CHANGED not in error.hub_text:
                raise
            # Between telling us its temporary key and taking our message the recipient has changed it.
            await self._send_once(to, subject, body)

    async def _send_once(self, to: Recipient, subject: str, body: JsonValue) -> None:
        client = await self._hubs.get(to.hub)
        package = await client.request("hub/get_temp_pubkey", to.pubkey)
        message = seal_message(
            subject=subject,
            body=body,
            key=self._key,
            device_hub=self._device_hub,
            recipient=to.device_address,
            temp_pubkey=read_temporary_key(package, to.pubkey),
            random_bytes=self._random_bytes,
        )
        if await client.request("hub/deliver", message) != "accepted":
            raise HubAnswerError("hub/deliver", "it should be accepted")
