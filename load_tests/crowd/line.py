"""One kept connection of one payer: sends bytes once and tells what came of it. Nothing is tried a second time here.

The common clients send again by themselves when a kept connection turns out to be closed; then nobody can count what
has failed. Blocking calls of the standard library, which locust makes cooperative.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import time
from urllib.parse import urlsplit

from load_tests.faults.wire import ANSWER_S, IDLE_S, Answer, Kind, meaning


class Line:
    """Requests to one base URL, one at a time."""

    def __init__(self, url: str, *, path: str = "/post", answer_s: float = ANSWER_S) -> None:
        parts = urlsplit(url)
        host, self._path = parts.hostname or "127.0.0.1", path
        self._address = (host, parts.port or 80)
        self._answer_s = answer_s
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
        self._head = head.encode()
        self._socket: socket.socket | None = None
        self._used_at_s = 0.0

    def ask(self, body: bytes) -> tuple[Answer, int]:
        """Send a body; return what came of it and the length of the answer. Never raises for the other side's fault."""
        if self._socket is not None and (time.monotonic() - self._used_at_s > IDLE_S or _has_ended(self._socket)):
            self.close()
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, self._answer_s)
            except OSError as error:
                return Answer(Kind.UNREACHABLE, type(error).__name__), 0
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
            with http.client.HTTPResponse(self._socket, method="POST") as response:
                response.begin()
                text = response.read()
                ends = response.will_close
        except TimeoutError:
            self.close()
            return Answer(Kind.SILENT), 0
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(Kind.CUT, type(error).__name__), 0
        self._used_at_s = time.monotonic()
        if ends:
            self.close()
        return meaning(response.status, text), len(text)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


def _has_ended(connection: socket.socket) -> bool:
    """Whether the other side has hung up: nothing was asked, so there is nothing else to read."""
    return bool(select.select([connection], [], [], 0)[0])
