"""A relay: a matchmaker on a port of its own. It holds no seeds, reads no frame that matters, and remembers nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.moneysocket.matchmaker import Dropped, Matchmaker
from shared.moneysocket.stacks.door import Door, News
from shared.moneysocket.stacks.wires import ListenAt, Wires

if TYPE_CHECKING:
    from shared.moneysocket.beacons import WebSocketLocation


@dataclass(frozen=True, slots=True)
class RelayCounts:
    """How many there are now."""

    sockets: int
    waiting: int
    """Of these, for their other end."""
    joined: int
    """Rendezvous of two sockets."""


class Relay:
    """Brings together whoever names the same rendezvous. Limits: `wires.limits`, 64 KiB a frame, and `wires` itself."""

    def __init__(self, wires: Wires | None = None) -> None:
        self.wires = wires or Wires()
        self.dropped: Counter[str] = Counter()
        """Frames that were not forwarded, by code."""
        self._matchmaker = Matchmaker(
            random=self.wires.random, limits=self.wires.limits, unix_offset_s=self.wires.unix_offset_s
        )
        self._door = Door(self._matchmaker, self.wires, self._hear)

    @property
    def counts(self) -> RelayCounts:
        """How many sockets and rendezvous there are."""
        return RelayCounts(len(self._door), self._matchmaker.waiting, self._matchmaker.joined)

    @property
    def locations(self) -> tuple[WebSocketLocation, ...]:
        """Where it listens, as beacons are to name it."""
        return self._door.locations

    async def open(self, at: ListenAt | None = None) -> tuple[WebSocketLocation, ...]:
        """Listen; returns what beacons are to name.

        Raises ProtocolError `already_started`, or OSError for an address or a file that cannot be used.
        """
        await self._door.open(at or ListenAt())
        return self.locations

    async def close(self) -> None:
        """Tell everybody that the rendezvous has ended, close every socket, and listen no more."""
        self._matchmaker.end_all(self.wires.clock())
        self._door.settle()
        await self._door.close()

    def _hear(self, news: News) -> None:
        if isinstance(news, Dropped):
            self.dropped[news.code] += 1
