"""A session that dials: socket after socket, over all locations of a beacon, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from shared.moneysocket.errors import BeaconError
from shared.moneysocket.events import Announced, CloseWanted, Event
from shared.moneysocket.frames import MAX_FRAME_BYTES
from shared.moneysocket.redialling import Redialler
from shared.moneysocket.session import Session
from shared.moneysocket.stacks.alarm import Alarm
from shared.moneysocket.stacks.events import DialFailed, Stopped
from shared.moneysocket.stacks.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.moneysocket.beacons import WebSocketLocation
    from shared.moneysocket.stacks.wires import Wires

BROKEN = "broken"

S = TypeVar("S", bound=Session)

logger = logging.getLogger(__name__)


class Dialling(Generic[S]):
    """One beacon's attempts; `make` makes a session for each socket. Raises BeaconError if nothing can be dialled."""

    def __init__(
        self,
        locations: Sequence[WebSocketLocation],
        wires: Wires,
        make: Callable[[], S],
        report: Callable[[Event], None],
    ) -> None:
        self.session: S | None = None
        """That of the socket which is open now."""
        self._wires = wires
        self._make = make
        self._report = report
        self._outbox: Outbox | None = None
        self._code: str | None = None
        self._is_pumping = False
        self._alarm = Alarm(wires.clock, self._tick)
        self._redialler = Redialler(
            locations,
            wires.clock(),
            random=wires.random,
            shortest_s=wires.shortest_pause_s,
            longest_s=wires.longest_pause_s,
        )
        self._task = asyncio.create_task(self._run())

    def pump(self) -> None:
        """Send and report what the session has brought about. A call from inside of one does nothing."""
        session, outbox = self.session, self._outbox
        if self._is_pumping or session is None or outbox is None:
            return
        self._is_pumping = True
        try:
            is_busy = True
            while is_busy:
                frames, events = session.take_frames(), session.take_events()
                is_busy = bool(frames or events)
                for frame in frames:
                    outbox.put(frame)
                for event in events:
                    self._take_note(event)
        finally:
            self._is_pumping = False
        if session.wants_close:
            outbox.finish()
        self._alarm.set(session.next_timer_s)

    async def close(self) -> None:
        """Hang up and dial no more."""
        self._redialler.stop()
        if self.session is None:
            self._task.cancel()
        else:
            self.session.close(self._wires.clock())
            self.pump()
        _, unfinished = await asyncio.wait([self._task], timeout=2 * self._wires.close_s)
        if unfinished and self._outbox is not None:
            self._outbox.cut()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        code: str | None = None
        try:
            while (due_s := self._redialler.next_timer_s) is not None:
                await asyncio.sleep(max(0.0, due_s - self._wires.clock()))
                location = self._redialler.tick(self._wires.clock())
                if location is not None:
                    code = await self._dial(location)
                    self._redialler.lost(self._wires.clock(), code)
        except Exception:
            logger.exception("a connection cannot go on")
            code = BROKEN
        finally:
            self._report(Stopped(code or "asked_to"))

    async def _dial(self, location: WebSocketLocation) -> str | None:
        """One attempt. Returns why the session wanted it closed, None if it did not."""
        session = self._make()
        try:
            socket = await connect(
                location.url,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                open_timeout=self._wires.open_s,
                close_timeout=self._wires.close_s,
                ping_interval=self._wires.ping_s,
                ping_timeout=self._wires.ping_s,
                ssl=(self._wires.tls or True) if location.use_tls else None,
            )
        except (OSError, EOFError, ValueError, WebSocketException, BeaconError) as error:  # timeouts are OSErrors
            self._report(DialFailed(location, str(error)))
            return None
        self._code = None
        self.session, self._outbox = session, Outbox(socket, self._wires.max_unsent_bytes)
        try:
            await self._live(session, socket)
        finally:
            session.closed(self._wires.clock())
            self.pump()
            self._alarm.stop()
            outbox, self.session, self._outbox = self._outbox, None, None
            outbox.finish()
            await outbox.wait_finished(2 * self._wires.close_s)
        return self._code

    async def _live(self, session: S, socket: ClientConnection) -> None:
        session.connected(self._wires.clock())
        self.pump()
        with contextlib.suppress(ConnectionClosed):  # without a farewell; it is gone all the same
            async for message in socket:
                if isinstance(message, bytes):
                    session.receive(message, self._wires.clock())
                else:
                    session.receive_text(self._wires.clock())
                self.pump()

    def _take_note(self, event: Event) -> None:
        if isinstance(event, Announced):
            self._redialler.announced()
        elif isinstance(event, CloseWanted):
            self._code = event.code
        self._report(event)

    def _tick(self) -> None:
        if self.session is not None:
            self.session.tick(self._wires.clock())
            self.pump()
