"""`infra/postgres/roles.sql`: three logins instead of one, as in production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.store import instance
from shared.store.database import Database, Role
from shared.store.errors import StoreError
from shared.store.migrations import REQUIRED_REVISION, current, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES_SQL = (Path(__file__).parents[3] / "infra" / "postgres" / "roles.sql").read_text()
LOGINS = ("sluice_migrator", "sluice_front_login", "sluice_worker_login")


def as_login(url: str, login: str) -> str:
    return url.replace("//postgres@", f"//{login}@")


@pytest.fixture
def production_url(empty_database_url: str) -> Iterator[str]:
    """A database that a login without any other right owns and has migrated; run twice, as an operator might."""
    with psycopg.connect(empty_database_url, autocommit=True) as administrator:
        for _ in range(2):
            administrator.execute(ROLES_SQL.encode())
        database = administrator.info.dbname
        administrator.execute(f"ALTER DATABASE {database} OWNER TO sluice_migrator".encode())
        migrate(as_login(empty_database_url, "sluice_migrator"))
        yield empty_database_url
        administrator.execute("REASSIGN OWNED BY sluice_migrator TO postgres")
        for login in LOGINS:
            administrator.execute(f"DROP OWNED BY {login}".encode())
            administrator.execute(f"DROP ROLE {login}".encode())


async def test_three_logins_have_what_they_need_and_no_more(production_url: str) -> None:
    assert current(as_login(production_url, "sluice_migrator")).pre == REQUIRED_REVISION
    front = await Database.connect(as_login(production_url, "sluice_front_login"), role=Role.FRONT)
    worker = await Database.connect(as_login(production_url, "sluice_worker_login"), role=Role.WORKER)
    intruder = await Database.connect(as_login(production_url, "sluice_front_login"), role=Role.WORKER)
    try:
        async with worker.transaction() as conn:
            await instance.declare(conn, network="devnet", own_address="A" * 32)
        async with front.connection() as conn:
            assert (await instance.read(conn)) is not None
        with pytest.raises(StoreError):
            async with intruder.connection() as conn:
                await conn.fetchval("SELECT 1")
    finally:
        for database in (front, worker, intruder):
            await database.close()
