"""Fixtures for every test: one embedded Postgres and Redis for the run, a fresh database for each test that asks."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from shared.settings import Settings
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Postgres, Redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count(1)


def pytest_configure() -> None:
    # Tests must not depend on how the developer's own Sluice is set up.
    for name in [name for name in os.environ if name.upper().startswith("SLUICE_")]:
        del os.environ[name]
    Settings.model_config["env_file"] = None


@pytest.fixture(scope="session")
def _server_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def _sockets(_server_directory: Path) -> Path:
    return socket_directory(_server_directory, Account().owner)


@pytest.fixture(scope="session")
def postgres_url(_server_directory: Path, _sockets: Path) -> Iterator[str]:
    """The URL of an empty database `sluice` in the cluster of this test run."""
    server = Postgres(_server_directory / "postgres", _sockets, _server_directory / "postgres.log", Account())
    with ExitStack() as stack:
        stack.callback(server.stop)
        yield server.start()


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> str:
    from shared.store.migrations import migrate  # noqa: PLC0415 - only tests that ask for a database pay for it

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_sluice")
    migrate(_database(postgres_url, "template_sluice"))
    return "template_sluice"


@pytest.fixture
def database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """The URL of a database of this test alone, migrated to the newest schema."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template}".encode())
        yield _database(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def _redis_server(_server_directory: Path, _sockets: Path) -> Iterator[str]:
    server = Redis(_sockets, _server_directory / "redis.log", Account())
    with ExitStack() as stack:
        stack.callback(server.stop)
        yield server.start()


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """The URL of the Redis of this test run, emptied."""
    with redis.Redis.from_url(_redis_server) as client:
        client.flushall()
    return _redis_server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty SLUICE_HOME."""
    directory = tmp_path / "home"
    directory.mkdir(mode=0o700)
    return directory


def _database(url: str, name: str) -> str:
    return url.replace("/sluice?", f"/{name}?")


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
