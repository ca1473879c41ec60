"""One seed's way to its other end, over however many sockets: dialled again and again, or accepted at a door."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.session import Session
from shared.moneysocket.stacks.events import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.moneysocket.events import Event
    from shared.moneysocket.nexus import Nexus
    from shared.moneysocket.replay import ReplayGuard
    from shared.moneysocket.seeds import SharedSeed

S = TypeVar("S", bound=Session)
S_co = TypeVar("S_co", bound=Session, covariant=True)
L = TypeVar("L", bound="Nexus")


class Carrier(Protocol[S_co]):
    """What holds a connection's session and brings its frames to the other end."""

    @property
    def session(self) -> S_co | None:
        """The session of now."""

    def pump(self) -> None:
        """Send and report what an order has brought about."""

    async def close(self) -> None:
        """End it."""


class Connection(Generic[S]):
    """Made by a stack's `connect` and `accept`; of use until it is `stopped`."""

    def __init__(self, seed: SharedSeed, guard: ReplayGuard, clock: Callable[[], float]) -> None:
        self.seed = seed
        self.guard = guard
        """`guard.latest`, kept somewhere, is the `forgotten_until` of this seed after a restart."""
        self.stopped: str | None = None
        """Why it has ended for good."""
        self.layers: tuple[Nexus, ...] = ()
        """The custom layers of the session of now."""
        self.carrier: Carrier[S] | None = None
        self._clock = clock
        self._change = asyncio.Event()

    def __repr__(self) -> str:
        """Without the seed: what names it in public is enough."""
        state = "announced" if self.is_announced else self.stopped or "waiting"
        return f"<{type(self).__name__} {self.seed.rendezvous_id[:8]} {state}>"

    @property
    def session(self) -> S | None:
        """The session of now: another one after every loss of the other end."""
        return self.carrier.session if self.carrier else None

    @property
    def is_announced(self) -> bool:
        """Whether orders are taken."""
        session = self.session
        return session is not None and session.is_announced

    async def announced(self, timeout_s: float | None = None) -> None:
        """Wait until orders are taken. Raises TimeoutError, or ProtocolError `not_announced` once it is stopped."""
        async with asyncio.timeout(timeout_s):
            while not self.is_announced:
                if self.stopped is not None:
                    raise ProtocolError("not_announced", f"the connection has ended: {self.stopped}")
                await self._change.wait()

    async def close(self) -> None:
        """Hang up, and neither dial nor wait again."""
        if self.carrier is not None:
            await self.carrier.close()

    def layer(self, kind: type[L]) -> L:
        """The custom layer of this kind. Raises ProtocolError `bad_order` if there is none."""
        for layer in self.layers:
            if isinstance(layer, kind):
                return layer
        raise ProtocolError("bad_order", f"there is no {kind.__name__} on this connection")

    def order(self, order: Callable[..., Any], *arguments: Any) -> Any:
        """Give an order to a custom layer: `connection.order(connection.layer(Kind).method, …)`.

        Raises ProtocolError `not_announced`, and what the order raises.
        """
        result = self.usable().order(self._clock(), order, *arguments)
        self.pump()
        return result

    def take_note(self, event: Event) -> None:
        """For the stack: what has happened, before anybody else hears of it."""
        if isinstance(event, Stopped):
            self.stopped = event.code
        self._change.set()
        self._change.clear()

    def usable(self) -> S:
        """The session of now, which itself refuses orders while it is not announced.

        Raises ProtocolError `not_announced` while there is none.
        """
        session = self.session
        if session is None:
            raise ProtocolError("not_announced", "there is no connection (yet, or any more)")
        return session

    def pump(self) -> None:
        """After every order to the session: have its frames sent."""
        if self.carrier is not None:
            self.carrier.pump()
