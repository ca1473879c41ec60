"""API keys: shown once, stored as a hash, worth nothing once they are revoked or have expired.

The token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess and nothing to slow down.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass, field
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


class KeyState(StrEnum):
    """What became of a key."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its token, which nobody but its holder knows."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None = None
    """The network address, as far as it is known."""
    expires_at: datetime | None = None
    expires_in_s: float | None = field(default=None, compare=False)
    """By the database's clock, when the key was read; None: it never expires. Not above zero: it has expired."""
    replaces: int | None = None
    """The key in whose place this one came."""

    @property
    def state(self) -> KeyState:
        """Whether it opens anything."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        return KeyState.EXPIRED if self.expires_in_s is not None and self.expires_in_s <= 0 else KeyState.ACTIVE


_COLUMNS = """
    id, name, scopes, created_at, revoked_at, last_used_at, last_used_from, expires_at, replaces,
    date_part('epoch', expires_at - clock_timestamp()) AS expires_in_s"""

_CREATE = f"""
    INSERT INTO api_keys (name, scopes, key_hash, expires_at, replaces)
    VALUES ($1, $2, $3, now() + make_interval(secs => $4), $5)
    RETURNING {_COLUMNS}
"""

_FIND = f"""
    SELECT {_COLUMNS}, key_hash FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL
"""

# Written once a minute at most: a key that is used for every payment must not make every payment a write more.
_TOUCH = """
    UPDATE api_keys
       SET last_used_at = now(), last_used_from = coalesce($2, last_used_from)
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""

_REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"

_LOCK = f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1 FOR NO KEY UPDATE"

# Never later than it would have ended anyway.
_END = f"""
    UPDATE api_keys SET expires_at = least(expires_at, now() + make_interval(secs => $2))
     WHERE id = $1
    RETURNING {_COLUMNS}
"""

_LIST = f"SELECT {_COLUMNS} FROM api_keys ORDER BY id"


async def create(
    conn: Connection,
    name: str,
    scopes: Collection[Scope],
    *,
    expires_in_s: float | None = None,
    replaces: int | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[str, ApiKey]:
    """Make a key; return its token, which cannot be had again, and the key. At least one scope. Worker only."""
    token = PREFIX + base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).rstrip(b"=").decode("ascii")
    names = sorted({scope.value for scope in scopes})
    [row] = await conn.fetch(_CREATE, name, names, _hash_of(token), expires_in_s, replaces)
    return token, _key_of(row)


async def find(conn: Connection, token: str) -> ApiKey | None:
    """Return the key that a token belongs to, which may have expired; None if there is none or it was revoked.

    What a caller could time is how far the *hash* of his guess agrees with a stored one, which tells him nothing.
    """
    wanted = _hash_of(token)
    row = await conn.fetchrow(_FIND, wanted)
    if row is None or not hmac.compare_digest(row["key_hash"], wanted):
        return None
    return _key_of(row)


async def touch(conn: Connection, key_id: int, used_from: str | None = None) -> None:
    """Note that a key was used, to the minute, and from which network address."""
    await conn.execute(_TOUCH, key_id, used_from)


async def hold(conn: Connection, key_id: int) -> bool:
    """Keep a key from being revoked before this transaction ends; False if it is worth nothing any more.

    What is written in the transaction was allowed when it is committed: who revokes waits for it, and nothing comes
    after him.
    """
    row = await conn.fetchrow(_LOCK, key_id)
    return row is not None and _key_of(row).state is KeyState.ACTIVE


async def rotate(
    conn: Connection,
    key_id: int,
    *,
    old_ends_in_s: float,
    expires_in_s: float | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[str, ApiKey, ApiKey] | None:
    """Make a key in the place of another one, which ends soon: same name, same scopes.

    `expires_in_s`: None for as long as the old one was made for, infinite for ever. Return the new token, the new key
    and the old one; None if that is unknown, revoked or expired. Call it in a transaction. Worker only.
    """
    row = await conn.fetchrow(_LOCK, key_id)
    if row is None or (old := _key_of(row)).state is not KeyState.ACTIVE:
        return None
    if expires_in_s is None and old.expires_at is not None:
        expires_in_s = (old.expires_at - old.created_at).total_seconds()
    token, new = await create(
        conn,
        old.name,
        old.scopes,
        expires_in_s=None if expires_in_s == math.inf else expires_in_s,
        replaces=key_id,
        random_bytes=random_bytes,
    )
    [row] = await conn.fetch(_END, key_id, old_ends_in_s)
    return token, new, _key_of(row)


async def revoke(conn: Connection, key_id: int) -> bool:
    """End a key's life; False if it is unknown or revoked already. Worker only."""
    return await conn.execute(_REVOKE, key_id) == "UPDATE 1"


async def every(conn: Connection) -> list[ApiKey]:
    """Return all keys, revoked and expired ones too."""
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
        last_used_from=row["last_used_from"],
        expires_at=row["expires_at"],
        expires_in_s=row["expires_in_s"],
        replaces=row["replaces"],
    )
