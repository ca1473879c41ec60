"""Takes commands on in the order they came, and follows each in a task of its own until its outcome is known."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shared.bus import COMMAND
from shared.channels.errors import ChannelError
from shared.logs import get_logger
from shared.store import commands
from shared.store.errors import DatabaseRestoredError, DatabaseUnavailableError, LeaseLostError
from worker.commands.kinds import Done, Lane, RefusedError
from worker.pacing import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.bus import Bus
    from shared.store.commands import Command
    from worker.commands.kinds import Kind
    from worker.guard import Guard

logger = get_logger(__name__)

MAX_RUNNING = {Lane.LEDGER: 100, Lane.PEER: 50}
"""Commands of one lane that are carried out at the same time; the others stay queued."""


@dataclass(slots=True)
class _Running:
    command: Command
    kind: Kind[Any]
    news: Bell = field(default_factory=Bell)


class Commands:
    """Carries commands out for one term of the lease. `on_change` is told of every channel that may have changed."""

    def __init__(
        self, guard: Guard, bus: Bus, kinds: Iterable[Kind[Any]], on_change: Callable[[str], None], *, poll_s: float
    ) -> None:
        self._guard = guard
        self._bus = bus
        self._kinds = {kind.order.kind: kind for kind in kinds}
        self._on_change = on_change
        self._poll_s = poll_s
        self._bell = Bell()
        self._running: dict[int, _Running] = {}

    def wake(self, aa_address: str | None = None) -> None:
        """There may be a new command, or news about those that are running: all, or those of one channel."""
        self._bell.ring()
        for running in self._running.values():
            if aa_address is None or running.command.aa_address == aa_address:
                running.news.ring()

    async def run(self, stopping: asyncio.Event) -> None:
        """Carry commands out until `stopping` is set; steps in hand are finished first. Raises StoreError."""
        async with self._guard.transaction() as conn:
            await commands.requeue_stale(conn, self._guard.lease)
        async with asyncio.TaskGroup() as following:
            while not stopping.is_set():
                while not stopping.is_set() and (command := await self._claim()) is not None:
                    if command.id in self._running:
                        following.create_task(self._carry_out(self._running[command.id], stopping))
                await self._bell.sleep(self._poll_s)
            self.wake()

    async def hear(self) -> None:
        """Listen to the fronts' events; without Redis commands are found by polling. Runs forever."""
        with self._bus.subscribe(COMMAND) as events:
            async for _ in events:
                self._bell.ring()

    async def _claim(self) -> Command | None:
        """Take a command on and begin it; None when none is queued that may run now."""
        async with self._guard.transaction() as conn:
            command = await commands.claim_next(conn, self._guard.lease, without=self._kinds_that_wait())
        if command is None:
            return None
        kind = self._kinds.get(command.kind)
        if kind is None:
            outcome: Done | RefusedError | None = RefusedError(
                "unknown_command", f"this worker knows no command {command.kind!r}"
            )
        elif command.progress is None:
            command, outcome = await self._begin(command, kind)
        else:
            outcome = None
        if outcome is not None:
            await self._end(command, outcome)
        elif kind is not None:
            logger.info("command_started", command=command.id, kind=command.kind, aa_address=command.aa_address)
            self._running[command.id] = _Running(command, kind)
        if command.aa_address is not None:
            self._on_change(command.aa_address)
        return command

    async def _begin(self, command: Command, kind: Kind[Any]) -> tuple[Command, Done | RefusedError | None]:
        """Let the kind decide, all or nothing; one that is done at once is so with what it has decided."""
        try:
            async with self._guard.transaction() as conn:
                decided = await kind.begin(conn, command)
                if isinstance(decided, Done):
                    await commands.finish(conn, command.id, self._guard.lease, decided.result)
                    return command, decided
                progress = dict(decided)
                await commands.save_progress(conn, command.id, self._guard.lease, progress)
        except Exception as error:  # noqa: BLE001 - sorted out in `_refused`
            return command, _refused(command, error)
        return replace(command, progress=progress), None

    def _kinds_that_wait(self) -> list[str]:
        """Kinds of which no more may be taken on now."""
        busy = Counter(running.kind.lane for running in self._running.values())
        return [name for name, kind in self._kinds.items() if busy[kind.lane] >= MAX_RUNNING[kind.lane]]

    async def _carry_out(self, running: _Running, stopping: asyncio.Event) -> None:
        """Follow one command to its end, or until the worker stops; the next one goes on with it."""
        command = running.command
        try:
            while not stopping.is_set():
                outcome = await self._step(running)
                if outcome is not None:
                    await self._end(command, outcome)
                    return
                await running.news.sleep(self._poll_s)
        finally:
            del self._running[command.id]
            self._bell.ring()

    @staticmethod
    async def _step(running: _Running) -> Done | RefusedError | None:
        try:
            return await running.kind.proceed(running.command)
        except Exception as error:  # noqa: BLE001 - sorted out in `_refused`
            return _refused(running.command, error)

    async def _end(self, command: Command, outcome: Done | RefusedError) -> None:
        """Write the outcome and tell of it; nothing is written twice."""
        facts = {"command": command.id, "kind": command.kind, "aa_address": command.aa_address}
        async with self._guard.transaction() as conn:
            if isinstance(outcome, Done):
                await commands.finish(conn, command.id, self._guard.lease, outcome.result)
            else:
                error = f"{outcome.code}: {outcome}"
                await commands.fail(conn, command.id, self._guard.lease, error, outcome.result)
        if isinstance(outcome, Done):
            logger.info("command_done", **facts)
        else:
            logger.warning("command_failed", **facts, code=outcome.code, reason=str(outcome))
        self._bus.publish(COMMAND, {"id": command.id})


def _refused(command: Command, error: Exception) -> RefusedError:
    """Return what a command fails with. Raises the errors that end the term: the database or the lease is gone.

    One order that nobody has thought of must not stop every other: its journal entries tell how far it came.
    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, ChannelError):
        return RefusedError(error.code, str(error))
    if isinstance(error, DatabaseUnavailableError | LeaseLostError | DatabaseRestoredError):
        raise error
    logger.error("command_broken", command=command.id, kind=command.kind, exc_info=error)
    return RefusedError("unexpected", "the worker's log tells what went wrong")
