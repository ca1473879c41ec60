"""`POST /post` in one step, for connections of `front.server`: from the parser to the peers' door, and back.

Most of what a payment costs a framework is spent on what a payment does not need: scopes, streams of events in both
directions, routes, response objects. A request that

- is `POST /post` over HTTP/1.1, on a connection that goes on, and asks for no upgrade and no `100 Continue`, and
- has arrived as a whole, with the read that ended its head, and
- is the only one under way on its connection

is handed to `front.doors.peer.reply` as bytes, and the reply is written as bytes. Every other request goes the ordinary
way, through uvicorn's cycle and the application, where the same function answers it: whatever takes time, streams,
queues up or is unusual in HTTP is decided there alone. Both ways answer the same, octet by octet; a test sends the same
requests both ways.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from front.bodies import MAX_BODY_BYTES
from front.connections import BoundedHttp
from front.doors.peer import MEDIA_TYPE, PATH, reply
from front.draining import ClosingConnections
from front.problems import NO_STORE
from shared.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import State

    from front.doors.peer import Reply

logger = get_logger(__name__)

_PATH = PATH.encode()
_ASKED_FOR = {"method": "POST", "path": PATH, "raw_path": _PATH, "query_string": b""}
"""What the ordinary way reads off a request line and puts into the scope: an error is logged with it."""


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


_NO_STORE_LINES = _lines(NO_STORE)
_TYPE_LINE = _lines({"content-type": MEDIA_TYPE})


class HotHttp(BoundedHttp):
    """HTTP as `BoundedHttp` speaks it, with a short way for requests of the peers' door."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door: State | None = None
        """The application's state, when nothing stands between this connection and the peers' door."""
        self._arrived: list[bytes] | None = None
        """The body so far of a request that goes the short way if the rest is here, too."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Look what stands between the connection and the door."""
        super().connection_made(transport)
        config = self.config
        if config.root_path or config.limit_concurrency or config.access_log:
            return
        if not isinstance(self.app, ClosingConnections):
            return
        local_port = self.app.state.local_rpc_port
        if local_port is None or self.server is None or self.server[1] != local_port:
            self._door = self.app.state

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived; a request that it was not all of goes the ordinary way."""
        super().data_received(data)
        if self._arrived is not None:
            self._go_ordinary_way()

    def on_headers_complete(self) -> None:
        """Choose the way."""
        if self._door is None or self.url != _PATH or not self._is_plain():
            super().on_headers_complete()
        else:
            self._is_in_head = False
            self.scope.update(_ASKED_FOR)  # type: ignore[typeddict-item]
            self._arrived = []

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._arrived is None:
            super().on_body(body)
        else:
            self._arrived.append(body)

    def on_message_complete(self) -> None:
        """Answer a request that has arrived as a whole."""
        if self._door is not None and self._arrived is not None:
            raw = b"".join(self._arrived)
            if len(raw) <= MAX_BODY_BYTES:
                self._arrived = self._since_s = None
                self._answer(_HotCycle(self, self._door, raw))
                return
            self._go_ordinary_way()
        super().on_message_complete()

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def _answer(self, cycle: _HotCycle) -> None:
        self.cycle = cycle  # type: ignore[assignment]
        task = self.loop.create_task(cycle.run())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _go_ordinary_way(self) -> None:
        arrived, self._arrived = self._arrived or [], None
        super().on_headers_complete()
        for body in arrived:
            super().on_body(body)


class _HotCycle:
    """One request and its response: to the protocol, what uvicorn's `RequestResponseCycle` is to it."""

    __slots__ = ("_door", "_protocol", "_raw", "_scope", "disconnected", "keep_alive", "response_complete")

    def __init__(self, protocol: HotHttp, door: State, raw: bytes) -> None:
        self._protocol = protocol
        self._door = door
        self._scope: Any = protocol.scope
        self._raw = raw
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    @property
    def response_started(self) -> bool:
        """A response is written at once."""
        return self.response_complete

    @property
    def message_event(self) -> _HotCycle:
        """Where the loss of the connection is told to who waits for it: nobody does."""
        return self

    def set(self) -> None:
        """As of an event."""

    async def run(self) -> None:
        """Answer the request."""
        try:
            said = await reply(self._door, self._scope, self._read)
            if self._protocol.flow.write_paused and not self.disconnected:
                await self._protocol.flow.drain()
            if not self.disconnected:
                self._write(said)
        except asyncio.CancelledError:
            # Whoever leaves may wait no longer: whether the package counts is for its payer to ask again.
            self._protocol.transport.close()
        except Exception:
            # A connection on which nothing is answered would stay for ever.
            logger.exception("answer_failed", path=PATH)
            self._protocol.transport.close()

    async def _read(self) -> bytes:
        return self._raw

    def _write(self, said: Reply) -> None:
        protocol = self._protocol
        if self._door.draining.closes_connections:
            self.keep_alive = False
        lines = [STATUS_LINE[said.status]]
        for name, value in protocol.server_state.default_headers:
            lines += name, b": ", value, b"\r\n"
        lines += (
            _NO_STORE_LINES if said.headers is NO_STORE else _lines(said.headers),
            b"content-length: %d\r\n" % len(said.body),
            _TYPE_LINE,
            b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
            said.body,
        )
        protocol.transport.write(b"".join(lines))
        self.response_complete = True
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()
