from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devnet.server import Devnet
from shared.store.database import Database, Role
from tests.integration.worker.support import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A local ledger, a database, and a receiver with some money and no worker yet."""
    database = await Database.connect(database_url, role=Role.WORKER)
    async with Devnet(port=0, stabilise_after_s=0.05) as devnet:
        world = World(devnet, database, database_url)
        world.fund(world.own)
        yield world
        await world.bus.close()
    await database.close()
