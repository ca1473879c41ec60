"""API keys: who calls, and what he may do."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
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


class ApiKeys:
    """Checks bearer tokens against the stored keys, and remembers for a short while what it found."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, frozenset[Scope]]] = OrderedDict()

    async def require(self, authorization: str | None, scope: Scope) -> None:
        """Return if the header `Authorization: Bearer TOKEN` names a key with the scope.

        Raises Problem with 401 or 403, and UnavailableError.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            raise _unauthorized("an API key is needed, as Authorization: Bearer KEY")
        scopes = await self._scopes(token)
        if scopes is None:
            raise _unauthorized("the API key is unknown or revoked")
        if scope not in scopes:
            raise Problem(403, "missing_scope", f"the API key has no scope {scope.value}")

    async def _scopes(self, token: str) -> frozenset[Scope] | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        until_s, scopes = self._known.get(digest, (0.0, None))
        if scopes is not None and self._clock() < until_s:
            return scopes
        self._known.pop(digest, None)
        with database_errors():
            async with self._database.connection() as conn:
                key = await api_keys.find(conn, token)
                if key is None:
                    return None
                await api_keys.touch(conn, key.id)
        if len(self._known) >= REMEMBERED_KEYS:
            self._known.popitem(last=False)
        self._known[digest] = (self._clock() + TRUST_S, key.scopes)
        return key.scopes


def _unauthorized(text: str) -> Problem:
    return Problem(401, "unauthorized", text, headers={"www-authenticate": "Bearer"})
