# ruff: noqa: PT012 - a transaction is a block

from __future__ import annotations

import asyncio
import threading
import traceback
from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.store import channels
from shared.store.database import Database, Limits, Role
from shared.store.errors import DatabaseBusyError, DatabaseUnavailableError, StoreError
from shared.store.migrations import migrate, schema_is_usable
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Postgres
from tests.integration.store.builders import address, insert_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.store.database import Connection

NOWHERE = "postgresql://nobody@/none?host=/nowhere"


async def setting(conn: Connection, name: str) -> str:
    value: str = await conn.fetchval("SELECT current_setting($1)", name)
    return value


async def test_every_connection_acts_in_its_role(front: Database, worker: Database) -> None:
    async with front.connection() as conn:
        assert await conn.fetchval("SELECT current_user") == "sluice_front"
    async with worker.transaction() as conn:
        assert await conn.fetchval("SELECT current_user") == "sluice_worker"


async def test_the_role_outlives_returns_to_the_pool_and_a_full_reset(database_url: str) -> None:
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=1)
    for _ in range(3):
        async with database.connection() as conn:
            pid = conn.get_server_pid()
            assert await conn.fetchval("SELECT current_user") == "sluice_front"
            await conn.reset()
            await conn.execute("RESET ROLE")
            assert await conn.fetchval("SELECT current_user") == "sluice_front"
    async with database.connection() as conn:
        assert conn.get_server_pid() == pid
    await database.close()


async def test_a_commit_is_always_on_disk_whatever_the_default(
    database_url: str, owner: Connection, worker: Database
) -> None:
    name = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with worker.connection() as conn:
        assert await setting(conn, "synchronous_commit") == "on"
        assert await setting(conn, "jit") == "off"
        assert await setting(conn, "statement_timeout") == "5s"
        assert await setting(conn, "application_name") == "sluice-worker"


async def test_behind_a_transaction_pooler_every_transaction_states_its_settings(database_url: str) -> None:
    database = await Database.connect(database_url, role=Role.FRONT, behind_transaction_pooler=True)
    async with database.transaction() as conn:
        assert await conn.fetchval("SELECT current_user") == "sluice_front"
        assert await setting(conn, "synchronous_commit") == "on"
        assert await setting(conn, "lock_timeout") == "4s"
        assert await channels.lock(conn, [address()]) == {}
        assert await conn.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT current_user") == "sluice_front"
        assert await schema_is_usable(conn)
    await database.close()


async def test_an_error_rolls_the_transaction_back(worker: Database) -> None:
    with pytest.raises(KeyError):
        async with worker.transaction() as conn:
            await insert_open(conn)
            raise KeyError
    async with worker.connection() as conn:
        assert await channels.find(conn, [address()]) == {}


async def test_errors_of_the_application_pass_unchanged(worker: Database) -> None:
    with pytest.raises(FileNotFoundError):
        async with worker.transaction():
            raise FileNotFoundError


async def test_a_refused_statement_names_the_constraint_and_no_value(worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, spent_by_peer=5, claim="the secret package")
    with pytest.raises(StoreError) as refusal:
        async with worker.transaction() as conn:
            await conn.execute("UPDATE channels SET credit = 6")
    assert type(refusal.value) is StoreError
    assert refusal.value.constraint == "channels_credit_was_signed"
    assert refusal.value.sqlstate == "23514"
    assert "the secret package" not in "".join(traceback.format_exception(refusal.value))


async def test_a_value_that_does_not_fit_is_not_quoted(worker: Database) -> None:
    secret = ["the secret package"]
    with pytest.raises(StoreError, match=r"\$1$") as refusal:
        async with worker.connection() as conn:
            await conn.execute("UPDATE channels SET claim = $1", secret)
    assert "the secret package" not in "".join(traceback.format_exception(refusal.value))


async def test_a_process_starts_without_a_database(tmp_path: Path) -> None:
    for dsn in (NOWHERE, f"postgresql://x@/y?host={tmp_path}", "postgresql://x@127.0.0.1:1/y"):
        database = await Database.connect(dsn, role=Role.FRONT)
        with pytest.raises(DatabaseUnavailableError):
            async with database.transaction():
                pass
        await database.close()


async def test_a_database_that_takes_no_connections_is_away_until_it_takes_them_again(
    database_url: str, postgres_url: str
) -> None:
    name = database_url.partition("?")[0].rpartition("/")[2]
    database = await Database.connect(database_url, role=Role.FRONT)
    with psycopg.connect(postgres_url, autocommit=True) as administrator:
        administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        with pytest.raises(DatabaseUnavailableError) as refusal:
            async with database.connection():
                pass
        assert refusal.value.sqlstate == "55000"
        administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT 1") == 1
    await database.close()


async def test_a_database_that_does_not_exist_is_a_fault_and_no_outage(postgres_url: str) -> None:
    database = await Database.connect(postgres_url.replace("/sluice?", "/no_such_database?"), role=Role.FRONT)
    with pytest.raises(StoreError) as refusal:
        async with database.connection():
            pass
    assert type(refusal.value) is StoreError
    await database.close()


async def test_the_host_that_takes_writes_is_used(database_url: str, tmp_path: Path) -> None:
    socket = database_url.partition("?host=")[2]
    name = database_url.partition("?")[0].rpartition("/")[2]
    url = f"postgresql://postgres@/{name}?host={tmp_path},{socket}&port=5432,5432"
    database = await Database.connect(url, role=Role.FRONT)
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT current_database()") == name
    await database.close()


