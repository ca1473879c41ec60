"""A port that is listened on: many WebSockets that come in, and the state machine that knows what to do with them."""

from __future__ import annotations

import asyncio
import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeAlias

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.frames import MAX_FRAME_BYTES
from shared.moneysocket.listener import SessionReported
from shared.moneysocket.matchmaker import CloseSocket, Dropped, Joined, SendFrame
from shared.moneysocket.stacks.alarm import Alarm
from shared.moneysocket.stacks.outbox import GOING_AWAY, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from websockets.http11 import Request, Response

    from shared.moneysocket.beacons import WebSocketLocation
    from shared.moneysocket.stacks.wires import ListenAt, Wires

News: TypeAlias = SessionReported | Joined | Dropped
"""What a door reports: everything that is not sent or closed."""

_EMPTY = b""  # what a message of text counts as: a frame that is refused


class Core(Protocol):
    """`Matchmaker` and `Listener`."""

    @property
    def next_timer_s(self) -> float | None:
        """When to tick."""

    def connected(self, key: int, now_s: float) -> None:
        """A socket came in."""

    def receive(self, key: int, frame: bytes, now_s: float) -> None:
        """A frame came in."""

    def closed(self, key: int, now_s: float) -> None:
        """A socket has gone."""

    def tick(self, now_s: float) -> None:
        """Serve timers."""

    def take_outputs(self) -> Sequence[SendFrame | CloseSocket | News]:
        """What to do."""


class Door:
    """Carries bytes and time between sockets and `core`; whoever calls the core itself calls `settle` afterwards."""

    def __init__(self, core: Core, wires: Wires, report: Callable[[News], None]) -> None:
        self.locations: tuple[WebSocketLocation, ...] = ()
        """Where others dial, once it is open."""
        self._core = core
        self._wires = wires
        self._report = report
        self._keys = itertools.count()
        self._outboxes: dict[int, Outbox] = {}
        self._alarm = Alarm(wires.clock, self._tick)
        self._is_settling = False
        self._server: Server | None = None

    def __len__(self) -> int:
        """How many sockets there are."""
        return len(self._outboxes)

    async def open(self, at: ListenAt) -> None:
        """Listen. Raises ProtocolError `already_started`, or OSError for an address or a file that cannot be used."""
        if self._server is not None:
            raise ProtocolError("already_started", "this stack listens already")
        self._server = await serve(
            self._serve,
            at.host,
            at.port,
            ssl=at.tls(),
            process_request=self._admit,
            max_size=MAX_FRAME_BYTES,
            compression=None,
            open_timeout=self._wires.open_s,
            close_timeout=self._wires.close_s,
            ping_interval=self._wires.ping_s,
            ping_timeout=self._wires.ping_s,
            server_header=None,
        )
        self.locations = at.locations(next(iter(self._server.sockets)).getsockname()[1])

    async def close(self) -> None:
        """Listen no more; what waits is sent, then every socket is closed. Bounded by twice `close_s`."""
        self._alarm.stop()
        if self._server is None:
            return
        self._server.close(close_connections=False)
        outboxes = list(self._outboxes.values())
        for outbox in outboxes:
            outbox.finish(GOING_AWAY)
        await asyncio.gather(*(outbox.wait_finished(2 * self._wires.close_s) for outbox in outboxes))
        await self._server.wait_closed()
        self._alarm.stop()

    def settle(self) -> None:
        """Do what the core wants done. A call from inside of one does nothing: the outer one goes on."""
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while outputs := self._core.take_outputs():
                for output in outputs:
                    self._work_on(output)
        finally:
            self._is_settling = False
        self._alarm.set(self._core.next_timer_s)

    def _work_on(self, output: SendFrame | CloseSocket | News) -> None:
        if isinstance(output, SendFrame | CloseSocket):
            outbox = self._outboxes.get(output.key)  # type: ignore[call-overload] # the keys of sockets are ours
            if outbox is None:
                return
            if isinstance(output, SendFrame):
                outbox.put(output.frame)
            else:
                outbox.finish(reason=output.code)
        else:
            self._report(output)

    async def _serve(self, socket: ServerConnection) -> None:
        key = next(self._keys)
        outbox = self._outboxes[key] = Outbox(socket, self._wires.max_unsent_bytes)
        try:
            self._core.connected(key, self._wires.clock())
            self.settle()
            async for message in socket:
                self._core.receive(key, message if isinstance(message, bytes) else _EMPTY, self._wires.clock())
                self.settle()
        except ConnectionClosed:
            pass  # without a farewell; it is gone all the same
        finally:
            del self._outboxes[key]
            self._core.closed(key, self._wires.clock())
            self.settle()
            outbox.finish()
            await outbox.wait_finished(self._wires.close_s)

    def _admit(self, socket: ServerConnection, _: Request) -> Response | None:
        """Turn away at the door whom the matchmaker would only close."""
        if len(self) < self._wires.limits.max_diallers:
            return None
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections.\n")

    def _tick(self) -> None:
        self._core.tick(self._wires.clock())
        self.settle()
