"""The worker's standing connection to its hub: made again whenever it ends, for as long as the lease is held."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.errors import HistoryProofError, HubError
from shared.obyte.hub_errors import HubAnswerError, HubClosedError
from worker.errors import WithholdingHubError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import Network
    from worker.pacing import Backoff

logger = get_logger(__name__)


class HubSession:
    """One connection after the other, and the pinned list of order providers that proofs are checked by.

    The first hub's list is kept for the life of the session: a hub that later names others cannot talk us into them.
    """

    def __init__(self, make_client: Callable[[], HubClient], network: Network, backoff: Backoff) -> None:
        self._make_client = make_client
        self._network = network
        self._backoff = backoff
        self._client: HubClient | None = None
        self._order_providers: tuple[str, ...] | None = None

    @property
    def order_providers(self) -> tuple[str, ...]:
        """The pinned list. Only known once a connection was made."""
        if self._order_providers is None:
            raise HubClosedError("not_connected", "the order providers are not known yet")
        return self._order_providers

    @property
    def client(self) -> HubClient:
        """The connection, once the ledger was read through it. Raises HubClosedError `not_connected` until then."""
        if self._client is None or not self._client.is_open:
            raise HubClosedError("not_connected", "not in step with the ledger: there is no connection to the hub")
        return self._client

    def in_step(self, client: HubClient) -> None:
        """Note that the ledger was read through this connection: it may be used to post units."""
        if self._client is not client:
            logger.info("hub_in_step", hub=client.url)
        self._client = client
        self._backoff.reset()

    async def run(self, follow: Callable[[HubClient], Awaitable[None]]) -> None:
        """Connect and let `follow` live on the connection until it raises a hub's error; then again, forever.

        Raises whatever else `follow` raises.
        """
        while True:
            client = self._make_client()
            try:
                await client.connect()
                await self._pin_order_providers(client)
                logger.info("hub_connected", hub=client.url)
                await follow(client)
            except (HubError, HistoryProofError, WithholdingHubError) as error:
                pause_s = self._backoff.pause_s()
                logger.warning(
                    "hub_lost", hub=client.url, code=error.code, reason=str(error), retry_in_s=round(pause_s, 2)
                )
            finally:
                self._client = None
                await client.close()
            await asyncio.sleep(pause_s)

    async def _pin_order_providers(self, client: HubClient) -> None:
        named = await client.get_witnesses()
        if self._order_providers is None:
            if len(named) != self._network.order_provider_count:
                rule = f"{self._network.name} has {self._network.order_provider_count} order providers"
                raise HubAnswerError("get_witnesses", rule)
            self._order_providers = named
        elif named != self._order_providers:
            logger.warning("order_providers_differ", hub=client.url, named=named, pinned=self._order_providers)
