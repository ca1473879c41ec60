from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.store.database import Database, Role
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.calling import Caller
from tests.integration.webhooks.support import LOOPBACK, Office, Receiver, guard_of
from tests.receiving_support import database_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def webhooks_database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """One database for all of these tests: copying one takes longer than most of them."""
    with database_of(postgres_url, _template, "webhooks_common") as url:
        yield url


@pytest.fixture
async def worker(webhooks_database_url: str) -> AsyncIterator[Database]:
    """The database as the worker sees it, without webhooks and events."""
    with psycopg.connect(webhooks_database_url, autocommit=True) as owner:
        owner.execute("DELETE FROM webhooks; DELETE FROM events; DELETE FROM payments; DELETE FROM channels")
    database = await Database.connect(webhooks_database_url, role=Role.WORKER)
    yield database
    await database.close()


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with Caller(AddressGuard(LOOPBACK)) as caller:
        yield caller


@pytest.fixture
async def office(worker: Database, caller: Caller) -> Office:
    return Office(worker, caller, await guard_of(worker))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().listening() as receiver:
        yield receiver
