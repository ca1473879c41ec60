"""Several servers in one URL, of which some are dead, frozen or only follow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import asyncpg
import pytest

from shared.store.database import Database, Limits, Role
from shared.store.errors import DatabaseBusyError, DatabaseUnavailableError
from shared.store.hosts import Servers, servers_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NEXT_AFTER_S = 0.05
SLOW_S = 8 * NEXT_AFTER_S


@pytest.mark.parametrize(
    ("dsn", "servers"),
    [
        ("postgresql://u:p@one,two:5433/d?sslmode=disable", (("one", 5432), ("two", 5433))),
        ("postgresql://u@[::1]:1,two/d", (("::1", 1), ("two", 5432))),
        ("postgresql://u@/d?host=/run/a,/run/b&port=5432,6000", (("/run/a", 5432), ("/run/b", 6000))),
        ("postgresql://u@/d?host=/run/a,/run/b&port=6000", (("/run/a", 6000), ("/run/b", 6000))),
        ("postgresql://u@/d", ()),
    ],
)
def test_servers_are_read_as_postgres_reads_them(dsn: str, servers: tuple[tuple[str, int], ...]) -> None:
    assert servers_of(dsn) == servers


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[int, list[float]]]:
    """A machine that takes connections and says nothing; its port, and when it was asked."""
    asked: list[float] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(time.monotonic())
        with contextlib.suppress(ConnectionError):
            while await reader.read(1_000):
                pass
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


@contextlib.asynccontextmanager
async def slow_server(database_url: str, after_s: float = SLOW_S) -> AsyncIterator[int]:
    """The database, on a machine that has so much to do that it answers late; its port."""
    there = f"{database_url.partition('?host=')[2]}/.s.PGSQL.5432"
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                writer.write(piece)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after_s)
        inner, outer = await asyncio.open_unix_connection(there)
        pumps.update({asyncio.create_task(pump(reader, outer)), asyncio.create_task(pump(inner, writer))})

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*pumps)


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A machine that does not even say that there is none: whoever asks gets no answer to his first packet."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # its queue is full
            waits = stack.enter_context(socket.socket())
            waits.setblocking(False)
            waits.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("order", [["slow"], ["hole", "slow"], ["slow", "hole"], ["hole", "refused", "slow"]])
async def test_one_that_answers_late_is_waited_for_whatever_the_others_do(
    database_url: str, order: list[str], free_port: int
) -> None:
    """How soon the next one is asked is no limit for anybody: each has all the time there is."""
    async with slow_server(database_url) as slow:
        with black_hole() as hole:
            ports = {"slow": slow, "hole": hole, "refused": free_port}
            hosts = ",".join(f"127.0.0.1:{ports[kind]}" for kind in order)
            name = database_url.partition("?")[0].rpartition("/")[2]
            dsn = f"postgresql://postgres@{hosts}/{name}?sslmode=disable"
            servers = Servers(dsn, next_after_s=NEXT_AFTER_S)
            began_s = time.monotonic()
            conn = await servers.connect(timeout=10)
            assert time.monotonic() - began_s > SLOW_S
            await conn.close()


async def test_a_black_hole_alone_is_waited_for_as_long_as_there_is_patience() -> None:
    with black_hole() as port:
        for hosts in (f"127.0.0.1:{port}", f"127.0.0.1:{port},127.0.0.1:{port}"):
            began_s = time.monotonic()
            with pytest.raises(TimeoutError):
                await Servers(f"postgresql://u@{hosts}/d", next_after_s=0.01).connect(timeout=0.3)
            assert time.monotonic() - began_s < 5


def both(silent_port: int, database_url: str) -> str:
    base, _, sockets = database_url.partition("?host=")
    return f"{base}?host=127.0.0.1,{sockets}&port={silent_port},5432"


async def test_a_frozen_server_is_not_waited_for_and_not_asked_again(database_url: str) -> None:
    async with silent_server() as (port, asked):
        servers = Servers(both(port, database_url), next_after_s=0.1)
        for _ in range(3):
            async with asyncio.timeout(10):
                conn = await servers.connect(timeout=10)
            assert await conn.fetchval("SELECT 1") == 1
            await conn.close()
        assert len(asked) == 1, "the one that served last is asked first"


async def test_a_standby_is_left_for_the_one_that_takes_writes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = database_url.partition("?host=")[2]
    real = asyncpg.connect

    async def connect(dsn: str, **options: object) -> object:
        if options["host"] == "standby":
            assert options["target_session_attrs"] == "read-write", "otherwise it would have been taken"
            raise asyncpg.TargetServerAttributeNotMatched("it follows")
        if options["host"] == "refused":
            raise ConnectionRefusedError
        return await real(dsn, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncpg, "connect", connect)
    base = database_url.partition("?")[0]
    conn = await Servers(f"{base}?host=standby,{there},refused&port=5432,5432,5432").connect()
    await conn.close()
    with pytest.raises(ConnectionRefusedError):  # says more than that the other one is a stand-by
        await Servers(f"{base}?host=standby,refused&port=1,1").connect()


async def test_with_all_servers_frozen_there_is_no_database_in_time() -> None:
    async with silent_server() as (one, _), silent_server() as (two, _):
        dsn = f"postgresql://u@127.0.0.1:{one},127.0.0.1:{two}/d"
        database = await Database.connect(dsn, role=Role.FRONT, limits=Limits(acquire_s=0.6))
        with pytest.raises((DatabaseBusyError, DatabaseUnavailableError)):
            async with asyncio.timeout(5), database.connection():
                pass
        await database.close()


async def test_a_server_that_falls_silent_costs_one_wait_not_one_for_each_connection(database_url: str) -> None:
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=3)
    before = await _pids(database)
    for borrowed in (database.transaction, database.connection):
        with pytest.raises(DatabaseUnavailableError):
            async with borrowed() as conn:
                await conn.fetchval("SELECT pg_sleep(10)", timeout=0.05)  # as the driver's own limit would end it
        after = await _pids(database)
        assert after.isdisjoint(before)
        before = after
    await database.close()


async def _pids(database: Database) -> set[int]:
    """The processes of the server behind each of three connections."""
    async with database.connection() as one, database.connection() as two, database.connection() as three:
        return {await conn.fetchval("SELECT pg_backend_pid()") for conn in (one, two, three)}
