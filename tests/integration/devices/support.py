"""Devices on the local hub: a receiver's messenger without the rest of its vault, and a telephone that obeys a test."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, Self

from shared.bus import Bus
from shared.obyte.device_login import login, read_temporary_key, temporary_key_package
from shared.obyte.device_messages import open_message, seal_message
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.pairing import PairingCode
from shared.receiving.answers_over_http import answer_server
from shared.settings import Settings
from shared.store import correspondents
from shared.store import lease as leases
from tests.receiving_support import Worker
from worker.devices.messenger import Device, Messenger
from worker.peers.peers import Peers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from devnet.server import Devnet
    from shared.obyte.device_messages import DeviceMessage
    from shared.store.database import Database

BOUND_S = 10.0
ONE_TIME = "one-time"
NAME = "Anna's phone"
OWN_DEVICE = KeyPair(bytes([77]) * 32)


async def eventually(check: Callable[[], Awaitable[Any]], what: str) -> Any:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BOUND_S):
            while not (answer := await check()):  # noqa: ASYNC110 - what is waited for is in a database
                await asyncio.sleep(0.01)
            return answer
    raise AssertionError(f"it never came: {what}")


class Phone:
    """A device of somebody else, as a wallet is one: logs in, sends, and keeps what it receives until it is asked."""

    def __init__(self, devnet: Devnet, number: int = 1) -> None:
        self.devnet = devnet
        self.key = KeyPair(bytes([number]) * 32)
        self.temporary = KeyPair(bytes([100 + number]) * 32)
        self.hub = devnet.url.removeprefix("ws://")
        self.received: asyncio.Queue[DeviceMessage] = asyncio.Queue()
        self.deletes = True
        self._client = HubClient(devnet.url, DEVNET)
        self._listening: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return self.key.device_address

    @property
    def code(self) -> str:
        return str(PairingCode(self.key.pubkey_b64, self.hub, "phone-secret"))

    async def __aenter__(self) -> Self:
        await self._client.connect()
        while (said := await self._client.next_notification()).subject != "hub/challenge":
            pass
        await self._client.justsaying("hub/login", login(str(said.body), self.key))
        package = temporary_key_package(self.temporary.pubkey_b64, self.key)
        assert await self._client.request("hub/temp_pubkey", package) == "updated"
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._client.close()

    async def seal(
        self, subject: str, body: Any, *, to: KeyPair = OWN_DEVICE, hub: str | None = None
    ) -> dict[str, Any]:
        package = await self._client.request("hub/get_temp_pubkey", to.pubkey_b64)
        return seal_message(
            subject=subject,
            body=body,
            key=self.key,
            device_hub=self.hub if hub is None else hub,
            recipient=to.device_address,
            temp_pubkey=read_temporary_key(package, to.pubkey_b64),
            random_bytes=secrets.token_bytes,
        )

    async def deliver(self, message: Any) -> None:
        assert await self._client.request("hub/deliver", message) == "accepted"

    async def send(self, subject: str, body: Any, **to: Any) -> None:
        await self.deliver(await self.seal(subject, body, **to))

    async def pair(self, secret: str, **body: Any) -> None:
        await self.send("pairing", {"pairing_secret": secret, "device_name": NAME, **body})

    async def next(self, subject: str = "object") -> DeviceMessage:
        async with asyncio.timeout(BOUND_S):
            while (message := await self.received.get()).subject != subject:
                pass
            return message

    async def next_object(self) -> dict[str, Any]:
        """The next message that is a request or an answer."""
        body: Any = (await self.next()).body
        return dict(body)

    async def ask(self, command: str, params: Any, **envelope: Any) -> dict[str, Any]:
        """Send a request and return the body of the answer to it."""
        tag = secrets.token_hex(30)
        await self.send("object", {"command": command, "params": params, "tag": tag, **envelope})
        while True:
            body = await self.next_object()
            if body["tag"] == tag:
                return body

    async def _listen(self) -> None:
        keys = {key.pubkey_b64: key for key in (self.key, self.temporary)}
        while True:
            said = await self._client.next_notification()
            if said.subject == "hub/message":
                message = open_message(said.body, self.address, keys)
                if self.deletes:
                    await self._client.justsaying("hub/delete", message.message_hash)
                self.received.put_nowait(message)


class Node:
    """A receiver whose messenger runs: its database, a pen for what the watcher would write, and ways to peers."""

    def __init__(self, devnet: Devnet, database: Database, key: KeyPair = OWN_DEVICE, **settings: Any) -> None:
        self.devnet = devnet
        self.database = database
        self.key = key
        self.pen = Worker(database)
        self.bus = Bus(None)
        self.settings = Settings(database_url="postgresql://none", hub_url=devnet.url, **settings)
        self.messenger: Messenger | None = None

    @property
    def hub(self) -> str:
        return self.settings.public_device_hub

    @property
    def peers(self) -> Peers:
        return Peers(self.messenger)

    @contextlib.asynccontextmanager
    async def running(self, **given: Any) -> AsyncIterator[Messenger]:
        """Hold the lease and exchange messages within the block."""
        await self.pen.initialise()
        async with self.database.transaction() as conn:
            lease = await leases.acquire(conn, "wallet", secrets.token_hex(4), 60)
        assert lease is not None
        application = answer_server(self.settings)
        device = Device(self.key, self.settings, self.database, application, retry_first_s=0.05, retry_longest_s=0.2)
        self.messenger = messenger = Messenger(lease, device, DEVNET, self.bus, **({"clock": time.time} | given))
        task = asyncio.create_task(messenger.run())
        try:
            async with asyncio.timeout(BOUND_S):
                await messenger._mailbox.logged_in.wait()
            yield messenger
        finally:
            self.messenger = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with self.database.transaction() as conn:
                await leases.release(conn, lease)

    async def invite(self, secret: str = ONE_TIME) -> str:
        """Make an invitation that works once and return the pairing code."""
        async with self.database.transaction() as conn:
            await correspondents.invite(conn, secret, lifetime_s=60)
        return str(PairingCode(self.key.pubkey_b64, self.hub, secret))

    async def knows(self, device: str) -> correspondents.Correspondent | None:
        async with self.database.connection() as conn:
            return await correspondents.find(conn, device)

    async def until_known(self, device: str) -> correspondents.Correspondent:
        found: correspondents.Correspondent = await eventually(lambda: self.knows(device), "a correspondent")
        return found

    async def kept(self) -> list[str]:
        """Hashes of the messages that the hub keeps for us."""
        relay: Any = self.devnet.hub.relay
        return list(relay._devices[self.key.device_address].messages)

    async def until_read(self) -> None:
        """Wait until the hub keeps no message for us."""

        async def is_empty() -> bool:
            return not await self.kept()

        await eventually(is_empty, "an empty message box")
