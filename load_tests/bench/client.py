"""The client: a process of its own that sends requests made ahead, and times each answer.

It shares the machine with what it measures, so it does as little as it can: blocking sockets, one selector, no parsing
but for the status and the length of an answer. `Answers.cpu_s` says what it cost.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import multiprocessing
import os
import selectors
import socket
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

LIMIT_S = 120.0
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_CLOSED = 0
"""In place of a status: the server closed the connection without an answer."""


class ClientError(Exception):
    """The client process has failed or does not answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """Send the requests over so many connections, dealt to the ports in turn; each has one request under way.

    `expect`: what the body of a good answer begins with. `stop_after_s`: end then, whatever is left. `repeat`: begin
    again at the end of the requests. `pace_s`: of each connection, from one request to the next; one that is sent late,
    because the answer before it was, counts from when it was due. `pause_s`: from an answer to the next request.
    """

    ports: Sequence[int]
    requests: Sequence[bytes]
    connections: int
    expect: bytes
    stop_after_s: float = LIMIT_S
    repeat: bool = False
    pace_s: float = 0.0
    pause_s: float = 0.0


@dataclass(slots=True)
class Answers:
    """What came back. Latencies in seconds: of good answers, and of all others by status (0: connection closed)."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    good: array[float] = field(default_factory=lambda: array("d"))
    other: dict[int, array[float]] = field(default_factory=dict)
    example: bytes = b""
    """One of the other answers."""

    @property
    def count(self) -> int:
        """How many answers there were, of every kind."""
        return len(self.good) + sum(map(len, self.other.values()))


def request(body: bytes, *, path: str = "/post", origin: str | None = None) -> bytes:
    """Return the HTTP request around a body. `origin`: the network address that a proxy would tell."""
    told = "" if origin is None else f"X-Forwarded-For: {origin}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{told}Content-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


class Client:
    """The client's process, while its context is entered. `nice`: how far it steps back for all others."""

    def __init__(self, *, nice: int = 0) -> None:
        # A fresh interpreter: a fork would carry what the parent has, and its garbage collector, along.
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, nice), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._ours.close()

    def start(self, job: Job) -> None:
        """Connect. `go` sends, and `finish` has to be called before the next one."""
        self._ours.send(job)
        if (state := self._ours.recv()) != "ready":
            raise ClientError(str(state))

    def go(self) -> None:
        """Begin to send; returns at once."""
        self._ours.send("go")

    def finish(self) -> Answers:
        """Wait for the end and return what came back. Raises ClientError."""
        if not self._ours.poll(2 * LIMIT_S):
            raise ClientError("the client does not answer")
        answers = self._ours.recv()
        if not isinstance(answers, Answers):
            raise ClientError(str(answers))
        return answers


def _serve(pipe: Connection, nice: int) -> None:
    os.nice(nice)
    gc.disable()  # nothing here makes cycles, and a collection in mid-round would be a latency
    while True:
        try:
            sending = _Sending(pipe.recv())
            pipe.send("ready")  # unpacked and connected: neither is a cost of the round
            pipe.recv()
            pipe.send(sending.run())
            sending.close()
        except EOFError:
            return
        except OSError as error:
            pipe.send(f"{type(error).__name__}: {error}")


@dataclass(slots=True)
class _Line:
    """One connection at a time, again and again if it breaks."""

    number: int
    port: int
    socket: socket.socket
    began_s: float = 0.0
    is_waiting: bool = False
    received: bytes = b""


class _Sending:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: Iterator[bytes] = itertools.cycle(job.requests) if job.repeat else iter(job.requests)
        self._selector = selectors.DefaultSelector()
        self._lines: list[_Line] = []
        self._due: list[tuple[float, int, _Line]] = []
        self._answers = Answers()
        self._ends_at_s = 0.0
        self._under_way = 0
        for number in range(job.connections):
            port = job.ports[number % len(job.ports)]
            line = _Line(number, port, self._connected(port))
            self._lines.append(line)
            self._selector.register(line.socket, selectors.EVENT_READ, line)

    def close(self) -> None:
        for line in self._lines:
            line.socket.close()
        self._selector.close()

    def run(self) -> Answers:
        cpu_s, began_s = time.process_time(), time.perf_counter()
        self._ends_at_s = began_s + self._job.stop_after_s
        spread_s = (self._job.pace_s or self._job.pause_s) / max(1, len(self._lines))
        self._due = [(began_s + line.number * spread_s, line.number, line) for line in self._lines]
        self._send_due()
        while self._under_way or self._due:
            for ready, _ in self._selector.select(self._wait_s()):
                self._read(ready.data)
            self._send_due()
            if time.perf_counter() > self._ends_at_s + LIMIT_S:
                raise TimeoutError("answers are missing")
        self._answers.seconds = time.perf_counter() - began_s
        self._answers.cpu_s = time.process_time() - cpu_s
        return self._answers

    @staticmethod
    def _connected(port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _wait_s(self) -> float:
        return max(0.0, self._due[0][0] - time.perf_counter()) if self._due else LIMIT_S

    def _send_due(self) -> None:
        while self._due and (now_s := time.perf_counter()) >= self._due[0][0]:
            due_s, _, line = heapq.heappop(self._due)
            self._send(line, due_s if self._job.pace_s else now_s)

    def _send(self, line: _Line, began_s: float) -> None:
        if began_s > self._ends_at_s or (made := next(self._waiting, None)) is None:
            return
        line.began_s = began_s
        line.is_waiting = True
        self._under_way += 1
        with contextlib.suppress(OSError):  # then the answer is missing, too
            line.socket.sendall(made)

    def _read(self, line: _Line) -> None:
        try:
            data = line.socket.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._lost(line)
            return
        if line.received:
            data = line.received + data
        end = data.find(_END_OF_HEAD)
        if end < 0 or len(data) < end + len(_END_OF_HEAD) + _length(data[:end]):
            line.received = data
            return
        line.received = b""
        now_s = time.perf_counter()
        self._count(line, int(data[9:12]), data[end + len(_END_OF_HEAD) :], now_s)
        self._next(line, now_s)

    def _count(self, line: _Line, status: int, body: bytes, now_s: float) -> None:
        line.is_waiting = False
        self._under_way -= 1
        answers = self._answers
        if status == 200 and body.startswith(self._job.expect):  # noqa: PLR2004
            answers.good.append(now_s - line.began_s)
        else:
            answers.other.setdefault(status, array("d")).append(now_s - line.began_s)
            answers.example = body[:300]

    def _next(self, line: _Line, now_s: float) -> None:
        if self._job.pace_s or self._job.pause_s:
            due_s = line.began_s + self._job.pace_s if self._job.pace_s else now_s + self._job.pause_s
            heapq.heappush(self._due, (due_s, line.number, line))
        else:
            self._send(line, now_s)

    def _lost(self, line: _Line) -> None:
        """Go on with a new connection; if a request was under way, it was not answered."""
        self._selector.unregister(line.socket)
        line.socket.close()
        line.socket, line.received = self._connected(line.port), b""
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        if line.is_waiting:
            now_s = time.perf_counter()
            self._count(line, _CLOSED, b"", now_s)
            self._next(line, now_s)


def _length(head: bytes) -> int:
    return int(head.lower().split(_LENGTH, 1)[1].split(b"\r\n", 1)[0])
