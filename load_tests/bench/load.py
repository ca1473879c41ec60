"""Sends prepared bodies over keep-alive connections and times each answer.

Written on bare sockets: the client shares the machine with what it measures, so it must cost as little as it can.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: `seconds` of wall clock, one latency per answer, and how many answers were good."""

    seconds: float
    latencies_s: Sequence[float]
    accepted: int

    @property
    def per_second(self) -> float:
        """Answers per second of wall clock."""
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Latency in milliseconds below which `share` (0 to 1) of the answers came."""
        ordered = sorted(self.latencies_s)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def send(port: int, path: str, bodies: Sequence[bytes], *, connections: int, expect: bytes) -> Measured:
    """Send all bodies over so many connections, each one request at a time.

    `expect`: what the body of a good answer begins with. Only loopback is ever contacted.
    """
    waiting = iter(bodies)
    latencies: list[float] = []
    started = time.perf_counter()
    async with asyncio.timeout(_LIMIT_S), asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one_connection(port, path, waiting, latencies, expect)) for _ in range(connections)]
    accepted = sum(task.result() for task in tasks)
    return Measured(time.perf_counter() - started, latencies, accepted)


async def _one_connection(port: int, path: str, waiting: Iterator[bytes], latencies: list[float], expect: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    accepted = 0
    try:
        for body in waiting:
            began = time.perf_counter()
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = await _answer(reader)
            latencies.append(time.perf_counter() - began)
            accepted += answer.startswith(expect)
    finally:
        writer.close()
        await writer.wait_closed()
    return accepted


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    return await reader.readexactly(length)
