"""A market: a local ledger, a receiver with its front on a socket, and payers with money."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from devnet.server import Devnet
from front.app import create_app
from shared.settings import Settings
from shared.store.api_keys import Scope
from shared.store.database import Database, Role
from sluice import Payer, SyncPayer
from tests.integration.payer.conftest import FUNDS, MNEMONIC, OPTIONS, PAYER_ADDRESS
from tests.integration.sdk.support import serving
from tests.integration.worker.support import World as House
from tests.receiving_support import Worker
from tests.running import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path


@dataclass
class Market:
    """`front` is the front's base URL, `key` an API key of scope `receive`."""

    devnet: Devnet
    front: str
    key: str
    home: Path
    settings: Settings
    worker: Worker

    async def make_key(self, *scopes: Scope) -> str:
        """Make another API key."""
        return await self.worker.make_key(*scopes)

    def payer(self, **more: Any) -> AbstractAsyncContextManager[Payer]:
        return Payer.open(self.home, **self._wallet(more))

    def sync_payer(self, **more: Any) -> AbstractContextManager[SyncPayer]:
        return SyncPayer.open(self.home, **self._wallet(more))

    def _wallet(self, more: dict[str, Any]) -> dict[str, Any]:
        common = {"hub_url": self.devnet.url, "network": "devnet", "mnemonic": MNEMONIC, "options": OPTIONS}
        return {**common, "clock": self.devnet.ledger.now_s, **more}


@pytest_asyncio.fixture
async def market(database_url: str, tmp_path: Path) -> AsyncIterator[Market]:
    async with AsyncExitStack() as stack:
        database = await Database.connect(database_url, role=Role.WORKER)
        stack.push_async_callback(database.close)
        devnet = await stack.enter_async_context(Devnet(port=0, stabilise_after_s=0.05))
        house = House(devnet, database, database_url)
        stack.push_async_callback(house.bus.close)
        house.fund(house.own)
        devnet.ledger.treasury.fund(PAYER_ADDRESS, FUNDS)
        devnet.ledger.settle()
        await stack.enter_async_context(house.running())
        key = await Worker(database).make_key(Scope.RECEIVE)
        [port] = free_ports(1)
        settings = Settings(database_url=database_url, port=port)
        front = await stack.enter_async_context(serving(create_app(settings), port))
        yield Market(devnet, f"{front}/", key, tmp_path / "payer", settings, Worker(database))
