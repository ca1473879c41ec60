"""What is past may be read from a stand-by, so that long lists and statements leave the primary to payments.

How old a stand-by is, no clock tells: an idle primary and a cut cable look the same from there. So marks are set at the
primary, on the way and at most twice a second: when it was, how far the log was written, and up to which number it was
decided which payments there are. A stand-by that has replayed a mark's position shows everything up to that moment:

    decided ── written ── (replicated) ── replayed ≥ written? ── read there, up to what was decided

Is no mark of the last few seconds replayed, or the stand-by away, the primary is read. With the primary away reading
goes on for as long as the last mark counts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from shared.logs import get_logger
from shared.receiving.errors import UnavailableError
from shared.store import events, replicas
from shared.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.store.database import Connection, Database

logger = get_logger(__name__)

T = TypeVar("T")

MARK_S = 0.5
_LOOKS, _PAUSE_S = 40, 0.05
_CATCH_UP_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.0)


async def decided(conn: Connection) -> int:
    """Return a number up to which it is decided which payments there are: no page skips one that is being committed.

    Ask the primary. Raises UnavailableError when some transaction runs for very long.
    """
    newest = await events.newest_id(conn)
    barrier = await events.barrier(conn)
    for _ in range(_LOOKS):
        if await events.oldest_running(conn) >= barrier:
            return newest
        await asyncio.sleep(_PAUSE_S)
    raise UnavailableError("overloaded", "payments are being committed for very long")


@dataclass(frozen=True, slots=True)
class _Mark:
    at_s: float
    written: int
    decided: int


@dataclass(frozen=True, slots=True)
class Read:
    """Where something is read, and up to which payment: None asks `decided` there."""

    conn: Connection
    until_id: int | None = None

    @property
    def is_standby(self) -> bool:
        """Whether it is not the primary."""
        return self.until_id is not None

    async def decided(self) -> int:
        """Return a number up to which it is decided which payments there are, and all of them are seen here."""
        return await decided(self.conn) if self.until_id is None else self.until_id


class History:
    """Reads from the stand-by where that is recent enough, from the primary otherwise."""

    def __init__(
        self,
        primary: Database,
        standby: Database | None,
        *,
        max_lag_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._standby = standby
        self._max_lag_s = max_lag_s
        self._monotonic = monotonic
        self._marks: deque[_Mark] = deque()
        self._marking = asyncio.Lock()

    async def read(
        self, work: Callable[[Read], Awaitable[T]], *, at_one_moment: bool = False, fresh: bool = False
    ) -> tuple[T, bool]:
        """Let `work` read; return what it returns, and whether that came from the stand-by.

        It may be called a second time, with the primary, when the stand-by fails. `at_one_moment`: everything it reads
        is of one moment. `fresh`: ask the primary only. Raises StoreError, and what `work` raises.
        """
        if self._standby is not None and not fresh:
            try:
                async with self._standby.connection() as conn:
                    if (mark := await self._replayed_mark(conn)) is not None:
                        found = Read(conn, mark.decided)
                        if not at_one_moment:
                            return await work(found), True
                        async with conn.transaction(isolation="repeatable_read", readonly=True):
                            return await work(found), True
            except StoreError as error:
                logger.warning("standby_not_read", code=error.code, reason=str(error))
        if not at_one_moment:
            async with self._primary.connection() as conn:
                return await work(Read(conn)), False
        async with self._primary.transaction() as conn:
            await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return await work(Read(conn)), False

    async def close(self) -> None:
        """Leave the stand-by."""
        if self._standby is not None:
            await self._standby.close()

    async def _replayed_mark(self, standby: Connection) -> _Mark | None:
        """Return the newest mark that is seen here and still counts."""
        async with self._marking:
            await self._mark()
        for pause_s in _CATCH_UP_S:
            position = await replicas.replayed(standby)
            if position is None:
                return None
            if found := [mark for mark in self._marks if mark.written <= position]:
                return found[-1]
            if self._marks:  # set just now, perhaps: a moment later it is there, too
                await asyncio.sleep(pause_s)
        return None

    async def _mark(self) -> None:
        now_s = self._monotonic()
        while self._marks and self._marks[0].at_s < now_s - self._max_lag_s:
            self._marks.popleft()
        if self._marks and now_s - self._marks[-1].at_s < MARK_S:
            return
        try:
            async with self._primary.connection() as conn:
                number = await decided(conn)
                self._marks.append(_Mark(now_s, await replicas.written(conn), number))
        except (StoreError, UnavailableError) as error:
            logger.warning("primary_not_marked", code=error.code, reason=str(error))
