"""One timer of the event loop, for state machines that say when they want to be looked at next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """Calls `ring` when the time that was set last has come by `clock`."""

    def __init__(self, clock: Callable[[], float], ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._when_s: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when_s: float | None) -> None:
        """Ring then, and not when it was set for before; None: never."""
        if when_s == self._when_s:
            return
        self.stop()
        if when_s is not None:
            self._when_s = when_s
            self._handle = asyncio.get_running_loop().call_later(max(0.0, when_s - self._clock()), self._due)

    def stop(self) -> None:
        """Never ring, until set again."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._when_s = None

    def _due(self) -> None:
        self._handle = self._when_s = None
        self._ring()
