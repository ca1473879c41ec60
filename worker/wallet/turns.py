"""Whose turn it is: one unit at a time, and what is urgent never waits behind what is not."""

from __future__ import annotations

import asyncio
import heapq
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.wallet.orders import Urgency


class Turns:
    """A lock that is passed on to whoever waits with the greatest urgency, among equals to the first."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._patient: set[int] = set()
        self._numbers = count()

    @asynccontextmanager
    async def turn(self, urgency: Urgency, *, is_patient: bool = False) -> AsyncIterator[None]:
        """Wait for a turn; it ends with the block. Nobody has to make way for who `is_patient`."""
        await self._take(urgency, is_patient=is_patient)
        try:
            yield
        finally:
            self._pass_on()

    def is_wanted_more(self, urgency: Urgency) -> bool:
        """Whether somebody waits whose unit is more urgent."""
        return any(
            -rank > urgency.rank and number not in self._patient and not future.done()
            for rank, number, future in self._waiting
        )

    async def _take(self, urgency: Urgency, *, is_patient: bool) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        if is_patient:
            self._patient.add(number)
        heapq.heappush(self._waiting, (-urgency.rank, number, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._pass_on()  # the turn came and nobody is there to take it
            raise
        finally:
            self._patient.discard(number)

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
                return
        self._is_taken = False
