"""Connections of one serving process: how many there may be, and how long a request may take to arrive.

nginx takes whole requests before a front sees them. These bounds are for fronts that others reach directly: somebody
who opens connections and says nothing, or says it one octet at a time, must not keep anybody else out.
"""

from __future__ import annotations

import enum
import resource
import time
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from front.draining import has_unread
from front.problems import Problem
from shared.logs import get_logger

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp, Receive, Scope, Send

logger = get_logger(__name__)

MAX_CONNECTIONS = 4_000
"""In one process, at rest or in use; whoever comes beyond that is told to come back."""
REQUEST_S = 10.0
"""Within this a request has arrived as a whole, counted from its first octet, or from the connection's beginning."""
MAX_PIPELINED = 64
"""Requests of one connection that may wait for the answers to those before them; nobody asks further ahead."""
FRESH_S = 1.0
"""A connection that has said nothing yet is waited for so long by a process that leaves."""
_FILES = 16_384
_OTHER_FILES = 200
_PROBES = frozenset({"/healthz", "/readyz"})


class Stage(enum.Enum):
    """What a connection is doing."""

    FRESH = enum.auto()
    """It has said nothing yet."""
    BUSY = enum.auto()
    """A request is being read or answered."""
    IDLE = enum.auto()
    """All requests were answered; the next one may come."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, on connections that are counted and whose requests must arrive in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since_s: float | None = None
        """Since when a request is awaited: None while one is answered, and between two of them."""
        self._is_in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it; beyond the bound all it hears is when to come back."""
        super().connection_made(transport)
        self._since_s = time.monotonic()
        if len(self.connections) > most_connections():
            self.app = _Full(self.app)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request."""
        super().on_message_begin()
        self._since_s = time.monotonic()
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What comes behind a body (a trailer) is none: proxies do not vouch for it."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let it be answered."""
        self._is_in_head = False
        if len(self.pipeline) < MAX_PIPELINED:
            super().on_headers_complete()
        else:
            # What waits is not begun on a connection that closes, so it does not matter whose body what follows is.
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request; read no further while others wait."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Wait for nothing more: from now on it is us who take the time."""
        self._since_s = None
        super().on_message_complete()

    @property
    def stage(self) -> Stage:
        """What the connection is doing."""
        if self._is_in_head or (self.cycle is not None and not self.cycle.response_complete):
            return Stage.BUSY
        return Stage.FRESH if self.cycle is None else Stage.IDLE

    @property
    def waits_since_s(self) -> float | None:
        """Since when (monotonic) a request is awaited that was not received as a whole."""
        return self._since_s

    @property
    def has_unread(self) -> bool:
        """Whether something has arrived that was not read yet."""
        return self.transport is not None and not self.transport.is_closing() and has_unread(self.transport)

    def give_up(self) -> None:
        """Hang up on a request that does not arrive, and say so if nothing was answered yet."""
        if self.transport.is_closing():
            return
        is_answered = self.cycle is not None and self.cycle.response_started and not self._is_in_head
        if self.stage is not Stage.FRESH and not is_answered:
            response = Problem(
                408, "request_too_slow", f"the request was not received within {REQUEST_S:g} s"
            ).response()
            headers = [*response.raw_headers, (b"connection", b"close")]
            lines = [b"HTTP/1.1 408 Request Timeout", *(b": ".join(header) for header in headers), b"", b""]
            self.transport.write(b"\r\n".join(lines) + bytes(response.body))
        self.transport.close()


class _Full:
    """Answers in place of the application when there are too many connections. Probes are answered nevertheless."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, and the connection with it."""
        if scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        logger.warning("too_many_connections")
        headers = {"retry-after": "1", "connection": "close"}
        text = "too many connections are open here"
        await Problem(503, "overloaded", text, headers=headers).response()(scope, receive, send)


def raise_file_limit() -> None:
    """Ask for as many open files as we may need; a shell's usual 1 024 are too few for connections and streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Return how many connections this process takes: our bound, or what its limit of open files has room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, soft - _OTHER_FILES))
