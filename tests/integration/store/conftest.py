from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest

from shared.store.database import Database, Role
from shared.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_url.replace("/sluice?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def _common_database_url(postgres_url: str) -> str:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE store_common")
    url = postgres_url.replace("/sluice?", "/store_common?")
    migrate(url)
    return url


@pytest.fixture
async def refusals(_common_database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The owner's connection for tests of what is refused: one database for all, and nothing in it lasts."""
    connection = await asyncpg.connect(_common_database_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
async def front(database_url: str) -> AsyncIterator[Database]:
    """The database as the fronts see it."""
    database = await Database.connect(database_url, role=Role.FRONT)
    yield database
    await database.close()


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Database]:
    """The database as the worker sees it."""
    database = await Database.connect(database_url, role=Role.WORKER)
    yield database
    await database.close()


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection that may look at everything."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
