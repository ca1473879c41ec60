"""A connection over HTTP/1.1 to a server that somebody else has named: one POST at a time, and kept for the next.

No more than a call needs: no redirect, no cookie, nothing unpacked. What an answer may cost is bounded: its head, its
body, the silence between two pieces of it.
"""

from __future__ import annotations

import asyncio
import select
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import httptools

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

MAX_HEAD = 65_536
"""Bytes before the body of an answer, interim answers included."""
_INTERIM = range(100, 200)
_SUCCESS = range(200, 300)
_LENGTH, _CODING = "content-length", "transfer-encoding"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered. `headers`: names in small letters. `is_cut`: the body was longer than we read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_cut: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the status says that the call was taken."""
        return self.status in _SUCCESS


class BrokenConnectionError(Exception):
    """The connection ended before the answer did, or what came is no HTTP."""


class Connection(asyncio.Protocol):
    """One connection, made by `connect`. It answers for one call at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._is_reusable = True
        self._max_bytes = self._head_bytes = 0
        self._heard_s = 0.0
        self._begin()

    @property
    def is_usable(self) -> bool:
        """Whether another call may be made."""
        return self._is_reusable and self._transport is not None and not self._transport.is_closing()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come that the loop has not told yet: the end of the connection, above all."""
        raw = None if self._transport is None else self._transport.get_extra_info("socket")
        if raw is None or raw.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(raw.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def exchange(self, request: bytes, *, read_s: float, max_bytes: int) -> Reply:
        """Send a request and return the answer; unless all of it was read, the connection is closed then.

        `read_s`: the longest silence; `max_bytes`: of the body, the rest is not read. Raises BrokenConnectionError and
        TimeoutError.
        """
        if self._transport is None or not self.is_usable or self._answer is not None:
            raise BrokenConnectionError("the connection is not free")
        self._stop_expiry()
        self._begin()
        self._head_bytes, self._max_bytes, self._heard_s = 0, max_bytes, self._loop.time()
        self._answer = self._loop.create_future()
        self._watch_silence(read_s)
        try:
            self._transport.write(request)
            return await self._answer
        except BaseException:
            self.close()
            raise
        finally:
            self._answer = None
            if self._silence is not None:
                self._silence.cancel()
            if not self._is_reusable:
                self.close()

    def keep(self, for_s: float) -> None:
        """Close the connection unless it is used again within this time."""
        self._expiry = self._loop.call_later(for_s, self.close)

    def close(self) -> None:
        """Hang up."""
        self._is_reusable = False
        self._stop_expiry()
        if self._transport is not None:
            self._transport.abort()

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _watch_silence(self, read_s: float) -> None:
        left_s = self._heard_s + read_s - self._loop.time()
        if left_s <= 0:
            self._fail(TimeoutError("the server is silent"))
        else:
            self._silence = self._loop.call_later(left_s, self._watch_silence, read_s)

    # ------------------------------------------------------------------------------------------- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Some of the answer has come. What comes unasked ends the connection."""
        self._heard_s = self._loop.time()
        if self._answer is None or self._answer.done():
            self.close()
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BrokenConnectionError(f"no HTTP: {error}"))
        if not self._has_head and self._head_bytes > MAX_HEAD:
            self._fail(BrokenConnectionError("an endless head"))

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has ended, and with it an answer whose end nothing else tells."""
        self._is_reusable = False
        self._stop_expiry()
        if self._has_head and error is None and not {_LENGTH, _CODING} & self._headers.keys():
            self._finish()
        self._fail(BrokenConnectionError("the connection has ended"))

    # ----------------------------------------------------------------------------------------- what the parser tells

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._has_head = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is whole."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole: that of the answer, or of one that only says to wait."""
        if self._parser.get_status_code() in _INTERIM:
            self._headers.clear()
        else:
            self._has_head = True

    def on_body(self, piece: bytes) -> None:
        """Some of the body has come."""
        self._body += piece
        if len(self._body) > self._max_bytes:
            self._finish(is_cut=True)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._has_head:
            self._is_reusable = self._is_reusable and self._parser.should_keep_alive()
            self._finish(is_whole=True)

    def _finish(self, *, is_whole: bool = False, is_cut: bool = False) -> None:
        if self._answer is None or self._answer.done():
            # Also a second answer to one request: nobody can say whose the next one would be.
            self._is_reusable = False
            return
        self._is_reusable = self._is_reusable and is_whole
        body = bytes(self._body[: self._max_bytes])
        self._answer.set_result(Reply(self._parser.get_status_code(), self._headers, body, is_cut))

    def _fail(self, error: Exception) -> None:
        self._is_reusable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def connect(address: str, port: int, *, name: str, tls: ssl.SSLContext | None, connect_s: float) -> Connection:
    """Connect to an IP address. `tls`: the certificate must be for `name`; None to go unencrypted.

    Raises TimeoutError, OSError (with TLS also ssl.SSLError).
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_STREAM)
    try:
        raw.setblocking(False)
        async with asyncio.timeout(connect_s):
            await loop.sock_connect(raw, (address, port))
        async with asyncio.timeout(connect_s):
            _, connection = await loop.create_connection(
                Connection, sock=raw, ssl=tls, server_hostname=name if tls is not None else None
            )
    except BaseException:
        raw.close()
        raise
    return connection
