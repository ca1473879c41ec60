"""A look at the whole database as of one moment, whatever happens in it meanwhile."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from shared.store.errors import DatabaseUnavailableError
from shared.store.failures import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.store.audit.rules import Invariant, Walk
    from shared.store.database import Connection

CONNECT_S = 10.0
_GRACE_S = 2.0


@asynccontextmanager
async def snapshot(dsn: str, *, statement_s: float) -> AsyncIterator[Connection]:
    """Open a connection on which nothing can be written, and everything is seen as of one moment.

    Steps down into no role and asks for no primary: a login that may only read will do, and so will a stand-by. A
    statement that takes longer than `statement_s` is ended. Raises StoreError and its kinds, also for what the block
    does.
    """
    conn = await _connect(dsn, statement_s)
    try:
        with translated(connection_is_lost=conn.is_closed):
            async with conn.transaction(isolation="repeatable_read", readonly=True):
                limit = f"{round(statement_s * 1000)}"
                await conn.execute(
                    f"SET LOCAL statement_timeout = '{limit}'; SET LOCAL lock_timeout = '{limit}';"
                    # Judging a page may take a while; should we die, the server hears of it from the connection.
                    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off"
                )
                yield conn
    finally:
        await conn.close(timeout=CONNECT_S)


async def _connect(dsn: str, statement_s: float) -> asyncpg.Connection[asyncpg.Record]:
    with translated(connection_is_lost=lambda: True, connecting=True):
        try:
            # Nothing is prepared ahead: it may be a pooler that is spoken to.
            return await asyncpg.connect(
                dsn,
                timeout=CONNECT_S,
                command_timeout=statement_s + _GRACE_S,
                statement_cache_size=0,
                target_session_attrs=SessionAttribute.any,
                server_settings={"application_name": "sluice-audit"},
            )
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise DatabaseUnavailableError(f"cannot connect: {error}") from error


async def network(conn: Connection) -> str | None:
    """Return the network that the database is of, None before its worker has started for the first time."""
    name: str | None = await conn.fetchval("SELECT network FROM instance")
    return name


async def size(conn: Connection, walk: Walk) -> int:
    """Return how far a walk goes: how many rows there are or, where the key is a number, the last one."""
    table, key, _, before_all, _ = walk.value
    counted = "count(*)" if isinstance(before_all, str) else f"coalesce(max({key}), 0)"
    found: int = await conn.fetchval(f"SELECT {counted} FROM {table}")
    return found


async def page_end(conn: Connection, walk: Walk, after: str | int, rows: int) -> tuple[Any, int] | None:
    """Return the last key of the page that follows `after`, and how many rows it has; None without any."""
    table, key, kind, _, _ = walk.value
    found = await conn.fetchrow(
        f"SELECT max(key) AS last, count(*) AS rows"
        f"  FROM (SELECT {key} AS key FROM {table} WHERE {key} > $1::{kind} ORDER BY {key} LIMIT $2) AS page",
        after,
        rows,
    )
    return None if found is None or found["last"] is None else (found["last"], found["rows"])


async def broken(
    conn: Connection, invariant: Invariant, arguments: Sequence[object], *, limit: int
) -> list[dict[str, Any]]:
    """Return rows that break an invariant, at most `limit`. Raises StoreError and its kinds."""
    with translated(connection_is_lost=conn.is_closed):
        rows = await conn.fetch(f"SELECT * FROM ({invariant.sql}) AS broken LIMIT {limit:d}", *arguments)
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    """Sums come as decimals; all that is summed up here are integers."""
    return int(value) if isinstance(value, Decimal) else value


async def stream(conn: Connection, sql: str, after: object, last: object) -> AsyncIterator[asyncpg.Record]:
    """Stream what a statement returns for a page, however much it is. Raises StoreError and its kinds."""
    with translated(connection_is_lost=conn.is_closed):
        async for row in conn.cursor(sql, after, last, prefetch=200):
            yield row


async def opened(conn: Connection, after: str, *, limit: int) -> list[str]:
    """Return the addresses of channels that the ledger knows, in pages: `after` is the last of the page before."""
    sql = "SELECT aa_address FROM channels WHERE aa_address > $1 AND last_event_id > 0 ORDER BY aa_address LIMIT $2"
    return [row["aa_address"] for row in await conn.fetch(sql, after, limit)]


async def count_opened(conn: Connection) -> int:
    """Return how many channels the ledger knows."""
    number: int = await conn.fetchval("SELECT count(*) FROM channels WHERE last_event_id > 0")
    return number
