"""What the stacks of consumers and providers have in common: they dial beacons, listen for seeds, and tell of both.

| in the libraries                                  | here                                                             |
|---------------------------------------------------|------------------------------------------------------------------|
| `do_connect`, `doConnect`, a provider's `connect` | `connect(beacon)`: all locations in turn, and again after a loss |
| `listen`, `get_listen_locations`                  | `listen`, `locations`, also for consumers                        |
| `local_connect`, `local_disconnect` (fails)       | `accept`; `close` of the connection, or `disconnect(seed)`       |
| `disconnect`, `do_disconnect`, `doDisconnect`     | `disconnect(seed)`, `disconnect()`                               |
| `onannounce`, `onrevoke`                          | `on(Announced, ...)`, `on(Revoked, ...)`                         |
| `onstackevent`, `onping`                          | `on(LayerChanged, ...)`, `on(PingAnswered, ...)`                 |
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from shared.moneysocket.beacons import Beacon, decode_beacon
from shared.moneysocket.events import Event
from shared.moneysocket.listener import Listener, SessionReported
from shared.moneysocket.replay import ReplayGuard
from shared.moneysocket.stacks.connection import Connection
from shared.moneysocket.stacks.dialling import Dialling
from shared.moneysocket.stacks.door import Door, News
from shared.moneysocket.stacks.events import Stopped
from shared.moneysocket.stacks.wires import ListenAt, Wires

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.moneysocket.beacons import WebSocketLocation
    from shared.moneysocket.nexus import Nexus
    from shared.moneysocket.seeds import SharedSeed
    from shared.moneysocket.session import Options, Session

C = TypeVar("C", bound=Connection[Any])
E = TypeVar("E", bound=Event)

logger = logging.getLogger(__name__)


def no_layers() -> tuple[Nexus, ...]:
    """What a stack without custom layers makes for each session."""
    return ()


class Stack(ABC, Generic[C]):
    """Use it as `async with`, or `close` it. All calls belong into one event loop.

    `extra` and `between` make the custom layers of each session, as in `session.Options`.
    """

    def __init__(
        self,
        wires: Wires | None = None,
        *,
        extra: Callable[[], tuple[Nexus, ...]] = no_layers,
        between: Callable[[], tuple[Nexus, ...]] = no_layers,
    ) -> None:
        self.wires = wires or Wires()
        self._extra = extra
        self._between = between
        self._handlers: dict[type[Event], list[Callable[[Any, Any], None]]] = {}
        self._connections: list[C] = []
        self._floors: dict[str, float] = {}
        self._accepted: dict[str, C] = {}
        self._listener = Listener(
            random=self.wires.random, limits=self.wires.limits, unix_offset_s=self.wires.unix_offset_s
        )
        self._door = Door(self._listener, self.wires, self._hear)

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is asked for."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connections(self) -> tuple[C, ...]:
        """All that have not stopped, the oldest first."""
        return tuple(self._connections)

    @property
    def locations(self) -> tuple[WebSocketLocation, ...]:
        """Where it listens, as beacons are to name it; nowhere before `listen`."""
        return self._door.locations

    def on(self, kind: type[E], handler: Callable[[C, E], None]) -> None:
        """Have `handler(connection, event)` called for events of this kind, and of those derived from it.

        What it raises is logged and harms nobody. It may give orders; it must not block.
        """
        self._handlers.setdefault(kind, []).append(handler)

    def connect(self, beacon: Beacon | str, *, forgotten_until: float = -1) -> C:
        """Dial a beacon until told otherwise; returns at once (wait by `announced`).

        `forgotten_until` is the `guard.latest` of this seed before a restart. Raises BeaconError or EncodingError for
        what is no beacon or names nowhere to dial.
        """
        beacon = decode_beacon(beacon) if isinstance(beacon, str) else beacon
        connection = self._new(beacon.seed, forgotten_until)

        def make() -> Session:
            return self._make(
                connection,
                {
                    "random": self.wires.random,
                    "limits": self.wires.limits,
                    "unix_offset_s": self.wires.unix_offset_s,
                },
            )

        connection.carrier = Dialling(
            beacon.websockets, self.wires, make, lambda event: self._report(connection, event)
        )
        self._connections.append(connection)
        return connection

    async def listen(self, at: ListenAt | None = None) -> tuple[WebSocketLocation, ...]:
        """Open a port for others to dial; only those with an accepted seed get anywhere.

        Raises ProtocolError `already_started`, or OSError for an address or a file that cannot be used.
        """
        await self._door.open(at or ListenAt())
        return self.locations

    def accept(self, seed: SharedSeed, *, forgotten_until: float = -1) -> C:
        """Be there for whoever dials this stack with this seed, one after the other.

        Raises ProtocolError `already_started` if the seed is accepted already.
        """
        connection = self._new(seed, forgotten_until)

        def make(seed: SharedSeed, **options: Unpack[Options]) -> Session:  # noqa: ARG001 (so MakeSession calls it)
            return self._make(connection, options)

        self._listener.accept(seed, make, self.wires.clock())
        connection.carrier = _Accepted(self, self._listener, self._door, connection)
        self._accepted[seed.rendezvous_id] = connection
        self._connections.append(connection)
        self._door.settle()
        return connection

    def beacon(self, seed: SharedSeed) -> Beacon:
        """What to give to whoever shall dial this stack with this seed."""
        return Beacon(seed, self.locations)

    async def disconnect(self, seed: SharedSeed | None = None) -> None:
        """Close the connections of a seed, or all."""
        chosen = [connection for connection in self.connections if seed is None or connection.seed == seed]
        await asyncio.gather(*(connection.close() for connection in chosen))

    async def close(self) -> None:
        """Close all connections and sockets, and listen no more."""
        await self.disconnect()
        await self._door.close()

    def withdrawn(self, connection: C) -> None:
        """For `_Accepted`: a seed is accepted no more."""
        self._accepted.pop(connection.seed.rendezvous_id, None)
        self._report(connection, Stopped("asked_to"))

    @abstractmethod
    def _connection(self, seed: SharedSeed, guard: ReplayGuard) -> C:
        """Make a connection of the stack's kind."""

    @abstractmethod
    def _session(self, connection: C, options: Options) -> Session:
        """Make a session of the stack's kind."""

    @abstractmethod
    def _notice(self, connection: C, event: Event) -> None:
        """Do what the stack itself does about an event."""

    def _new(self, seed: SharedSeed, forgotten_until: float) -> C:
        """A connection with the guard of its seed: of several ways to one seed each knows what the others saw."""
        for connection in self._connections:
            if connection.seed == seed:
                return self._connection(seed, connection.guard)
        floor = max(forgotten_until, self._floors.get(seed.rendezvous_id, -1))
        return self._connection(seed, ReplayGuard(forgotten_until=floor))

    def _make(self, connection: C, options: Options) -> Session:
        extra, between = self._extra(), self._between()
        connection.layers = (*between, *extra)
        whole: Options = {**options, "guard": connection.guard, "extra": extra, "between": between}
        return self._session(connection, whole)

    def _hear(self, news: News) -> None:
        if isinstance(news, SessionReported) and (connection := self._accepted.get(news.rendezvous_id)):
            self._report(connection, news.event)

    def _report(self, connection: C, event: Event) -> None:
        if isinstance(event, Stopped) and connection in self._connections:
            self._connections.remove(connection)
            self._floors[connection.seed.rendezvous_id] = connection.guard.latest
        connection.take_note(event)
        self._notice(connection, event)
        for kind in type(event).__mro__:
            for handler in self._handlers.get(kind, ()):
                try:
                    handler(connection, event)
                except Exception:
                    logger.exception("a handler of %s failed", type(event).__name__)


class _Accepted:
    """Carries a connection that others dial."""

    def __init__(self, stack: Stack[Any], listener: Listener, door: Door, connection: Connection[Any]) -> None:
        self._stack = stack
        self._listener = listener
        self._door = door
        self._connection = connection

    @property
    def session(self) -> Any:
        return self._listener.session(self._connection.seed) if self._connection.stopped is None else None

    def pump(self) -> None:
        if self._connection.stopped is None:
            self._listener.pump(self._connection.seed, self._stack.wires.clock())
            self._door.settle()

    async def close(self) -> None:
        if self._connection.stopped is None:
            self._listener.withdraw(self._connection.seed, self._stack.wires.clock())
            self._door.settle()
            self._stack.withdrawn(self._connection)
