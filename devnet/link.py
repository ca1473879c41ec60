"""Moves frames between a socket and a session, in order, without letting one slow client hold up the ledger."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from shared.obyte.hub_protocol import Liveness

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from devnet.faults import Dying, Faults
    from devnet.session import Session

log = logging.getLogger(__name__)

MAX_WAITING_FRAMES = 10_000
LIVENESS_CHECK_S = 3.0
_TEXT_FRAME = 0x81
_LENGTH_IN_8_BYTES = 127


class Link:
    """One client's socket."""

    def __init__(self, connection: ServerConnection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults
        self._frames: asyncio.Queue[str | bytes | None] = asyncio.Queue(MAX_WAITING_FRAMES)
        self._loop = asyncio.get_running_loop()
        self._dying: Dying | None = None
        self._sent_while_dying = 0

    async def run(self, session: Session) -> None:
        """Serve until either side ends the connection."""
        liveness = Liveness(self._loop.time())
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write())
            checker = tasks.create_task(self._check(session, liveness))
            try:
                async for frame in self._connection:
                    liveness.heard(self._loop.time())
                    if isinstance(frame, str):
                        session.receive(frame)
            except ConnectionClosed:
                pass
            finally:
                writer.cancel()
                checker.cancel()

    def send(self, frame: str | bytes, delay_s: float) -> None:
        """Queue a frame, now or later; a client that reads nothing for too long is cut off."""
        if delay_s:
            self._loop.call_later(delay_s, self._queue, frame)
        else:
            self._queue(frame)

    def close_when_sent(self) -> None:
        """End the connection after what is queued."""
        self._queue(None)

    def cut(self) -> None:
        """End the connection at once."""
        self._connection.transport.abort()

    def _queue(self, frame: str | bytes | None) -> None:
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            log.warning("a client does not read its frames, cutting it off")
            self.cut()

    async def _write(self) -> None:
        while True:
            frame = await self._frames.get()
            try:
                if frame is None:
                    await self._connection.close()
                    return
                if self._dies_of(frame):
                    return
                await self._connection.send(frame)
            except ConnectionClosed:
                return

    def _dies_of(self, frame: str | bytes) -> bool:
        dying = self._faults.dying
        if dying is None:
            return False
        if dying is not self._dying:
            self._dying, self._sent_while_dying = dying, 0
        if self._sent_while_dying < dying.frames:
            self._sent_while_dying += 1
            return False
        dying.connections -= 1
        if dying.connections == 0:
            self._faults.dying = None
        if dying.mid_frame:
            self._break_off(frame)
        else:
            self.cut()
        return True

    def _break_off(self, frame: str | bytes) -> None:
        """Send a frame's head and half of it, past the library, which knows only whole frames."""
        content = frame.encode() if isinstance(frame, str) else frame
        head = bytes((_TEXT_FRAME, _LENGTH_IN_8_BYTES)) + len(content).to_bytes(8)
        self._connection.transport.write(head + content[: len(content) // 2])
        self._connection.transport.close()  # not abort: what was written shall arrive

    async def _check(self, session: Session, liveness: Liveness) -> None:
        while True:
            await asyncio.sleep(LIVENESS_CHECK_S)
            match liveness.check(self._loop.time()):
                case "ask":
                    session.heartbeat()
                case "dead":
                    self.cut()
                case _:
                    pass
