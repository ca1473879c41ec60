from __future__ import annotations

import asyncio
import subprocess
import sys

import asyncpg
import psycopg
import pytest

from shared.store.errors import DatabaseUnavailableError, MigrationError
from shared.store.migrations import REQUIRED_REVISION, Revisions, current, migrate, schema_is_usable
from shared.store.migrations.revisions import LAST_CONTRACTION

UP_TO_DATE = Revisions(pre=REQUIRED_REVISION, post=LAST_CONTRACTION)


async def usable(url: str) -> bool:
    conn = await asyncpg.connect(url)
    try:
        return await schema_is_usable(conn)
    finally:
        await conn.close()


async def test_an_empty_database_gets_the_schema(empty_database_url: str) -> None:
    assert current(empty_database_url) == Revisions(None, None)
    assert not await usable(empty_database_url)
    assert migrate(empty_database_url) == UP_TO_DATE == current(empty_database_url)
    assert await usable(empty_database_url)


def test_migrating_again_finds_nothing_to_do(database_url: str) -> None:
    assert migrate(database_url) == UP_TO_DATE


async def test_the_expanding_steps_are_enough_to_run(empty_database_url: str) -> None:
    assert migrate(empty_database_url, "pre") == Revisions(REQUIRED_REVISION, None)
    assert await usable(empty_database_url)
    assert migrate(empty_database_url, "post") == UP_TO_DATE


def test_contracting_before_expanding_is_refused(empty_database_url: str) -> None:
    with pytest.raises(MigrationError, match="phase 'pre'"):
        migrate(empty_database_url, "post")
    assert current(empty_database_url) == Revisions(None, None)


async def test_of_two_starters_one_migrates_and_both_succeed(empty_database_url: str) -> None:
    starts = await asyncio.gather(*(asyncio.to_thread(migrate, empty_database_url) for _ in range(3)))
    assert starts == [UP_TO_DATE] * 3


async def test_two_databases_of_a_new_cluster_may_be_migrated_at_once(postgres_url: str) -> None:
    names = [f"twin_{number}" for number in range(2)]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        for name in names:
            admin.execute(f"CREATE DATABASE {name}")
    urls = [postgres_url.replace("/sluice?", f"/{name}?") for name in names]
    assert await asyncio.gather(*(asyncio.to_thread(migrate, url) for url in urls)) == [UP_TO_DATE] * 2


def test_waiting_for_another_migration_is_bounded(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (0x51_0C_E5_C4,))
        with pytest.raises(MigrationError, match="another migration"):
            migrate(empty_database_url, wait_s=1)


def test_without_a_server_the_database_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailableError):
        migrate("postgresql://nobody@/none?host=/nowhere")


async def test_a_newer_schema_is_usable_and_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "UPDATE schema_revisions SET version_num = '9999_pre' WHERE version_num = %s", (REQUIRED_REVISION,)
        )
    assert await usable(database_url)
    assert migrate(database_url) == Revisions("9999_pre", LAST_CONTRACTION)


async def test_a_schema_contracted_by_a_later_release_is_not_usable(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "UPDATE schema_revisions SET version_num = '9999_post' WHERE version_num = %s", (LAST_CONTRACTION,)
        )
    assert not await usable(database_url)


def test_a_failing_step_leaves_nothing_behind(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("CREATE TABLE journal (is_in_the_way boolean)")
    with pytest.raises(MigrationError, match="journal"):
        migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT to_regclass('channels')").fetchone() == (None,)


def test_an_ordinary_owner_can_migrate_and_step_down(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE plain_owner LOGIN CREATEROLE")
        admin.execute("GRANT sluice_front, sluice_worker TO plain_owner WITH ADMIN OPTION, SET FALSE")
        admin.execute("CREATE DATABASE plain OWNER plain_owner")
    url = postgres_url.replace("postgres@/sluice?", "plain_owner@/plain?")
    assert migrate(url) == UP_TO_DATE
    with psycopg.connect(url) as conn:
        conn.execute("SET ROLE sluice_front")
        assert conn.execute("SELECT count(*) FROM channels").fetchone() == (0,)


def test_asking_whether_the_schema_is_usable_needs_none_of_the_tools_that_migrate() -> None:
    code = "import sys, shared.store.migrations; sys.exit('sqlalchemy' in sys.modules or 'psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
