"""Tasks that answer the peer of one plugin, bounded over all of its connections (LPI-22).

What a peer asked is finished even if its connection is gone: money may be on its way to be stored. So the bound is the
plugin's and not a connection's, or a peer could have a thousand more by connecting again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

MOST = 1_000


class Workers:
    """At most `most` tasks at a time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        """Whether one more may be started."""
        return len(self._tasks) < self._most

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside everything else."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Give up what has not been finished; but for who asks, who may be one of these."""
        others = self._tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
