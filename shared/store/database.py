"""The way to Postgres: a pool of connections that all act in one role."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from shared.store.errors import DatabaseUnavailableError
from shared.store.failures import translated
from shared.store.hosts import Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

# Generic for the type checker only: hence the quotes.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"


class Role(StrEnum):
    """What a process may do: the group role that its connections step down into."""

    FRONT = "sluice_front"
    WORKER = "sluice_worker"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one process waits for the database before it says that there is none. Seconds."""

    acquire_s: float = 5.0
    """For a free connection of the pool; making a new one is part of it."""
    statement_s: float = 5.0
    lock_s: float = 4.0
    idle_in_transaction_s: float = 10.0
    """A process that froze in the middle of a transaction loses its locks after this."""


_DEFAULT_LIMITS = Limits()
_GRACE_S = 2.0


class Database:
    """A pool of connections in one role.

    Connections are made when they are needed, so a process starts without a database and recovers by itself when
    one comes back. Borrowers leave the session as it was (`SET LOCAL` at most): nothing is reset between two of
    them, which saves a round trip for each transaction.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], *, acquire_s: float, local_settings: str | None) -> None:
        self._pool = pool
        self._acquire_s = acquire_s
        self._local_settings = local_settings

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        role: Role,
        application_name: str | None = None,
        max_connections: int = 10,
        limits: Limits = _DEFAULT_LIMITS,
        behind_transaction_pooler: bool = False,
        for_reading: bool = False,
    ) -> Database:
        """Make the pool. No connection is made yet, so this succeeds without a database.

        `dsn`: `postgresql://…`, with `?host=/directory` for a socket, or with several hosts, of which the one that
        takes writes is used. Its login must be a member of the role. `behind_transaction_pooler`: the server side
        changes between transactions (PgBouncer), so nothing is prepared ahead and every transaction states its own
        settings. `for_reading`: any server that answers will do, also a stand-by.
        """
        settings = _settings(role, limits)
        name = {"application_name": application_name or f"sluice-{role.name.lower()}"}
        options: dict[str, Any] = {"server_settings": name | settings}
        if behind_transaction_pooler:
            options = {"server_settings": name, "statement_cache_size": 0}
        pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=max_connections,
            reset=_leave_as_it_is,
            timeout=limits.acquire_s,
            # The server ends a slow statement itself; this is for a server that has fallen silent.
            command_timeout=limits.statement_s + _GRACE_S,
            connect=Servers(dsn, for_reading=for_reading).connect,
            **options,
        )
        local = "; ".join(f"SET LOCAL {setting} = '{value}'" for setting, value in settings.items())
        return cls(pool, acquire_s=limits.acquire_s, local_settings=local if behind_transaction_pooler else None)

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Wait for borrowed connections to come back, at most `timeout_s`, then close them all."""
        with suppress(TimeoutError):  # the pool has then cut the connections off
            await asyncio.wait_for(self._pool.close(), timeout_s)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Borrow a connection with a transaction (read committed) that commits at the end of the block.

        Raises StoreError and its kinds in place of the driver's errors, also for statements in the block.
        """
        # Outside of the transaction for what begins and commits it; inside, so that nothing is rolled back then.
        async with (
            self._borrowed() as conn,
            self._minding_silence(conn),
            conn.transaction(),
            self._minding_silence(conn),
        ):
            if self._local_settings is not None:
                await conn.execute(self._local_settings)
            yield conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection on which every statement commits by itself. Raises as `transaction` does."""
        if self._local_settings is not None:
            async with self.transaction() as conn:
                yield conn
        else:
            async with self._borrowed() as conn, self._minding_silence(conn):
                yield conn

    @asynccontextmanager
    async def _minding_silence(self, conn: PoolConnectionProxy[asyncpg.Record]) -> AsyncIterator[None]:
        """Give up on a server that does not even say that a statement took too long, and on all connections to it.

        Without this each of them would be waited for in turn, and a rollback on each besides.
        """
        try:
            yield
        except TimeoutError as error:
            conn.terminate()
            await self._pool.expire_connections()
            raise asyncpg.ConnectionDoesNotExistError("the server has fallen silent") from error

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        conn = await self._acquire()
        try:
            with translated(connection_is_lost=lambda: _is_lost(conn)):
                yield conn
        except DatabaseUnavailableError as error:
            if error.sqlstate == asyncpg.ReadOnlySQLTransactionError.sqlstate:
                # What we are connected to is no primary any more: look for the new one.
                await self._pool.expire_connections()
            raise
        finally:
            # Whatever the block did is done: a connection that cannot be kept is the pool's business.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._pool.release(conn)

    async def _acquire(self) -> PoolConnectionProxy[asyncpg.Record]:
        with translated(connection_is_lost=self._pool.is_closing, connecting=True):
            try:
                return await self._pool.acquire(timeout=self._acquire_s)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
                # No such socket, no such host, no route: for a database that is all the same.
                raise DatabaseUnavailableError(f"cannot connect: {error}") from error


def _is_lost(conn: PoolConnectionProxy[asyncpg.Record]) -> bool:
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, which it does as soon as the server hangs up
        return True


def _settings(role: Role, limits: Limits) -> dict[str, str]:
    return {
        "role": role.value,
        # No receipt before the commit is on disk, whatever the server's default.
        "synchronous_commit": "on",
        "statement_timeout": _milliseconds(limits.statement_s),
        "lock_timeout": _milliseconds(limits.lock_s),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction_s),
        # Every statement here is short: compiling one costs more than it can save.
        "jit": "off",
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


async def _leave_as_it_is(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Reset nothing: borrowers change no session state."""
