"""Our device at its own hub (Obyte, device messages): one connection after the other, logged in on each.

    hub: hub/challenge             we: hub/login, then hub/temp_pubkey, whose answer shows that the login worked
    hub: hub/message               handled, and deleted there afterwards; until then it comes again at every login
    hub: message_box_status        "has_more": ask for more when everything that came is handled

The connection is not the watcher's: a flood of messages must not delay or end the one that the money depends on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.device_login import MAX_MESSAGE_COUNT, login
from shared.obyte.errors import HubError
from shared.obyte.hub_errors import HubAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.hub_client import HubClient
    from shared.obyte.serialization import JsonValue
    from worker.devices.keys import KeyRing
    from worker.pacing import Backoff

logger = get_logger(__name__)

MAX_MESSAGE_CHARACTERS = 200_000
"""Longer ones are thrown away by the hub: a whole request in every layer of encryption is shorter."""
MAX_NOTIFICATIONS = 300
"""What waits to be looked at; more ends the connection, and what was not deleted comes again."""
_MOST_LOGGED = 200


class Mailbox:
    """Stays logged in.

    `on_message` takes each `hub/message` body, at once and without waiting; `on_more` hears that the hub keeps more
    than it has sent, `on_login` with which connection we are logged in.
    """

    def __init__(
        self,
        make_client: Callable[[], HubClient],
        keys: KeyRing,
        backoff: Backoff,
        *,
        on_message: Callable[[JsonValue], None],
        on_more: Callable[[], None],
        on_login: Callable[[HubClient], None],
    ) -> None:
        self._make_client = make_client
        self._keys = keys
        self._backoff = backoff
        self._on_message = on_message
        self._on_more = on_more
        self._on_login = on_login
        self._client: HubClient | None = None
        self._has_more = False
        self.logged_in = asyncio.Event()
        """Set while answers to our messages can reach us."""

    async def run(self) -> None:
        """Connect, log in, and read until the connection ends; then again, forever."""
        while True:
            client = self._make_client()
            try:
                await client.connect()
                await self._live(client)
            except HubError as error:
                pause_s = self._backoff.pause_s()
                logger.warning("device_hub_lost", hub=client.url, code=error.code, retry_in_s=round(pause_s, 2))
            finally:
                self.logged_in.clear()
                self._client = None
                await client.close()
            await asyncio.sleep(pause_s)

    async def publish_key(self) -> None:
        """Tell peers the temporary key of now. Raises HubError; the next login does it again."""
        if self._client is not None:
            await self._publish(self._client)

    async def delete(self, message_hash: str) -> None:
        """Let the hub forget a message; one that it does not hear of comes again and is known then."""
        if self._client is not None:
            with contextlib.suppress(HubError):
                await self._client.justsaying("hub/delete", message_hash)

    def ask_for_more_later(self) -> None:
        """Note that the hub keeps messages which were not taken."""
        self._has_more = True

    async def ask_for_more(self) -> None:
        """Let the hub send what it still keeps, if there is anything. Call it when nothing is left to handle."""
        if self._has_more and self._client is not None:
            self._has_more = False
            with contextlib.suppress(HubError):
                await self._client.justsaying("hub/refresh")

    async def _live(self, client: HubClient) -> None:
        async with contextlib.AsyncExitStack() as stack:
            publishing: asyncio.Task[None] | None = None
            while True:
                said = await client.next_notification()
                match said.subject, said.body:
                    case "hub/challenge", str(challenge) if publishing is None:
                        await self._log_in(client, challenge)
                        publishing = asyncio.create_task(self._complete_login(client), name="device-login")
                        stack.push_async_callback(_end, publishing)
                    case "hub/message", body:
                        self._on_message(body)
                    case "hub/message_box_status", "has_more":
                        self._has_more = True
                        self._on_more()
                    case "error", text:
                        logger.warning("device_hub_complains", hub=client.url, text=str(text)[:_MOST_LOGGED])
                    case _:
                        pass

    async def _log_in(self, client: HubClient, challenge: str) -> None:
        self._client = client
        self._has_more = False
        body = login(
            challenge,
            self._keys.permanent,
            max_message_length=MAX_MESSAGE_CHARACTERS,
            max_message_count=MAX_MESSAGE_COUNT,
        )
        await client.justsaying("hub/login", body)

    async def _complete_login(self, client: HubClient) -> None:
        try:
            await self._publish(client)
        except HubError as error:
            logger.warning("device_login_failed", hub=client.url, code=error.code, reason=str(error))
            await client.close()
            return
        self._backoff.reset()
        self._on_login(client)
        self.logged_in.set()
        logger.info("device_logged_in", hub=client.url, device=self._keys.address)

    async def _publish(self, client: HubClient) -> None:
        if await client.request("hub/temp_pubkey", self._keys.published) != "updated":
            raise HubAnswerError("hub/temp_pubkey", "it should be updated")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
