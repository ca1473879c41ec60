"""How many connections a front takes, and how slowly a request may arrive: for fronts that strangers reach directly."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest
import uvicorn

from front import connections, server
from front.app import create_app
from front.draining import Phase
from front.hot_posts import HotHttp
from front.server import DrainingServer
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUND_S = 20.0
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
HEAD = b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A front that needs no database for what is asked of it here, impatient and with little room."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(server, "REQUEST_S", 0.3)
    app = create_app(Settings(database_url=NOWHERE))
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        lifespan="on",
        http=HotHttp,
        timeout_graceful_shutdown=1,
    )
    serving = DrainingServer(config, app, Phase(), wait_s=0)
    task = asyncio.create_task(serving.serve())
    async with asyncio.timeout(BOUND_S):
        while not serving.started:  # noqa: ASYNC110 - the server rings no bell
            await asyncio.sleep(0.01)
    yield serving.servers[0].sockets[0].getsockname()[1]
    serving.hasten()
    await task


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """All that is said until the connection ends."""
        async with asyncio.timeout(BOUND_S):
            return await self.reader.read()

    async def ask(self, path: str = "/healthz") -> tuple[int, dict[str, str]]:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(BOUND_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines()[1:])
            }
            await self.reader.readexactly(int(headers["content-length"]))
        return int(head.split()[1]), headers


@contextlib.asynccontextmanager
async def caller(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_who_says_nothing_is_hung_up_on(port: int) -> None:
    async with caller(port) as silent:
        assert await silent.rest() == b""


@pytest.mark.parametrize("begun", [b"GET /heal", HEAD, HEAD + b'{"comm'], ids=["head", "no body", "body"])
async def test_a_request_that_does_not_arrive_in_time_is_given_up(port: int, begun: bytes) -> None:
    async with caller(port) as slow:
        slow.writer.write(begun)
        head, _, body = (await slow.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"connection: close" in head
        assert json.loads(body)["code"] == "request_too_slow"


async def test_octet_by_octet_is_no_faster(port: int) -> None:
    async with caller(port) as slow:
        octets = b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 1_000
        sent = 0
        while sent < len(octets) and not slow.writer.is_closing() and not slow.reader.at_eof():
            slow.writer.write(octets[sent : sent + 1])
            sent += 1
            await asyncio.sleep(0.02)
        assert sent < len(octets)


async def test_a_connection_may_rest_between_requests(port: int) -> None:
    async with caller(port) as patient:
        assert (await patient.ask())[0] == 200
        await asyncio.sleep(1.5)  # longer than a request may take to arrive, and than the look for slow ones is apart
        assert (await patient.ask())[0] == 200


async def test_beyond_the_bound_connections_are_told_when_to_come_back_and_probes_are_answered(port: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        within = [await stack.enter_async_context(caller(port)) for _ in range(3)]
        assert [(await each.ask("/docs"))[0] for each in within] == [200, 200, 200]
        async with caller(port) as beyond:
            status, headers = await beyond.ask("/docs")
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert await beyond.rest() == b""
        async with caller(port) as probe:
            assert (await probe.ask())[0] == 200
    async with caller(port) as later:
        assert (await later.ask("/docs"))[0] == 200
