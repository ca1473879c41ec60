"""`infra/postgres/roles.sql`: three logins instead of one, as in production."""

# ruff: noqa: PT012 - a transaction is a block

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.store import instance, lease
from shared.store.database import Database, Role
from shared.store.errors import StoreError
from shared.store.migrations import REQUIRED_REVISION, current, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES_SQL = (Path(__file__).parents[3] / "infra" / "postgres" / "roles.sql").read_text()
_BLOCKED = b"SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
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


async def test_the_workers_login_may_end_a_session_of_its_own_that_froze(production_url: str) -> None:
    worker = await Database.connect(as_login(production_url, "sluice_worker_login"), role=Role.WORKER)
    pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def take_over() -> lease.Lease | None:
        async with worker.transaction() as conn:
            pid.set_result(await lease.own_pid(conn))
            return await lease.acquire(conn, "wallet", "second", 60)

    async with worker.transaction() as conn:
        first = await lease.acquire(conn, "wallet", "first", 0.2)
    assert first is not None
    with pytest.raises(StoreError):
        async with worker.transaction() as frozen:
            await lease.assert_held(frozen, first)
            await asyncio.sleep(0.3)
            taking = asyncio.create_task(take_over())
            with psycopg.connect(production_url, autocommit=True) as owner:
                while not owner.execute(_BLOCKED).fetchone():  # noqa: ASYNC110 - it is in a database
                    await asyncio.sleep(0.01)
            async with worker.transaction() as conn:
                assert await lease.end_frozen(conn, "wallet", await pid) == 1
            second = await taking
            await frozen.fetchval("SELECT 1")
    assert second is not None
    assert second.term == first.term + 1
    await worker.close()
