"""API keys: shown once, stored as a hash.

The token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess and nothing to slow down.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    import asyncpg

    from shared.store.database import Connection

PREFIX = "sluice_"
"""What a token begins with, so that a leaked one is recognised for what it is."""

TOKEN_BYTES = 32


class Scope(StrEnum):
    """What the holder of a key may do."""

    READ = "read"
    RECEIVE = "receive"
    SPEND = "spend"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its token, which nobody but its holder knows."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


_COLUMNS = "id, name, scopes, created_at, revoked_at, last_used_at"

_CREATE = f"INSERT INTO api_keys (name, scopes, key_hash) VALUES ($1, $2, $3) RETURNING {_COLUMNS}"

_FIND = f"""
    SELECT {_COLUMNS}, key_hash FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL
"""

# Written once a minute at most: a key that is used for every payment must not make every payment a write more.
_TOUCH = """
    UPDATE api_keys
       SET last_used_at = now()
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""

_REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"

_LIST = f"SELECT {_COLUMNS} FROM api_keys ORDER BY id"


async def create(
    conn: Connection,
    name: str,
    scopes: Collection[Scope],
    *,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[str, ApiKey]:
    """Make a key; return its token, which cannot be had again, and the key. At least one scope. Worker only."""
    token = PREFIX + base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).rstrip(b"=").decode("ascii")
    names = sorted({scope.value for scope in scopes})
    [row] = await conn.fetch(_CREATE, name, names, _hash_of(token))
    return token, _key_of(row)


async def find(conn: Connection, token: str) -> ApiKey | None:
    """Return the key that a token belongs to, None if there is none or it was revoked.

    What a caller could time is how far the *hash* of his guess agrees with a stored one, which tells him nothing.
    """
    wanted = _hash_of(token)
    row = await conn.fetchrow(_FIND, wanted)
    if row is None or not hmac.compare_digest(row["key_hash"], wanted):
        return None
    return _key_of(row)


async def touch(conn: Connection, key_id: int) -> None:
    """Note that a key was used, to the minute."""
    await conn.execute(_TOUCH, key_id)


async def revoke(conn: Connection, key_id: int) -> bool:
    """End a key's life; False if it is unknown or revoked already. Worker only."""
    return await conn.execute(_REVOKE, key_id) == "UPDATE 1"


async def every(conn: Connection) -> list[ApiKey]:
    """Return all keys, revoked ones too."""
    return [_key_of(row) for row in await conn.fetch(_LIST)]


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _key_of(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
