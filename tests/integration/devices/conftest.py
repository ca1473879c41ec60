from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from devnet.server import Devnet
from shared.obyte.keys import KeyPair
from shared.store.database import Database, Role
from tests.integration.devices.support import Node, Phone
from tests.receiving_support import database_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OTHER_DEVICE = KeyPair(bytes([78]) * 32)


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with Devnet(port=0) as devnet:
        yield devnet


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url, role=Role.WORKER)
    yield database
    await database.close()


@pytest.fixture
async def node(devnet: Devnet, database: Database) -> AsyncIterator[Node]:
    """A receiver whose messenger runs."""
    node = Node(devnet, database)
    async with node.running():
        yield node
    await node.bus.close()


@pytest.fixture
async def other_node(devnet: Devnet, postgres_url: str, _template: str) -> AsyncIterator[Node]:
    """Another receiver, with a database and a device of its own, whose messenger runs."""
    with database_of(postgres_url, _template, "other_node") as url:
        database = await Database.connect(url, role=Role.WORKER)
        node = Node(devnet, database, OTHER_DEVICE)
        try:
            async with node.running():
                yield node
        finally:
            await node.bus.close()
            await database.close()


@pytest.fixture
async def phone(devnet: Devnet) -> AsyncIterator[Phone]:
    async with Phone(devnet) as phone:
        yield phone


@pytest.fixture
async def paired(node: Node, phone: Phone) -> Phone:
    """The telephone, paired with the receiver."""
    await node.invite()
    await phone.pair("one-time")
    await node.until_known(phone.address)
    return phone


@contextlib.asynccontextmanager
async def another_phone(devnet: Devnet, number: int = 2) -> AsyncIterator[Phone]:
    async with Phone(devnet, number) as phone:
        yield phone
