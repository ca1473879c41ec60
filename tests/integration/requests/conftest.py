from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.bus import Bus
from shared.settings import Settings
from shared.store import lease
from shared.store.database import Database, Role
from tests import receiving_support
from tests.integration.requests.support import open_shop
from worker.guard import Guard
from worker.payment_requests import RequestPace, RequestTelling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.requests.support import Shop
    from tests.receiving_support import Worker


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Worker]:
    async with receiving_support.worker(database_url) as pen:
        yield pen


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database as the fronts see it."""
    database = await Database.connect(database_url, role=Role.FRONT)
    yield database
    await database.close()


@pytest.fixture
async def teller(worker: Worker) -> RequestTelling:
    async with worker.database.transaction() as conn:
        held = await lease.acquire(conn, "wallet", "me", ttl_s=60)
    assert held is not None
    return RequestTelling(Guard(worker.database, held), Bus(None), RequestPace(again_s=0.002))


@pytest.fixture
async def shop(database_url: str, worker: Worker, teller: RequestTelling) -> AsyncIterator[Shop]:
    settings = Settings(database_url=database_url, public_url="https://pay.example/")
    async with open_shop(settings, worker, teller) as running:
        yield running
