"""Sends requests, each exactly once, and counts raw answers: nothing is retried, and nothing that failed is hidden.

    load = RawLoad("127.0.0.1", port, [payments_of(payer) for payer in payers], expect=b'{"response"')
    async with load:
        ...                                    # restart what you like
    assert load.tally.failures == {}           # what happened to requests that were not answered well
    print(load.tally.sent, load.tally.percentile_ms(0.99))

One connection for each source of requests, kept for as long as the server keeps it, one request at a time on it: the
packages of a channel must come in their order. A connection that the server has announced to close is not counted
against it; one that breaks or is refused is, with the request that was lost on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_EXAMPLES = 20
_PAUSE_AFTER_FAILURE_S = 0.05


@dataclass
class Tally:
    """What became of the requests. `failures`: how often each kind of bad ending was seen; `examples`: some in full."""

    good: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    connections: int = 0

    @property
    def sent(self) -> int:
        """How many requests were sent; each is counted once, whatever became of it."""
        return self.good + self.failures.total()

    @property
    def worst_s(self) -> float:
        """The longest that a good answer took."""
        return max(self.latencies_s, default=0.0)

    def percentile_ms(self, share: float) -> float:
        """Latency in milliseconds below which `share` (0 to 1) of the good answers came."""
        ordered = sorted(self.latencies_s)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def fail(self, kind: str, example: str) -> None:
        """Count a request without a good answer."""
        self.failures[kind] += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(f"{kind}: {example}")


class RawLoad:
    """Requests to one address, while its context is entered. `tally` counts all the time.

    `sources`: bodies to send, in order, one connection for each; `fresh`: a new connection for each request instead.
    `expect`: what the body of a good answer begins with. `pause_s`: between an answer and the next request of its
    source. `answer_s`: an answer that takes longer has failed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        sources: Sequence[Iterator[bytes]],
        *,
        expect: bytes,
        path: str = "/post",
        pause_s: float = 0.0,
        answer_s: float = 15.0,
        fresh: bool = False,
    ) -> None:
        self.tally = Tally()
        self._address = (host, port)
        self._sources = sources
        self._expect = expect
        lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
        self._head = "\r\n".join([*lines, "Connection: close"] if fresh else lines).encode()
        self._pause_s, self._answer_s = pause_s, answer_s
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._one(source)) for source in self._sources]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending.set()
        await asyncio.gather(*self._tasks)

    async def sent(self, count: int) -> None:
        """Return when so many requests were sent since the beginning."""
        while self.tally.sent < count:  # noqa: ASYNC110 - requests are counted, no bell is rung for each
            await asyncio.sleep(0.01)

    async def _one(self, source: Iterator[bytes]) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for body in source:
            if self._ending.is_set():
                break
            began_s = time.perf_counter()
            try:
                async with asyncio.timeout(self._answer_s):
                    if streams is None:
                        self.tally.connections += 1
                        streams = await asyncio.open_connection(*self._address)
                    goes_on = await self._ask(*streams, body, began_s)
            except (OSError, EOFError, TimeoutError) as error:
                self.tally.fail(type(error).__name__, str(error))
                goes_on = False
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)
            if not goes_on and streams is not None:
                _hang_up(streams[1])
                streams = None
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
        if streams is not None:
            _hang_up(streams[1])

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, began_s: float
    ) -> bool:
        """Send a request and count its answer; return whether the connection is kept."""
        writer.write(b"%s\r\nContent-Length: %d\r\n\r\n%s" % (self._head, len(body), body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        answer = await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        status = head.split(b" ", 2)[1].decode()
        if status == "200" and answer.startswith(self._expect):
            self.tally.good += 1
            self.tally.latencies_s.append(time.perf_counter() - began_s)
        else:
            self.tally.fail(status, answer.decode("utf-8", "replace")[:300])
        return b"\r\nconnection: close\r\n" not in head


def _hang_up(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
