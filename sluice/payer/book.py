"""The payer's channels, changed by one hand only.

Changes queue up; all that wait share one transaction, each in a savepoint of its own: one that fails leaves its
neighbours alone. Only after the commit does the new state show and do the callers go on, so whatever a caller sends has
been on the disk before, and no two payments are ever ordered on the same state.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sluice.payer import store as payer_store
from sluice.payer.errors import PayerError, UnknownChannelError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from sluice.payer.store import JournalEntry, PayerStore, StoredChannel

T = TypeVar("T")
MAX_BATCH = 64
MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class _Change:
    aa_address: str
    work: Callable[[sqlite3.Connection, StoredChannel], tuple[StoredChannel, Any]]
    done: asyncio.Future[Any]


class ChannelBook:
    """All channels of one payer. Only the event loop that made it may use it."""

    def __init__(self, store: PayerStore, channels: Iterable[StoredChannel]) -> None:
        self._store = store
        self._channels = {channel.state.aa_address: channel for channel in channels}
        self._queue: asyncio.Queue[_Change] = asyncio.Queue(MAX_WAITING)
        self._is_closed = False
        self.news = asyncio.Event()
        """Set at the next change, and then replaced: take it before looking at a channel, wait on it after."""
        self._task = asyncio.create_task(self._run(), name="payer-book")

    def __getitem__(self, aa_address: str) -> StoredChannel:
        channel = self._channels.get(aa_address)
        if channel is None:
            raise UnknownChannelError("unknown_channel", f"there is no channel {aa_address}")
        return channel

    def all(self) -> tuple[StoredChannel, ...]:
        """Return every channel, oldest first."""
        return tuple(self._channels.values())

    async def add(self, channel: StoredChannel, funding: JournalEntry, now_s: float) -> None:
        """Store a new channel together with the unit that funds it."""

        def work(connection: sqlite3.Connection) -> None:
            payer_store.insert_channel(connection, channel, now_s)
            payer_store.insert_unit(connection, funding, now_s)

        await self._store.run(work)
        self._channels[channel.state.aa_address] = channel
        self._tell()

    async def change(
        self, aa_address: str, work: Callable[[sqlite3.Connection, StoredChannel], tuple[StoredChannel, T]]
    ) -> T:
        """Let `work` make a new state (and write what belongs to it), commit, and return the result it gave.

        `work` runs in the store's thread. A caller that is cancelled does not stop it: the change happens or not, but
        never by half. Whatever `work` raises is raised here, and then nothing has changed.
        """
        if self._is_closed:
            raise PayerError("closed", "the payer was closed")
        _ = self[aa_address]
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Change(aa_address, work, done))
        return await done

    async def close(self) -> None:
        """Finish the changes that wait."""
        self._is_closed = True
        await self._queue.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._commit(batch)
            for _ in batch:
                self._queue.task_done()

    async def _commit(self, batch: Sequence[_Change]) -> None:
        try:
            changed, outcomes = await self._store.run(lambda connection: self._apply(connection, batch))
        except Exception as error:  # noqa: BLE001 (nothing was changed; everyone who waits is told)
            changed, outcomes = {}, [error] * len(batch)
        self._channels.update(changed)
        for change, outcome in zip(batch, outcomes, strict=True):
            if change.done.done():  # its caller was cancelled
                continue
            if isinstance(outcome, Exception):
                change.done.set_exception(outcome)
            else:
                change.done.set_result(outcome)
        if changed:
            self._tell()

    def _apply(
        self, connection: sqlite3.Connection, batch: Sequence[_Change]
    ) -> tuple[dict[str, StoredChannel], list[Any]]:
        """In the store's thread, while nothing else changes the channels."""
        changed: dict[str, StoredChannel] = {}
        outcomes: list[Any] = []
        for change in batch:
            before = changed.get(change.aa_address) or self._channels[change.aa_address]
            connection.execute("SAVEPOINT change")
            try:
                after, result = change.work(connection, before)
                payer_store.update_channel(connection, before, after)
            except Exception as error:  # noqa: BLE001 (it belongs to the one who asked for this change)
                connection.execute("ROLLBACK TO change")
                outcomes.append(error)
            else:
                changed[change.aa_address] = after
                outcomes.append(result)
            connection.execute("RELEASE change")
        return changed, outcomes

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()