async def test_an_exhausted_pool_is_busy(database_url: str) -> None:
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=1, limits=Limits(acquire_s=0.3))
    async with database.connection():
        with pytest.raises(DatabaseBusyError):
            async with database.connection():
                pass
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT 1") == 1
    await database.close()


async def test_waiting_for_a_lock_and_a_slow_statement_are_bounded(database_url: str, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    database = await Database.connect(database_url, role=Role.FRONT, limits=Limits(lock_s=0.05, statement_s=0.2))
    async with worker.transaction() as conn:
        await channels.lock_one(conn, address())
        with pytest.raises(DatabaseBusyError):
            async with database.transaction() as waiting:
                await channels.lock(waiting, [address()])
    with pytest.raises(DatabaseBusyError):
        async with database.connection() as conn:
            await conn.execute("SELECT pg_sleep(5)")
    await database.close()


async def test_a_server_without_writes_is_no_database_and_its_connections_are_given_up(
    worker: Database, owner: Connection
) -> None:
    async with worker.connection() as conn:
        pid = conn.get_server_pid()
    with pytest.raises(DatabaseUnavailableError):
        async with worker.transaction() as conn:
            await conn.execute("SET LOCAL transaction_read_only = on")
            await insert_open(conn)
    async with worker.connection() as conn:
        assert conn.get_server_pid() != pid


async def test_a_connection_that_is_cut_off_in_use_means_unavailable(worker: Database, owner: Connection) -> None:
    with pytest.raises(DatabaseUnavailableError):
        async with worker.transaction() as conn:
            await owner.execute("SELECT pg_terminate_backend($1, 5000)", conn.get_server_pid())
            await conn.fetchval("SELECT 1")
    async with worker.connection() as conn:
        assert await conn.fetchval("SELECT 1") == 1


async def test_a_transaction_that_stands_still_loses_its_locks(database_url: str, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    limits = Limits(idle_in_transaction_s=0.1)
    frozen = await Database.connect(database_url, role=Role.WORKER, limits=limits)
    with pytest.raises(DatabaseUnavailableError):
        async with frozen.transaction() as conn:
            await channels.lock_one(conn, address())
            async with worker.transaction() as other:
                assert await channels.lock_one(other, address()) is not None
    await frozen.close()


async def test_cancelling_a_borrower_gives_the_connection_back(database_url: str, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=1)
    waiting = asyncio.Event()

    async def wait_for_the_lock() -> None:
        async with database.transaction() as conn:
            waiting.set()
            await channels.lock(conn, [address()])

    async with worker.transaction() as conn:
        await channels.lock_one(conn, address())
        task = asyncio.create_task(wait_for_the_lock())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with database.transaction() as conn:
        assert list(await channels.lock(conn, [address()])) == [address()]
    await database.close()


async def test_closing_does_not_wait_for_ever(database_url: str) -> None:
    database = await Database.connect(database_url, role=Role.FRONT)
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection() as conn:
            await database.close(timeout_s=0.05)
            await conn.fetchval("SELECT 1")
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection():
            pass


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Postgres]:
    sockets = socket_directory(tmp_path, Account().owner)
    server = Postgres(tmp_path / "postgres", sockets, tmp_path / "postgres.log", Account())
    yield server
    server.stop()


@pytest.mark.slow
async def test_the_pool_recovers_by_itself_when_postgres_comes_back(own_cluster: Postgres) -> None:
    url = await asyncio.to_thread(own_cluster.start)
    await asyncio.to_thread(migrate, url)
    database = await Database.connect(url, role=Role.WORKER)
    async with database.transaction() as conn:
        await insert_open(conn)
    with pytest.raises(DatabaseUnavailableError):
        async with database.transaction() as conn:
            await asyncio.to_thread(own_cluster.stop)
            await channels.find(conn, [address()])
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection():
            pass
    await asyncio.to_thread(own_cluster.start)
    async with database.transaction() as conn:
        assert list(await channels.find(conn, [address()])) == [address()]
    await database.close()


@pytest.mark.slow
def test_roles_that_another_database_is_creating_are_shared(own_cluster: Postgres) -> None:
    url = own_cluster.start()
    migration = threading.Thread(target=migrate, args=(url,))
    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as observer:
        other.execute("CREATE ROLE sluice_front NOLOGIN")
        migration.start()
        blocked = """
            SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'sluice-migrate' AND wait_event_type = 'Lock'
        """
        while observer.execute(blocked).fetchone() == (0,):
            assert migration.is_alive()
        other.commit()
        migration.join(timeout=20)
        assert observer.execute("SELECT to_regclass('channels') IS NOT NULL").fetchone() == (True,)


@pytest.mark.slow
def test_a_login_that_may_not_create_roles_is_told_what_to_do(own_cluster: Postgres) -> None:
    url = own_cluster.start()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE ROLE modest LOGIN")
        admin.execute("CREATE DATABASE modest OWNER modest")
    modest = url.replace("postgres@/sluice?", "modest@/modest?")
    with pytest.raises(StoreError, match="CREATE ROLE sluice_front NOLOGIN"):
        migrate(modest)
