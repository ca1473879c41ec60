"""Sends bodies over one connection and tells what came of each, without a second try: what is counted is raw.

Written on bare streams: the client shares the machine with what it measures, so it must cost as little as it can.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

ANSWER_S = 10.0
"""After this a payer hangs up."""
IDLE_S = 20.0
"""A connection that lay idle for longer is not used again, as in every client: the edge closes it after 65 s, and a
request that crosses with that would be cut off by nobody's fault."""


class Kind(StrEnum):
    """What came of one request."""

    RECEIPT = "receipt"
    REFUSED = "refused"
    """A definite no: the same package will not be taken later either."""
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"
    """A status of 500 and more: not now, and perhaps it was carried out."""
    CUT = "cut"
    """The connection ended before the answer was whole."""
    SILENT = "silent"
    """No answer in time."""
    UNREACHABLE = "unreachable"
    """No connection could be made."""

    @property
    def is_certain(self) -> bool:
        """Whether the payer knows what became of his money."""
        return self in (Kind.RECEIPT, Kind.REFUSED)


@dataclass(frozen=True, slots=True)
class Answer:
    """`code`: the stable code of a refusal or a failure, for counting. `receipt`: as on the wire."""

    kind: Kind
    code: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)


class Line:
    """One kept connection, one request at a time. A new one is made when the last one has ended."""

    def __init__(self, url: str, path: str = "/post") -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def ask(self, body: bytes) -> Answer:
        """Send a body and return what came of it. Never raises for a fault of the other side."""
        try:
            async with asyncio.timeout(ANSWER_S):
                try:
                    reader, writer = await self._connected()
                except OSError as error:
                    return Answer(Kind.UNREACHABLE, type(error).__name__)
                try:
                    writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
                    status, text, stays = await _read(reader)
                except (OSError, asyncio.IncompleteReadError) as error:
                    self.close()
                    return Answer(Kind.CUT, type(error).__name__)
        except TimeoutError:
            self.close()
            return Answer(Kind.SILENT)
        self._used_at = time.monotonic()
        if not stays:
            self.close()
        return meaning(status, text)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A server may close a connection that lies idle; who finds it closed has not sent anything yet.
        if self._streams is not None and (
            time.monotonic() - self._used_at > IDLE_S or self._streams[0].at_eof() or self._streams[1].is_closing()
        ):
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    stays = b"\r\nconnection: close" not in head
    if b"\r\ncontent-length:" not in head:
        return status, await reader.read(), False
    length = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
    return status, await reader.readexactly(length), stays


def meaning(status: int, text: bytes) -> Answer:
    """Return what a whole answer of the receiver says."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    code = body.get("code", "") if isinstance(body, dict) else ""
    if status == HTTPStatus.OK:
        receipt = body.get("receipt") if isinstance(body, dict) else None
        return Answer(Kind.RECEIPT, "", receipt) if isinstance(receipt, dict) else Answer(Kind.REFUSED, str(code))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Answer(Kind.LIMITED, str(code))
    return Answer(
        Kind.UNAVAILABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Kind.REFUSED, f"{status} {code}".strip()
    )
