"""Connections to other devices' hubs: made when a message is to be left there, kept for the next, few at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.obyte.errors import HubError
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubClosedError
from shared.webhooks.resolving import Resolver
from worker.public_addresses import ForbiddenAddressError, public_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.networks import Network
    from shared.webhooks.addresses import Resolve

MAX_CONNECTIONS = 32
IDLE_S = 600.0
FAILURE_REMEMBERED_S = 5.0
MAX_FAILURES = 1_000
REQUEST_TIMEOUT_S = 8.0


@dataclass(slots=True)
class _Connection:
    client: HubClient
    reader: asyncio.Task[None]
    used_at_s: float


class HubConnections:
    """Clients by hub (host and path). A hub that could not be reached is not tried again for some seconds.

    On devnet every host is fine; on real networks only hosts with public addresses are, because strangers name them.
    """

    def __init__(
        self,
        network: Network,
        *,
        monotonic: Callable[[], float],
        resolve: Resolve | None = None,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._network = network
        self._monotonic = monotonic
        self._resolver = Resolver()
        self._resolve = resolve or self._resolver
        self._request_timeout_s = request_timeout_s
        self._connections: OrderedDict[str, _Connection] = OrderedDict()
        self._connecting: dict[str, asyncio.Task[HubClient]] = {}
        self._failures: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._own: tuple[str, HubClient] | None = None

    def lend(self, hub: str, client: HubClient) -> None:
        """Use this connection for messages to devices of our own hub, for as long as it is open."""
        self._own = hub, client

    async def get(self, hub: str) -> HubClient:
        """Return an open connection to a hub. Raises HubError."""
        if self._own is not None and self._own[0] == hub and self._own[1].is_open:
            return self._own[1]
        await self._close_idle()
        known = self._connections.get(hub)
        if known is not None and known.client.is_open:
            known.used_at_s = self._monotonic()
            self._connections.move_to_end(hub)
            return known.client
        self._check_failures(hub)
        connecting = self._connecting.get(hub)
        if connecting is None:
            if len(self._connecting) >= MAX_CONNECTIONS:
                raise HubClosedError("unreachable", "too many hubs are being connected to")
            # A task of its own: the first who asks may give up while others wait for the same connection.
            connecting = self._connecting[hub] = asyncio.create_task(self._connect(hub), name="hub-connect")
            connecting.add_done_callback(lambda done: self._connected(hub, done))
        return await asyncio.shield(connecting)

    async def close(self) -> None:
        """Close every connection that is ours to close."""
        for task in tuple(self._connecting.values()):
            task.cancel()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)
        for hub in tuple(self._connections):
            await self._drop(hub)
        self._resolver.close()

    async def _connect(self, hub: str) -> HubClient:
        await self._drop(hub)
        while len(self._connections) >= MAX_CONNECTIONS:
            await self._drop(next(iter(self._connections)))
        try:
            client = await self._make(hub)
            await client.connect()
        except HubError as error:
            self._remember_failure(hub, str(error))
            raise
        reader = asyncio.create_task(_hear_nothing(client), name="hub-reader")
        self._connections[hub] = _Connection(client, reader, self._monotonic())
        return client

    async def _make(self, hub: str) -> HubClient:
        timeout_s = self._request_timeout_s
        if self._network.name == "devnet":
            return HubClient(f"ws://{hub}", self._network, request_timeout_s=timeout_s)
        url = f"wss://{hub}"
        try:
            address = await public_address(urlsplit(url).hostname or "", self._resolve)
        except ForbiddenAddressError as error:
            raise HubClosedError("unreachable", str(error)) from error
        return HubClient(url, self._network, request_timeout_s=timeout_s, connect_to=address)

    def _connected(self, hub: str, done: asyncio.Task[HubClient]) -> None:
        self._connecting.pop(hub, None)
        if not done.cancelled():
            done.exception()  # whoever waits gets it; when nobody does any more, nobody needs it

    def _check_failures(self, hub: str) -> None:
        failed = self._failures.get(hub)
        if failed is not None and self._monotonic() < failed[0]:
            raise HubClosedError("unreachable", failed[1])

    def _remember_failure(self, hub: str, text: str) -> None:
        self._failures[hub] = self._monotonic() + FAILURE_REMEMBERED_S, text
        self._failures.move_to_end(hub)
        while len(self._failures) > MAX_FAILURES:
            self._failures.popitem(last=False)

    async def _close_idle(self) -> None:
        oldest_s = self._monotonic() - IDLE_S
        for hub in [hub for hub, known in self._connections.items() if known.used_at_s < oldest_s]:
            await self._drop(hub)

    async def _drop(self, hub: str) -> None:
        known = self._connections.pop(hub, None)
        if known is not None:
            known.reader.cancel()
            await asyncio.gather(known.reader, return_exceptions=True)
            await known.client.close()


async def _hear_nothing(client: HubClient) -> None:
    """Throw away what a hub says unasked: we are its guest for leaving messages only."""
    with contextlib.suppress(HubError):
        while True:
            await client.next_notification()
