"""What waits to be sent on one socket: in order, bounded, and then perhaps a close."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection as WebSocket

GOING_AWAY = 1001
_DONE = 1000


class Outbox:
    """The sending half of a socket. A peer that does not read what it is sent is cut off, `too_slow`."""

    def __init__(self, socket: WebSocket, max_bytes: int) -> None:
        self._socket = socket
        self._max_bytes = max_bytes
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._ending: tuple[int, str] | None = None
        self._news = asyncio.Event()
        self._writer = asyncio.create_task(self._write())

    def put(self, frame: bytes) -> None:
        """Send this, after what waits already; nothing is sent after `finish`."""
        if self._ending is not None:
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        self._news.set()
        if self._bytes > self._max_bytes:
            self.cut()

    def finish(self, code: int = _DONE, reason: str = "") -> None:
        """Close the socket once all is sent."""
        if self._ending is None:
            self._ending = (code, reason)
            self._news.set()

    def cut(self) -> None:
        """Drop the socket, and what waits."""
        self.finish()
        self._frames.clear()
        self._socket.transport.abort()

    async def wait_finished(self, patience_s: float) -> None:
        """Wait until all is sent and the socket is closed; cut it if that takes too long."""
        try:
            await asyncio.wait([self._writer], timeout=patience_s)
        finally:
            if not self._writer.done():
                self.cut()
                self._writer.cancel()

    async def _write(self) -> None:
        try:
            while self._frames or self._ending is None:
                if not self._frames:
                    self._news.clear()
                    await self._news.wait()
                    continue
                frame = self._frames.popleft()
                await self._socket.send(frame)
                self._bytes -= len(frame)
        except ConnectionClosed:
            return
        await self._socket.close(*self._ending)
