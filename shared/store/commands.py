"""Commands: what fronts ask the worker to do. The row is the request and carries the outcome back."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.store.errors import IdempotencyConflictError
from shared.store.json_text import from_text, plain_text, to_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection
    from shared.store.lease import Lease


class CommandState(StrEnum):
    """Where a command stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Command:
    """One request to the worker, and what became of it."""

    id: int
    kind: str
    aa_address: str | None
    params: dict[str, Any] = field(repr=False)
    idempotency_key: str
    state: CommandState
    progress: dict[str, Any] | None = field(repr=False)
    """What the worker has decided for it once and for all; None until it was begun."""
    result: Any = field(repr=False)
    error: str | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_COLUMNS = """
    id, kind, aa_address, params, idempotency_key, state, progress, result, error, attempts,
    created_at, started_at, finished_at"""

_INSERT = f"""
    INSERT INTO commands (kind, aa_address, params, idempotency_key, api_key_id) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING {_COLUMNS}
"""

_BY_KEY = f"SELECT {_COLUMNS} FROM commands WHERE idempotency_key = $1"

_HAS_ROOM = """
    SELECT (SELECT count(*) FROM commands WHERE api_key_id = $1 AND state IN ('queued', 'running')) < $2
           OR EXISTS (SELECT FROM commands WHERE idempotency_key = $3)
"""

_GET = f"SELECT {_COLUMNS} FROM commands WHERE id = $1 AND ($2::bigint IS NULL OR api_key_id = $2)"

_FIND = f"SELECT {_COLUMNS} FROM commands WHERE id = ANY($1)"

_FINISHED = f"{_FIND} AND finished_at IS NOT NULL"

_CLAIM_NEXT = f"""
    UPDATE commands
       SET state = 'running', started_at = clock_timestamp(), attempts = attempts + 1, lease_term = $1
     WHERE id = (
       SELECT id FROM commands
        WHERE state = 'queued' AND kind <> ALL($2)
        ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
     )
    RETURNING {_COLUMNS}
"""

_SAVE_PROGRESS = """
    UPDATE commands SET progress = $3 WHERE id = $1 AND state = 'running' AND lease_term = $2
"""

_RESOLVE = """
    UPDATE commands
       SET state = $3, result = $4, error = $5, finished_at = clock_timestamp()
     WHERE id = $1 AND state = 'running' AND lease_term = $2
"""

_REQUEUE_STALE = """
    UPDATE commands SET state = 'queued' WHERE state = 'running' AND lease_term < $1 RETURNING id
"""


async def insert(
    conn: Connection,
    kind: str,
    params: Mapping[str, Any],
    *,
    idempotency_key: str,
    aa_address: str | None = None,
    api_key_id: int | None = None,
) -> Command:
    """Ask for something once: the same request under the same key returns the same command.

    `api_key_id`: who asks, if he needs an API key. Raises IdempotencyConflictError when the idempotency key was used
    for another request. `params` must be JSON.
    """
    row = await conn.fetchrow(_INSERT, kind, aa_address, to_text(params), idempotency_key, api_key_id)
    if row is None:
        [row] = await conn.fetch(_BY_KEY, idempotency_key)
    command = _command_of(row)
    if (command.kind, command.aa_address, command.params) != (kind, aa_address, from_text(to_text(params))):
        raise IdempotencyConflictError("the idempotency key was used before with another request")
    return command


async def has_room(conn: Connection, api_key_id: int, most: int, *, idempotency_key: str) -> bool:
    """Whether an API key may ask for one thing more: it has fewer than `most` unfinished, or has asked for this before.

    Exact while the API key is held (`api_keys.hold`).
    """
    return bool(await conn.fetchval(_HAS_ROOM, api_key_id, most, idempotency_key))


async def get(conn: Connection, command_id: int, *, api_key_id: int | None = None) -> Command | None:
    """Return a command as it stands; with `api_key_id` only one that this key has asked for."""
    row = await conn.fetchrow(_GET, command_id, api_key_id)
    return None if row is None else _command_of(row)


async def find(conn: Connection, ids: Collection[int]) -> list[Command]:
    """Return commands as they stand; unknown ones are left out."""
    return [_command_of(row) for row in await conn.fetch(_FIND, list(ids))]


async def finished(conn: Connection, ids: Collection[int]) -> list[Command]:
    """Return those of the commands whose outcome is known."""
    return [_command_of(row) for row in await conn.fetch(_FINISHED, list(ids))]


async def claim_next(conn: Connection, lease: Lease, *, without: Collection[str] = ()) -> Command | None:
    """Take the oldest queued command for running, None if there is none. Worker only.

    Kinds in `without` are left in the queue: too many of them run already. Two that ask at once get two different
    commands.
    """
    row = await conn.fetchrow(_CLAIM_NEXT, lease.term, list(without))
    return None if row is None else _command_of(row)


async def save_progress(conn: Connection, command_id: int, lease: Lease, progress: Mapping[str, Any]) -> bool:
    """Record what was decided for a running command; False when it was taken from this term. Worker only."""
    return await conn.execute(_SAVE_PROGRESS, command_id, lease.term, to_text(progress)) == "UPDATE 1"


async def finish(conn: Connection, command_id: int, lease: Lease, result: Any = None) -> bool:
    """Record success; False when the command was taken from this term meanwhile. Worker only."""
    return await _resolve(conn, command_id, lease, CommandState.SUCCEEDED, result, None)


async def fail(conn: Connection, command_id: int, lease: Lease, error: str, result: Any = None) -> bool:
    """Record failure, with a reason for people; False when the command was taken from this term. Worker only."""
    return await _resolve(conn, command_id, lease, CommandState.FAILED, result, plain_text(error))


async def requeue_stale(conn: Connection, lease: Lease) -> list[int]:
    """Queue again what holders of earlier terms left running; return the ids. Worker only."""
    return [row["id"] for row in await conn.fetch(_REQUEUE_STALE, lease.term)]


async def _resolve(
    conn: Connection, command_id: int, lease: Lease, state: CommandState, result: Any, error: str | None
) -> bool:
    text = None if result is None else to_text(result)
    return await conn.execute(_RESOLVE, command_id, lease.term, state.value, text, error) == "UPDATE 1"


def _command_of(row: asyncpg.Record) -> Command:
    values = dict(row)
    values["state"] = CommandState(values["state"])
    values["params"] = from_text(values["params"])
    values["progress"] = from_text(values["progress"])
    values["result"] = from_text(values["result"])
    return Command(**values)
