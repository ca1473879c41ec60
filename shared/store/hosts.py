"""Connecting to the one of several servers that takes writes, although any of the others may be dead or frozen.

The driver asks one server after the other and waits for each as long as the system does. A machine that has lost its
power refuses nothing, it only says nothing: all the time there is would be spent on it. Here the next server is asked
soon, whatever the last one is doing, and the first that takes writes is taken. None is given up before the caller's
patience ends, and one server alone has all of it: whoever has much to do answers late.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

NEXT_AFTER_S = 0.3
"""A server in the same network has answered within this; if not, the next one is asked, too."""
_PORT = "5432"
_TIMEOUT_S = 60.0

Server = tuple[str, int]


def servers_of(dsn: str) -> tuple[Server, ...]:
    """Return host (or socket directory) and port of each server a URL lists; none when it names none."""
    given = conninfo_to_dict(dsn)
    hosts = str(given.get("host") or "").split(",")
    ports = str(given.get("port") or _PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return tuple((host, int(port or _PORT)) for host, port in zip(hosts, ports, strict=True) if host)


class Servers:
    """The servers of one URL. The one that served last is asked first; `for_reading`: a stand-by will do."""

    def __init__(self, dsn: str, *, next_after_s: float = NEXT_AFTER_S, for_reading: bool = False) -> None:
        self._dsn = dsn
        self._servers = list(servers_of(dsn))
        self._next_after_s = next_after_s
        self._wanted = SessionAttribute.any if for_reading else SessionAttribute.read_write

    async def connect(self, *_: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """Return a connection that takes writes, unless it is for reading.

        Options are as `asyncpg.connect` takes them, and as pools give them.

        Raises what the driver raises, also TimeoutError; of several failures one that says more than that a server is
        a stand-by.
        """
        options["target_session_attrs"] = self._wanted
        timeout_s = options.pop("timeout", _TIMEOUT_S)
        if len(self._servers) <= 1:
            return await asyncpg.connect(self._dsn, timeout=timeout_s, **options)
        async with asyncio.timeout(timeout_s), _ended_in_the_end() as tasks:
            failures: list[BaseException] = []
            for server in tuple(self._servers):
                host, port = server
                tasks[asyncio.ensure_future(asyncpg.connect(self._dsn, host=host, port=port, **options))] = server
                if chosen := await self._first(tasks, failures, self._next_after_s):
                    return chosen
            if chosen := await self._first(tasks, failures, None):
                return chosen
            raise _worth_telling(failures)

    async def _first(
        self,
        tasks: dict[asyncio.Future[asyncpg.Connection[asyncpg.Record]], Server],
        failures: list[BaseException],
        within_s: float | None,
    ) -> asyncpg.Connection[asyncpg.Record] | None:
        """Return the first connection; None when none was made in time, or all attempts so far have failed."""
        deadline_s = None if within_s is None else asyncio.get_running_loop().time() + within_s
        while tasks:
            left_s = None if deadline_s is None else deadline_s - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is None:
                    server = tasks.pop(task)
                    self._servers.remove(server)
                    self._servers.insert(0, server)
                    return task.result()
                del tasks[task]
                failures.append(error)
            if not done:
                return None
        return None


@contextlib.asynccontextmanager
async def _ended_in_the_end() -> AsyncIterator[dict[asyncio.Future[asyncpg.Connection[asyncpg.Record]], Server]]:
    """Attempts under way; those that are not needed any more are ended."""
    tasks: dict[asyncio.Future[asyncpg.Connection[asyncpg.Record]], Server] = {}
    try:
        yield tasks
    finally:
        for task in tasks:
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                task.result().terminate()


def _worth_telling(failures: Sequence[BaseException]) -> BaseException:
    said = [error for error in failures if not isinstance(error, asyncpg.TargetServerAttributeNotMatched)]
    return said[0] if said else failures[0]
