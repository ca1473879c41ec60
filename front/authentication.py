"""API keys: who calls, and what he may do."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from front.problems import Problem
from shared.receiving.errors import database_errors
from shared.store import api_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.store.api_keys import Scope
    from shared.store.database import Database

REMEMBERED_KEYS = 1000
TRUST_S = 10.0
"""A revoked key works at most this much longer in a front that has just seen it."""
_LONGEST_TOKEN = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the id of his key, and what it allows. `token` is the key itself: a secret."""

    key_id: int
    scopes: frozenset[Scope]
    token: str = field(repr=False)


class ApiKeys:
    """Checks bearer tokens against the stored keys, and remembers for a short while what it found."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, int, frozenset[Scope]]] = OrderedDict()

    async def require(self, authorization: str | None, *scopes: Scope) -> Caller:
        """Return who calls if the header `Authorization: Bearer TOKEN` names a key with one of the scopes.

        Raises Problem with 401 or 403, and UnavailableError.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            raise _unauthorized("an API key is needed, as Authorization: Bearer KEY")
        caller = await self._caller(token)
        if caller is None:
            raise _unauthorized("the API key is unknown or revoked")
        if caller.scopes.isdisjoint(scopes):
            names = " or ".join(scope.value for scope in scopes)
            raise Problem(403, "missing_scope", f"the API key has no scope {names}")
        return caller

    async def _caller(self, token: str) -> Caller | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known[0]:
            return Caller(known[1], known[2], token)
        self._known.pop(digest, None)
        with database_errors():
            async with self._database.connection() as conn:
                key = await api_keys.find(conn, token)
                if key is None:
                    return None
                await api_keys.touch(conn, key.id)
        if len(self._known) >= REMEMBERED_KEYS:
            self._known.popitem(last=False)
        self._known[digest] = (self._clock() + TRUST_S, key.id, key.scopes)
        return Caller(key.id, key.scopes, token)


def _unauthorized(text: str) -> Problem:
    return Problem(401, "unauthorized", text, headers={"www-authenticate": "Bearer"})
