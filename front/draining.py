"""How a front leaves without anybody noticing.

    SIGTERM ─▶ `/readyz` says 503 `draining`; every response carries `Connection: close`; all doors stay open for as
               long as balancers need to hear of it (`SLUICE_DRAIN_WAIT_S`)
            ─▶ new connections are turned away, those that wait to be accepted are served, the listeners close
            ─▶ streams end with their word for "come back elsewhere": the last chunk of an answer, 1012 on WebSockets
            ─▶ idle connections close; what is being answered is answered, within a bound
            ─▶ exit status 0

A second SIGTERM or SIGINT skips the wait, a third one cuts off. A serving process that is only replaced by another one
of the same front (SIGHUP) closes its own listeners first, since the other one listens already, and stays ready.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, for which Python has no name
# Of a packet to the listener look at the flags of TCP (octet 13): SYN without ACK asks for a new connection and is
# dropped. Who sent it tries again a second later, when nobody listens any more, and is refused: he goes elsewhere.
_NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load octet 13
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


class Draining:
    """What the doors of one process know of its end. Flags are set by signal handlers, the event by the loop."""

    def __init__(self) -> None:
        self.is_announced = False
        """Balancers are told to send nothing more here."""
        self.closes_connections = False
        """Each response says that it is its connection's last."""
        self.streams_end = asyncio.Event()
        """Whoever follows or talks is to go elsewhere."""


class ClosingConnections:
    """An application whose responses end their connections from the moment on when the process begins to leave."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.state = app.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def closing_send(message: Message) -> None:
            if self.state.draining.closes_connections and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, closing_send)


class Phase:
    """Written by the arbiter, read by the serving processes it forks: why they are told to stop."""

    _SERVING, _LEAVING, _LEAVING_ALONE = range(3)

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def leave(self, *, listeners_are_ours: bool) -> None:
        """The whole front stops. `listeners_are_ours`: nobody else serves what comes to its sockets."""
        self._shared[0] = self._LEAVING_ALONE if listeners_are_ours else self._LEAVING

    @property
    def is_leaving(self) -> bool:
        """Whether the whole front stops, not one process of it."""
        return self._shared[0] != self._SERVING

    @property
    def listeners_are_ours(self) -> bool:
        """Whether nobody listens on these sockets when this front has gone."""
        return self._shared[0] == self._LEAVING_ALONE


def turn_away(listener: socket.socket) -> None:
    """Let no new connection reach a TCP listener that is about to close; those that wait to be accepted stay.

    Closing alone would reset the ones that came between the last look and the end. Only for a socket that nobody else
    goes on listening on. Does nothing where the kernel has no such filter.
    """
    if sys.platform != "linux" or listener.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    program = b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_CONNECTIONS)
    held = ctypes.create_string_buffer(program, len(program))
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(_NO_NEW_CONNECTIONS), ctypes.addressof(held))
        )


def has_queue(listener: socket.socket) -> bool:
    """Whether somebody waits to be accepted."""
    return _is_readable(listener.fileno())


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Whether something has arrived that was not read yet: closing now would throw a request away."""
    found = transport.get_extra_info("socket")
    return found is not None and _is_readable(found.fileno())


def _is_readable(file: int) -> bool:
    if file < 0:
        return False
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return any(events & select.POLLIN and not events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
