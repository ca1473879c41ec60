"""Our device: logs in, takes messages within limits, has them handled, and asks other devices.

hub ──▶ mailbox ──▶ limits ──▶ checks, decryption ──▶ inbox ──▶ handlers ──▶ effect stored ──▶ deleted at the hub
└─ too much of a sender, unreadable: deleted unread        └──▶ courier: the answer
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.device_messages import message_hash_of, open_message
from shared.obyte.errors import DeviceMessageError, HubError
from shared.obyte.hub_client import HubClient
from shared.receiving.answers_over_http import AnswersOverHttp
from shared.receiving.receiver import Receiver
from shared.store import handled_messages
from shared.store.errors import LeaseLostError, StoreError
from worker.devices.asking import Asking
from worker.devices.courier import Courier
from worker.devices.handling import Handling
from worker.devices.hubs import HubConnections
from worker.devices.inbox import Inbox, RateLimit
from worker.devices.keys import KeyRing
from worker.devices.mailbox import MAX_MESSAGE_CHARACTERS, MAX_NOTIFICATIONS, Mailbox
from worker.devices.pairing import Pairings
from worker.devices.pending import PendingRequests
from worker.devices.requests import ChannelRequests
from worker.devices.strangers import Strangers
from worker.guard import Guard
from worker.pacing import Backoff, Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.bus import Bus
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.pairing import PairingCode
    from shared.obyte.serialization import JsonValue
    from shared.receiving.answers_over_http import AnswerServer
    from shared.settings import Settings
    from shared.store.database import Database
    from shared.store.lease import Lease

logger = get_logger(__name__)

HANDLERS = 16
"""Senders whose messages are handled at the same time."""
MESSAGES_AT_ONCE = 200
MESSAGES_PER_S = 20.0
ALL_MESSAGES_AT_ONCE = 400
ALL_MESSAGES_PER_S = 100.0
"""Of all senders together; the others wait at the hub. Reading one takes about a millisecond of the vault's time."""
PAIRINGS_AT_ONCE = 30
PAIRINGS_PER_S = 1.0
HOUSEKEEPING_S = 60.0
REMEMBERED_S = 2 * 86_400.0
"""How long a message is known to be handled. Handling it again changes nothing, it only costs."""
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
    application: AnswerServer | None = None
    """Who is asked what to answer to payments."""
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
        courier = Courier(self._hubs, device.key, hub, random_bytes=random_bytes)
        pairings = Pairings(
            self._guard,
            courier,
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
        self._application = None if device.application is None else AnswersOverHttp(device.application)
        self._receiver = Receiver(
            device.database, settings, bus, None if self._application is None else self._application.ask
        )
        pending = PendingRequests()
        self._handling = Handling(
            self._guard,
            self._keys,
            self._mailbox,
            courier,
            pairings=pairings,
            requests=ChannelRequests(self._receiver, max_age_s=settings.request_max_age_s, clock=clock),
            pending=pending,
            pairing_rate=RateLimit(PAIRINGS_AT_ONCE, PAIRINGS_PER_S, monotonic),
            strangers=Strangers(courier, monotonic=monotonic),
        )
        self._asking = Asking(self._guard, self._mailbox.logged_in, pairings, courier, pending)
        self._inbox = Inbox()
        self._rates = RateLimit(MESSAGES_AT_ONCE, MESSAGES_PER_S, monotonic)
        self._rate_of_all = RateLimit(ALL_MESSAGES_AT_ONCE, ALL_MESSAGES_PER_S, monotonic)
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
            if self._application is not None:
                await self._application.close()

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
        if not self._rate_of_all.allows(""):
            self._mailbox.ask_for_more_later()
            self._refresh_bell.ring()
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
                await self._handling.handle(message)
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
