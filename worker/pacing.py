"""When a loop does its next step: at its interval, earlier when it is rung for, later when things go wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Wakes one sleeping loop; rings before it sleeps are not lost, and many are one."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Let the loop do its next step now."""
        self._rung.set()

    async def sleep(self, at_most_s: float | None) -> None:
        """Wait for a ring, at most this long; without a limit when it is None."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._rung.wait()
        except TimeoutError:
            return
        finally:
            self._rung.clear()


class Backoff:
    """Growing pauses between attempts that fail: doubled each time up to a limit, a random half of each left out.

    `jitter` returns a random number from 0 to 1; the spread keeps many clients of a hub from coming back as one.
    """

    def __init__(self, first_s: float, longest_s: float, jitter: Callable[[], float]) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._next_s = first_s

    def pause_s(self) -> float:
        """Return how long to wait after one more failure."""
        pause_s = self._next_s * (1 - self._jitter() / 2)
        self._next_s = min(2 * self._next_s, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """Start again with the shortest pause: something has worked."""
        self._next_s = self._first_s
