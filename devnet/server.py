"""The local network on sockets: one ledger, one hub or several, and a timer for the order provider."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Self

from devnet.door import Door
from devnet.events import LedgerEvent, Resumed, UnitAdded
from devnet.hub import Hub
from devnet.ledger import Ledger
from shared.obyte.networks import DEVNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.faults import Faults
    from shared.obyte.networks import Network

log = logging.getLogger(__name__)

DEFAULT_PORT = 6611
PROVIDER_UNITS_TO_PROOF = 3
"""Two provider units make a unit stable, the third one vouches for that."""


class Devnet:
    """A local ledger that speaks the hub's protocol on `ws://host:port`.

    `stabilise_after_s` is how long after its arrival a unit can be proven stable to a light client; one on stale
    parents takes up to a third longer. `port` 0 takes a free one. `clock` returns seconds since 1970; `seed` makes keys
    reproducible. All state is in memory, in `ledger`.

    The hub is `doors[0]`; `url`, `port`, `faults` and `hub` are its. `add_hub` opens further doors to the same ledger,
    each with devices and faults of its own.
    """

    def __init__(
        self,
        port: int = DEFAULT_PORT,
        stabilise_after_s: float = 1.0,
        *,
        host: str = "127.0.0.1",
        network: Network = DEVNET,
        seed: bytes | None = None,
        clock: Callable[[], float] = time.time,
        tps_interval: float = 1_000,
    ) -> None:
        self.ledger = Ledger(network, seed=seed, clock=clock, tps_interval=tps_interval)
        self._host = host
        self.doors = [Door(Hub(self.ledger), host, port)]
        self._interval_s = stabilise_after_s / PROVIDER_UNITS_TO_PROOF
        self._has_work = asyncio.Event()
        self._provider: asyncio.Task[None] | None = None
        self.ledger.subscribe(self._notice)

    @property
    def hub(self) -> Hub:
        """The first hub."""
        return self.doors[0].hub

    @property
    def faults(self) -> Faults:
        """What the first hub does wrong."""
        return self.hub.faults

    @property
    def url(self) -> str:
        """Where clients connect, once started."""
        return self.doors[0].url

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self.doors[0].port

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The order providers, for clients that pin them."""
        return self.ledger.state.votes.op_list

    async def start(self) -> None:
        """Listen and let time run; after `stop` on the same ports and with the same ledger. Raises OSError."""
        for door in self.doors:
            await door.start()
        self._provider = asyncio.create_task(self._provide())
        self._provider.add_done_callback(_report_failure)

    async def stop(self) -> None:
        """Close every connection. Raises what the order provider failed of, if it did."""
        for door in self.doors:
            await door.stop()
        if self._provider is not None:
            self._provider.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._provider

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def add_hub(self, port: int = 0) -> Door:
        """Open another hub of the ledger, and listen there. Raises OSError."""
        door = Door(Hub(self.ledger), self._host, port)
        await door.start()
        self.doors.append(door)
        return door

    def pause(self) -> None:
        """Hold back stabilisation: units are taken, but the order provider posts nothing more."""
        self.ledger.pause()

    def resume(self) -> None:
        """Let the order provider post again."""
        self.ledger.resume()

    async def stabilise(self) -> None:
        """Make all that was posted stable and provable now, paused or not, and let the news go out."""
        self.ledger.settle()
        await asyncio.sleep(0)

    def skip_time(self, seconds: float) -> None:
        """Let time pass at once on the ledger; clients whose clocks do not follow refuse its units from then on."""
        self.ledger.skip_time(seconds)

    def skip_agent_time(self, seconds: int) -> None:
        """Let channel timeouts elapse while clients keep their clocks."""
        self.ledger.skip_agent_time(seconds)

    def drop_connections(self) -> None:
        """Cut every connection of every hub without a word."""
        for door in self.doors:
            door.hub.drop_connections()

    def _notice(self, event: LedgerEvent) -> None:
        if isinstance(event, Resumed) or (isinstance(event, UnitAdded) and not event.record.is_provider):
            self._has_work.set()

    async def _provide(self) -> None:
        while True:
            await self._has_work.wait()
            await asyncio.sleep(self._interval_s)
            if self.ledger.is_settled or self.ledger.is_paused:
                self._has_work.clear()
            else:
                self.ledger.advance()


def _report_failure(provider: asyncio.Task[None]) -> None:
    if not provider.cancelled() and provider.exception() is not None:
        log.critical("the order provider has failed, nothing becomes stable any more", exc_info=provider.exception())
