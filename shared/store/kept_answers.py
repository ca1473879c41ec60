"""Answers to requests with an Idempotency-Key: who asks again is told the same, and nothing happens twice.

A request is on record in the transaction that queues its command, or that carries it out if it needs none. Of requests
that come at once with one key, through whichever fronts, one makes the row and the others find it: they wait on the
key's index entry until it is committed.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.store.json_text import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from shared.store.database import Connection

KEPT_HOURS = 24
_FORGOTTEN_AT_ONCE = 20
_AGE = f"interval '{KEPT_HOURS} hours'"

_COLUMNS = "request_hash, command_id, status, body, waiting_until > now() AS is_in_flight"

_ADD = f"""
    INSERT INTO kept_answers AS kept
      (api_key_id, idempotency_key, request_hash, command_id, waiting_until, status, body)
    VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second', $6, $7)
    ON CONFLICT (api_key_id, idempotency_key) DO UPDATE
       SET request_hash = excluded.request_hash, command_id = excluded.command_id,
           waiting_until = excluded.waiting_until, status = excluded.status, body = excluded.body, created_at = now()
     WHERE kept.created_at < now() - {_AGE}
    RETURNING true
"""

_FIND = f"""
    SELECT {_COLUMNS} FROM kept_answers
     WHERE api_key_id = $1 AND idempotency_key = $2 AND created_at >= now() - {_AGE}
"""

_TAKE_OVER = """
    UPDATE kept_answers SET waiting_until = now() + $3 * interval '1 second'
     WHERE api_key_id = $1 AND idempotency_key = $2 AND status IS NULL AND waiting_until <= now()
"""

_KEEP = """
    UPDATE kept_answers SET status = $3, body = $4, waiting_until = NULL
     WHERE api_key_id = $1 AND idempotency_key = $2 AND status IS NULL
"""

_FORGET = f"""
    DELETE FROM kept_answers
     WHERE (api_key_id, idempotency_key) IN (
       SELECT api_key_id, idempotency_key FROM kept_answers
        WHERE created_at < now() - {_AGE}
        ORDER BY created_at LIMIT {_FORGOTTEN_AT_ONCE} FOR UPDATE SKIP LOCKED
     )
"""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request under a key: whose, which key, and what was asked for."""

    api_key_id: int
    idempotency_key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on record of a request. `status` and `body` are None before it was answered."""

    request_hash: bytes
    command_id: int | None
    """None where the request was carried out at once, without a command."""
    status: int | None
    body: dict[str, Any] | None = field(repr=False)
    is_in_flight: bool
    """Somebody waits for the outcome now, and will answer."""


async def find(conn: Connection, key: RequestKey) -> Kept | None:
    """Return what is on record under the key, None if nothing is or it is older than a day."""
    row = await conn.fetchrow(_FIND, key.api_key_id, key.idempotency_key)
    return None if row is None else _kept_of(row)


async def add(
    conn: Connection,
    key: RequestKey,
    command_id: int | None,
    *,
    answer: tuple[int, Mapping[str, Any]] | None = None,
    waits_s: float = 0.0,
) -> bool:
    """Put a request on record with its command, and with the answer if it is known; False if there is one already.

    Without a command the answer must be known.
    `waits_s`: how long it will take at most to answer it. Some of the answers that are too old are forgotten.
    """
    await conn.execute(_FORGET)
    status, body = (None, None) if answer is None else (answer[0], to_text(answer[1]))
    added = await conn.fetchval(
        _ADD,
        key.api_key_id,
        key.idempotency_key,
        key.request_hash,
        command_id,
        None if answer is not None else waits_s,
        status,
        body,
    )
    return bool(added)


async def take_over(conn: Connection, key: RequestKey, waits_s: float) -> bool:
    """Answer in place of a front that never did; False if somebody else is at it."""
    done = await conn.execute(_TAKE_OVER, key.api_key_id, key.idempotency_key, waits_s)
    return done == "UPDATE 1"


async def keep(conn: Connection, key: RequestKey, status: int, body: Mapping[str, Any]) -> None:
    """Keep the answer; the first one stays."""
    await conn.execute(_KEEP, key.api_key_id, key.idempotency_key, status, to_text(body))


def _kept_of(row: asyncpg.Record) -> Kept:
    values = dict(row)
    values["body"] = from_text(values["body"])
    values["is_in_flight"] = bool(values["is_in_flight"])
    return Kept(**values)
