"""Waiting for what becomes of commands: one look at the database for all who wait in this process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from shared.bus import COMMAND
from shared.receiving.errors import database_errors
from shared.store import commands
from shared.store.errors import StoreError

if TYPE_CHECKING:
    from shared.bus import Bus, Subscription
    from shared.store.commands import Command
    from shared.store.database import Database

MAX_WAIT_S = 10
"""Shorter than a stopping front drains, and than balancers and clients give up."""
MAX_WAITING = 500
POLL_S = 0.25


class Outcomes:
    """Who waits for which command. Whoever is one too many is told at once how things stand."""

    def __init__(self, database: Database, bus: Bus, *, max_waiting: int = MAX_WAITING, poll_s: float = POLL_S) -> None:
        self._database = database
        self._bus = bus
        self._max_waiting = max_waiting
        self._poll_s = poll_s
        self._waiting: dict[asyncio.Future[Command], int] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, command: Command, at_most_s: float) -> Command:
        """Return the command as soon as its outcome is known, at the latest after `at_most_s` seconds."""
        if command.finished_at is not None or at_most_s <= 0 or len(self._waiting) >= self._max_waiting:
            return command
        outcome: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._waiting[outcome] = command.id
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="command-outcomes")
        try:
            async with asyncio.timeout(at_most_s):
                return await outcome
        except TimeoutError:
            return await self._as_it_stands(command)
        finally:
            del self._waiting[outcome]

    async def close(self) -> None:
        """Look no more. Requests have been answered by then: a server stops waiting for them before it stops this."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _as_it_stands(self, command: Command) -> Command:
        with database_errors():
            async with self._database.connection() as conn:
                return await commands.get(conn, command.id) or command

    async def _look(self) -> None:
        """Look for outcomes while anybody waits: when the bus tells of a command, and from time to time."""
        with self._bus.subscribe(COMMAND) as news:
            while self._waiting:
                with contextlib.suppress(StoreError):  # who waits for a database that is away gets his time
                    async with self._database.connection() as conn:
                        found = {done.id: done for done in await commands.finished(conn, set(self._waiting.values()))}
                    for outcome, command_id in self._waiting.items():
                        if command_id in found and not outcome.done():
                            outcome.set_result(found[command_id])
                await self._pause(news)

    async def _pause(self, news: Subscription) -> None:
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(self._poll_s):
                await anext(news)
