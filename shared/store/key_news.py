"""Which API keys have changed, told by the database at once: so that a key may be remembered without being asked for.

Whoever changes a key's worth notifies in his transaction (migration 0008). Notifications are handed out in the order of
their commits, so a beat of our own that comes back proves that every change committed before it was sent is known:

    beat sent ── changes committed meanwhile ── beat heard: whatever was committed before the beat was sent was heard

What was heard counts for a short while only. Without a beat, for whatever reason (a cut cable, a frozen server, a
connection pooler that forwards no notifications), nothing counts, and keys are looked up each time they are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from shared.logs import get_logger
from shared.store.database import Role
from shared.store.hosts import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

logger = get_logger(__name__)

CHANNEL = "sluice_api_keys"
_CONNECT_S = 3.0
_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 5.0

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

# Nothing is written, so there is nothing to wait for.
_SETTINGS = {
    "application_name": "sluice-key-news",
    "role": Role.FRONT.value,
    "synchronous_commit": "off",
    "statement_timeout": "1000",
}


@dataclass(frozen=True, slots=True)
class NewsPace:
    """How often a beat is sent, and how long after sending it counts. Seconds."""

    beat_s: float = 0.5
    trust_s: float = 1.5


_DEFAULT_PACE = NewsPace()


class KeyNews:
    """Listens on a connection of its own, for one process.

    `on_change` is told the id of a key that has changed, or None: any key may have. It is called before anything that
    was heard later counts.
    """

    def __init__(
        self,
        dsn: str,
        on_change: Callable[[int | None], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: NewsPace = _DEFAULT_PACE,
    ) -> None:
        self._servers = Servers(dsn)
        self._on_change = on_change
        self._clock = clock
        self._pace = pace
        self._beat = f"sluice_beat_{secrets.token_hex(8)}"
        self._sent_s: dict[str, float] = {}
        self._current_until_s = 0.0
        self._heard = asyncio.Event()

    @property
    def is_current(self) -> bool:
        """Whether every change up to a moment ago was heard."""
        return self._clock() < self._current_until_s

    async def until_current(self) -> None:
        """Return when changes are heard."""
        while not self.is_current:
            self._heard.clear()
            await self._heard.wait()

    async def run(self) -> None:
        """Listen, again and again. Runs forever."""
        retry_s = _FIRST_RETRY_S
        while True:
            began_s = self._clock()
            try:
                await self._listen()
            except _FAILURES as error:
                logger.warning("key_news_not_heard", reason=str(error) or type(error).__name__)
            finally:
                self._current_until_s = 0.0
            if self._clock() - began_s > _LONGEST_RETRY_S:
                retry_s = _FIRST_RETRY_S
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _listen(self) -> None:
        conn = await self._servers.connect(
            timeout=_CONNECT_S, command_timeout=self._pace.trust_s, server_settings=_SETTINGS
        )
        try:
            self._sent_s.clear()
            conn.add_termination_listener(self._on_lost)
            await conn.add_listener(self._beat, self._on_beat)
            await conn.add_listener(CHANNEL, self._on_news)
            self._on_change(None)  # what changed while nobody listened
            while not conn.is_closed():
                number = secrets.token_hex(4)
                self._sent_s = {number: self._clock()}  # one that is not back by now proves nothing new
                await conn.execute("SELECT pg_notify($1, $2)", self._beat, number)
                await asyncio.sleep(self._pace.beat_s)
        finally:
            conn.remove_termination_listener(self._on_lost)
            with contextlib.suppress(*_FAILURES):
                conn.terminate()

    def _on_lost(self, _conn: object) -> None:
        self._current_until_s = 0.0

    def _on_beat(self, _conn: object, _pid: int, _channel: str, number: object) -> None:
        sent_s = self._sent_s.pop(str(number), None)
        if sent_s is not None:
            self._current_until_s = sent_s + self._pace.trust_s
            self._heard.set()

    def _on_news(self, _conn: object, _pid: int, _channel: str, payload: object) -> None:
        self._on_change(int(text) if (text := str(payload)).isdecimal() else None)
