"""What a message does, once (Obyte, device messages; channels, peer protocol over the messenger).

Its effect is stored first, together with its hash; then its hub is told to delete it. A crash in between brings the
message again, and it is known. A payment is safe even without that: the same package gets the same receipt.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.errors import DeviceMessageError, HubError
from shared.obyte.pairing import is_valid_hub
from shared.store import contacts, correspondents, handled_messages
from worker.devices.asking import OBJECT
from worker.devices.pairing import PAIRING, PairingError
from worker.devices.strangers import REMOVED, asks_for_channel

if TYPE_CHECKING:
    from shared.obyte.device_messages import DeviceMessage
    from shared.obyte.serialization import JsonValue
    from shared.store.correspondents import Correspondent
    from worker.devices.courier import Courier
    from worker.devices.inbox import RateLimit
    from worker.devices.keys import KeyRing
    from worker.devices.mailbox import Mailbox
    from worker.devices.pairing import Pairings
    from worker.devices.pending import PendingRequests
    from worker.devices.requests import ChannelRequests
    from worker.devices.strangers import Strangers
    from worker.guard import Guard

logger = get_logger(__name__)

ANSWER_TIMEOUT_S = 10.0


class Handling:
    """Handles messages that were checked and read."""

    def __init__(  # noqa: PLR0913 (every part that a message can concern)
        self,
        guard: Guard,
        keys: KeyRing,
        mailbox: Mailbox,
        courier: Courier,
        *,
        pairings: Pairings,
        requests: ChannelRequests,
        pending: PendingRequests,
        pairing_rate: RateLimit,
        strangers: Strangers,
    ) -> None:
        self._guard = guard
        self._keys = keys
        self._mailbox = mailbox
        self._courier = courier
        self._pairings = pairings
        self._requests = requests
        self._pending = pending
        self._pairing_rate = pairing_rate
        self._strangers = strangers

    async def handle(self, message: DeviceMessage) -> None:
        """Do what a message asks for, unless that was done before. Raises StoreError: then it has to come again."""
        async with self._guard.reading() as conn:
            is_handled = await handled_messages.is_handled(conn, message.message_hash)
            sender = await correspondents.find(conn, message.sender)
        if is_handled:
            await self._mailbox.delete(message.message_hash)
        elif message.subject == PAIRING:
            await self._pair(message, is_known=sender is not None)
        elif message.subject == OBJECT and sender is not None:
            await self._serve(message, sender)
        elif message.subject == REMOVED and sender is not None:
            await self._part(message)
        else:
            # Strangers may ask to be paired and nothing else; other subjects are those of wallets with a screen.
            await self._mailbox.delete(message.message_hash)
            if message.subject == OBJECT and asks_for_channel(message):
                await self._tell_stranger(message)

    async def _pair(self, message: DeviceMessage, *, is_known: bool) -> None:
        reply = None
        if is_known or self._pairing_rate.allows(""):
            try:
                async with self._guard.transaction() as conn:
                    paired = await self._pairings.accept(conn, message)
                    await handled_messages.mark(conn, message.message_hash)
                    await self._keys.mark_used(conn, message.recipient_pubkey)
                self._strangers.is_none(message.sender)
                reply = paired.reply
            except PairingError as error:
                logger.info("pairing_refused", device=message.sender, code=error.code, reason=str(error))
        await self._mailbox.delete(message.message_hash)
        if reply is not None:
            await self._send(paired.correspondent, PAIRING, reply)

    async def _part(self, message: DeviceMessage) -> None:
        """Take note that a device does not know us any more: its next code pairs us anew."""
        async with self._guard.transaction() as conn:
            await correspondents.doubt(conn, message.sender)
            await handled_messages.mark(conn, message.message_hash)
            await self._keys.mark_used(conn, message.recipient_pubkey)
        logger.info("device_has_parted", device=message.sender)
        await self._mailbox.delete(message.message_hash)

    async def _tell_stranger(self, message: DeviceMessage) -> None:
        async with self._guard.reading() as conn:
            is_in_use = await contacts.has_open_channel(conn, message.sender)
        # A JavaScript wallet that has dropped us ends when it is to pay in a channel that it still has with us.
        if not is_in_use:
            await self._strangers.tell(message)

    async def _serve(self, message: DeviceMessage, sender: Correspondent) -> None:
        hub = message.device_hub if is_valid_hub(message.device_hub) else None
        is_answer = self._pending.answer(message.sender, message.body)
        served = None if is_answer else await self._requests.serve(message)
        async with self._guard.transaction() as conn:
            await handled_messages.mark(conn, message.message_hash)
            await correspondents.heard(conn, message.sender, hub)
            await self._keys.mark_used(conn, message.recipient_pubkey)
            if served is not None:
                await served.note_contact(conn, message.sender)
        await self._mailbox.delete(message.message_hash)
        if served is not None:
            await self._send(replace(sender, hub=hub or sender.hub), OBJECT, served.answer)

    async def _send(self, to: Correspondent, subject: str, body: JsonValue) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._courier.send(to, subject, body)
        except (HubError, DeviceMessageError, TimeoutError) as error:
            logger.warning("device_answer_not_delivered", device=to.device_address, reason=str(error))
