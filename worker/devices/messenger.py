"""Our device: takes messages, has each one's effect stored once, and asks other devices.

What a message does is stored first, together with its hash; then its hub is told to delete it. A crash in between
brings the message again, and it is known. A payment is safe even without that: the same package gets the same receipt.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.device_messages import message_hash_of, open_message
from shared.obyte.errors import DeviceMessageError, HubError
from shared.obyte.hub_client import HubClient
from shared.obyte.pairing import is_valid_hub
from shared.receiving.receiver import Receiver
from shared.store import correspondents, handled_messages
from shared.store.errors import LeaseLostError, StoreError
from worker.devices.asking import OBJECT, Asking
from worker.devices.courier import Courier
from worker.devices.hubs import HubConnections
from worker.devices.inbox import Inbox, RateLimit
from worker.devices.keys import KeyRing
from worker.devices.mailbox import MAX_MESSAGE_CHARACTERS, MAX_NOTIFICATIONS, Mailbox
from worker.devices.pairing import PAIRING, PairingError, Pairings
from worker.devices.pending import PendingRequests
from worker.devices.requests import ChannelRequests
from worker.guard import Guard
from worker.pacing import Backoff, Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.bus import Bus
    from shared.obyte.device_messages import DeviceMessage
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.pairing import PairingCode
    from shared.obyte.serialization import JsonValue
    from shared.settings import Settings
    from shared.store.correspondents import Correspondent
    from shared.store.database import Database
    from shared.store.lease import Lease

logger = get_logger(__name__)

HANDLERS = 16
"""Senders whose messages are handled at the same time."""
MESSAGES_AT_ONCE = 200
MESSAGES_PER_S = 20.0
PAIRINGS_AT_ONCE = 30
PAIRINGS_PER_S = 1.0
ANSWER_TIMEOUT_S = 10.0
HOUSEKEEPING_S = 60.0
REMEMBERED_S = 30 * 86_400.0
PAUSE_S = 1.0
REFRESH_PAUSE_S = 0.2
"""A hub that always has more is not asked without a pause."""
MAX_UNWANTED = 10_000


@dataclass(frozen=True, slots=True)
class Device:
    """What makes the worker a device. `database`: connections of its own, so that messages never starve the vault."""

    key: KeyPair
    settings: Settings
    database: Database
    retry_first_s: float = 0.5
    retry_longest_s: float = 60.0


class Messenger:
    """Our device for one term of the lease."""

    def __init__(
        self,
        lease: Lease,
        device: Device,
        network: Network,
        bus: Bus,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        settings, hub, secret = device.settings, device.settings.public_device_hub, device.settings.pairing_secret
        self._guard = Guard(device.database, lease)
        self._hubs = HubConnections(network, monotonic=monotonic)
        self._keys = KeyRing(self._guard, device.key, hub, random_bytes)
        self._courier = Courier(self._hubs, device.key, hub, random_bytes=random_bytes)
        self._pairings = Pairings(
            self._guard,
            self._courier,
            own_address=device.key.device_address,
            device_name=settings.device_name,
            permanent_secret=None if secret is None else secret.get_secret_value(),
            random_bytes=random_bytes,
        )
        self._refresh_bell = Bell()
        self._mailbox = Mailbox(
            lambda: HubClient(settings.hub_urls[0], network, max_notifications=MAX_NOTIFICATIONS),
            self._keys,
            Backoff(device.retry_first_s, device.retry_longest_s, jitter),
            on_message=self._take,
            on_more=self._refresh_bell.ring,
            on_login=lambda client: self._hubs.lend(hub, client),
        )
        self._receiver = Receiver(device.database, settings, bus)
        self._requests = ChannelRequests(self._receiver, max_age_s=settings.request_max_age_s, clock=clock)
        self._pending = PendingRequests()
        self._asking = Asking(self._guard, self._mailbox.logged_in, self._pairings, self._courier, self._pending)
        self._inbox = Inbox()
        self._rates = RateLimit(MESSAGES_AT_ONCE, MESSAGES_PER_S, monotonic)
        self._pairing_rate = RateLimit(PAIRINGS_AT_ONCE, PAIRINGS_PER_S, monotonic)
        self._unwanted: deque[str] = deque(maxlen=MAX_UNWANTED)
        self._unwanted_bell = Bell()

    async def run(self) -> None:
        """Exchange messages forever. Raises LeaseLostError."""
        try:
            while True:
                try:
                    await self._run()
                except* LeaseLostError:
                    raise
                except* StoreError as errors:
                    logger.warning("messenger_waits", reason=str(errors.exceptions[0]))
                except* Exception:
                    # Whatever strangers write, the vault goes on.
                    logger.exception("messenger_failed")
                await asyncio.sleep(PAUSE_S)
        finally:
            await self._hubs.close()
            await self._receiver.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            await self._keys.load()
            tasks.create_task(self._mailbox.run(), name="device-mailbox")
            tasks.create_task(self._delete_unwanted(), name="device-unwanted")
            tasks.create_task(self._ask_for_more(), name="device-refresh")
            tasks.create_task(self._keep_house(), name="device-housekeeping")
            for number in range(HANDLERS):
                tasks.create_task(self._handle_messages(), name=f"device-handler-{number}")

    async def ask(
        self, device: str, envelope: Mapping[str, JsonValue], *, invitation: PairingCode | None, timeout_s: float
    ) -> JsonValue:
        """Send a request to a device, and return what that device answers. See `worker.peers.messenger.Asker`."""
        return await self._asking.ask(device, envelope, invitation=invitation, timeout_s=timeout_s)

    # ---------------------------------------------------------------------------------------------- taking messages

    def _take(self, delivered: JsonValue) -> None:
        """Check a message and put it into the inbox. What cannot be read or comes too often is thrown away."""
        message_hash = message_hash_of(delivered)
        if message_hash is None:
            return
        if not self._rates.allows(_claimed_sender(delivered)) or _is_too_large(delivered):
            self._throw_away(message_hash)
            return
        try:
            message = open_message(delivered, self._keys.address, self._keys.by_pubkey)
        except DeviceMessageError as error:
            logger.info("device_message_refused", code=error.code, reason=str(error))
            self._throw_away(message_hash)
            return
        if not self._inbox.take(message):
            self._mailbox.ask_for_more_later()

    def _throw_away(self, message_hash: str) -> None:
        self._unwanted.append(message_hash)  # one that is pushed out comes again
        self._unwanted_bell.ring()

    async def _delete_unwanted(self) -> None:
        while True:
            while self._unwanted:
                await self._mailbox.delete(self._unwanted.popleft())
            self._refresh_bell.ring()
            await self._unwanted_bell.sleep(None)

    async def _ask_for_more(self) -> None:
        """Let the hub send the next messages when those before are done with."""
        while True:
            await self._refresh_bell.sleep(None)
            await asyncio.sleep(REFRESH_PAUSE_S)
            if self._inbox.is_empty and not self._unwanted:
                await self._mailbox.ask_for_more()

    async def _handle_messages(self) -> None:
        while True:
            message = await self._inbox.next()
            try:
                await self._handle(message)
            except LeaseLostError:
                raise
            except StoreError as error:
                logger.warning("device_message_waits", code=error.code, reason=str(error))
                self._mailbox.ask_for_more_later()
                await asyncio.sleep(PAUSE_S)
            except Exception:
                # It would come again for ever, and fail again.
                logger.exception("device_message_failed", device=message.sender, subject=message.subject)
                await self._mailbox.delete(message.message_hash)
            finally:
                self._inbox.done(message)
                self._refresh_bell.ring()

    async def _handle(self, message: DeviceMessage) -> None:
        async with self._guard.reading() as conn:
            is_handled = await handled_messages.is_handled(conn, message.message_hash)
            sender = await correspondents.find(conn, message.sender)
        if is_handled:
            await self._mailbox.delete(message.message_hash)
        elif message.subject == PAIRING:
            await self._pair(message, is_known=sender is not None)
        elif message.subject == OBJECT and sender is not None:
            await self._serve(message, sender)
        else:
            # Strangers may ask to be paired and nothing else; other subjects are those of wallets with a screen.
            await self._mailbox.delete(message.message_hash)

    async def _pair(self, message: DeviceMessage, *, is_known: bool) -> None:
        reply = None
        if is_known or self._pairing_rate.allows(""):
            try:
                async with self._guard.transaction() as conn:
                    paired = await self._pairings.accept(conn, message)
                    await handled_messages.mark(conn, message.message_hash)
                    await self._keys.mark_used(conn, message.recipient_pubkey)
                reply = paired.reply
            except PairingError as error:
                logger.info("pairing_refused", device=message.sender, code=error.code, reason=str(error))
        await self._mailbox.delete(message.message_hash)
        if reply is not None:
            await self._send(paired.correspondent, PAIRING, reply)

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

    # ------------------------------------------------------------------------------------------------- housekeeping

    async def _keep_house(self) -> None:
        """Change the temporary key when it is time, and forget messages that no hub sends any more."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                if await self._keys.rotate_if_due():
                    await self._mailbox.publish_key()
                async with self._guard.transaction() as conn:
                    await handled_messages.drop_old(conn, REMEMBERED_S)
            except LeaseLostError:
                raise
            except (StoreError, HubError) as error:
                logger.warning("device_housekeeping_waits", code=error.code, reason=str(error))


def _claimed_sender(delivered: JsonValue) -> str:
    """Return who a message says that it is from; its hub has checked that, and we do so after counting."""
    message = delivered.get("message") if isinstance(delivered, dict) else None
    pubkey = message.get("pubkey") if isinstance(message, dict) else None
    return pubkey if isinstance(pubkey, str) else ""


def _is_too_large(delivered: JsonValue) -> bool:
    match delivered:
        case {"message": {"encrypted_package": {"encrypted_message": str(text)}}}:
            return len(text) > MAX_MESSAGE_CHARACTERS
        case _:
            return False
