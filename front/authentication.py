"""API keys: who calls, and what he may do.

A key that was looked up is remembered while this process provably hears of revocations (`shared.store.key_news`): then
it costs nothing, and is worth nothing a moment after it was revoked, on every front. While nothing is heard each use
asks the database. When a key expires is reckoned by the database's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from front.problems import Problem
from shared.receiving.errors import UnavailableError, database_errors
from shared.store import api_keys
from shared.store.api_keys import KeyState
from shared.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from front.limits import KeyLimits
    from shared.store.api_keys import Scope
    from shared.store.database import Database
    from shared.store.key_news import KeyNews

NO_KEY = 0
"""Stands for a caller who needs no key, on loopback."""
REMEMBERED_KEYS = 1000
TOUCH_S = 60.0
"""How often it is noted that a key is used."""
RECHECK_S = 2.0
"""How often the key of a long connection is looked up while no revocations are heard of."""
_LONGEST_TOKEN = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the id of his key, and what it allows. `token` is the key itself: a secret."""

    key_id: int
    scopes: frozenset[Scope]
    token: str = field(repr=False)

    @property
    def needs_key(self) -> bool:
        """Whether there is a key behind the id: on loopback some need none."""
        return self.key_id != NO_KEY


@dataclass(slots=True)
class _Known:
    """A key that was looked up. Times by our own clock; None: it never expires."""

    key_id: int
    scopes: frozenset[Scope]
    ends_s: float | None
    touched_s: float


class ApiKeys:
    """Checks bearer tokens against the stored keys. `limits`: how often a key, or a guess, may be used."""

    def __init__(
        self,
        database: Database,
        *,
        limits: KeyLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.news: KeyNews | None = None
        self._database = database
        self._limits = limits
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._generation = 0
        self._changed = asyncio.Event()
        self._touching: set[asyncio.Task[None]] = set()

    async def require(self, authorization: str | None, *scopes: Scope, address: str | None = None) -> Caller:
        """Return who calls if the header `Authorization: Bearer TOKEN` names a key with one of the scopes.

        `address`: the network address that the request comes from. Raises Problem with 401 or 403, LimitedError, and
        UnavailableError.
        """
        known = await self._checked(authorization, scopes, address)
        if self._limits is not None:
            await self._limits.admit(str(known.key_id), scopes)
        return Caller(known.key_id, known.scopes, _token_of(authorization))

    async def until_ended(self, authorization: str | None, *scopes: Scope) -> NoReturn:
        """Run for as long as a key holds that was let in, and raise Problem at once when it does not any more.

        It goes on while the database is away: who cannot be looked up can be told nothing new either.
        """
        while True:
            changed = self._changed  # what changes during the look counts, too
            pause_s = RECHECK_S
            with contextlib.suppress(UnavailableError):
                known = await self._checked(authorization, scopes, None)
                if known.ends_s is not None:
                    pause_s = min(RECHECK_S, max(0.0, known.ends_s - self._clock()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await changed.wait()

    def forget(self, key_id: int | None) -> None:
        """Look a key up again before it is believed any more; None: every key."""
        self._generation += 1
        for digest in [digest for digest, known in self._known.items() if key_id in (None, known.key_id)]:
            del self._known[digest]
        # Whoever waits looks again; those that come to wait later wait for the next change.
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """Leave off noting which keys are used."""
        for task in self._touching:
            task.cancel()
        await asyncio.gather(*self._touching, return_exceptions=True)

    async def _checked(self, authorization: str | None, scopes: tuple[Scope, ...], address: str | None) -> _Known:
        token = _token_of(authorization)
        known = self._remembered(token) or await self._look_up(token, address)
        if self._clock() - known.touched_s >= TOUCH_S:
            self._touch(known, address)
        if known.scopes.isdisjoint(scopes):
            names = " or ".join(scope.value for scope in scopes)
            raise Problem(403, "missing_scope", f"the API key has no scope {names}")
        return known

    def _remembered(self, token: str) -> _Known | None:
        if self.news is None or not self.news.is_current:
            return None
        known = self._known.get(_digest_of(token))
        return None if known is None or self._has_ended(known) else known

    async def _look_up(self, token: str, address: str | None) -> _Known:
        """Ask the database. Raises Problem 401, LimitedError and UnavailableError."""
        if self._limits is not None:
            self._limits.check_guess(address)
        generation = self._generation
        asked_s = self._clock()
        with database_errors():
            async with self._database.connection() as conn:
                key = await api_keys.find(conn, token)
        if key is None or key.state is not KeyState.ACTIVE:
            if self._limits is not None:
                self._limits.failed_guess(address)
            if key is None:
                raise _unauthorized("unauthorized", "the API key is unknown or revoked")
            raise _unauthorized("key_expired", f"the API key has expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        digest = _digest_of(token)
        before = self._known.get(digest)
        touched_s = asked_s - TOUCH_S if before is None else before.touched_s
        ends_s = None if key.expires_in_s is None else asked_s + key.expires_in_s
        known = _Known(key.id, key.scopes, ends_s, touched_s)
        if generation == self._generation:  # what has changed meanwhile may be this
            self._known[digest] = known
            self._known.move_to_end(digest)
            if len(self._known) > REMEMBERED_KEYS:
                self._known.popitem(last=False)
        return known

    def _has_ended(self, known: _Known) -> bool:
        return known.ends_s is not None and self._clock() >= known.ends_s

    def _touch(self, known: _Known, address: str | None) -> None:
        """Note that a key is used, beside the request that uses it."""
        known.touched_s = self._clock()

        async def touch() -> None:
            with contextlib.suppress(StoreError):
                async with self._database.connection() as conn:
                    await api_keys.touch(conn, known.key_id, address)

        task = asyncio.create_task(touch(), name="api-key-touch")
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)


def _token_of(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
        raise _unauthorized("unauthorized", "an API key is needed, as Authorization: Bearer KEY")
    return token


def _digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _unauthorized(code: str, text: str) -> Problem:
    return Problem(401, code, text, headers={"www-authenticate": "Bearer"})
