"""The short way of `POST /post` and the ordinary one answer the same, octet by octet."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import uvicorn

from front import hot_posts
from front.app import create_app
from front.bodies import MAX_BODY_BYTES
from front.connections import MAX_PIPELINED, BoundedHttp
from front.draining import Phase
from front.hot_posts import HotHttp
from front.server import DrainingServer
from shared.receiving.errors import ReceivingError
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI

BOUND_S = 20.0
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
IS_READY = b'{"command":"is_ready","params":{"aa_address":"x"}}'


class Way:
    """A front that needs no database for what is asked of it here."""

    def __init__(self, server: DrainingServer, app: FastAPI) -> None:
        self.server = server
        self.app = app
        self.port: int = server.servers[0].sockets[0].getsockname()[1]

    async def said(self, parts: Sequence[bytes], *, pause_s: float = 0.02) -> bytes:
        """All that is answered to the parts of requests, sent one after the other, until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.timeout(BOUND_S):
            for number, part in enumerate(parts, 1):
                writer.write(part)
                await writer.drain()
                if number < len(parts):
                    await asyncio.sleep(pause_s)
            writer.write(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            try:
                said = await reader.read()
            except ConnectionResetError:
                said = b"reset"
        writer.close()
        return re.sub(rb"date: [^\r]*", b"date: now", said)

    async def connection_after(self, requests: bytes) -> str:
        """What has become of a connection some time after requests that are not answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(requests)
        try:
            async with asyncio.timeout(0.3):
                assert await reader.read() == b""
        except TimeoutError:
            return "open"
        except ConnectionResetError:
            return "closed"
        finally:
            writer.close()
        return "closed"


@asynccontextmanager
async def serving(protocol: type[BoundedHttp], **options: int) -> AsyncIterator[Way]:
    app = create_app(Settings(database_url=NOWHERE, limit_posts_per_address=1_000_000), **options)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, proxy_headers=False, http=protocol, timeout_graceful_shutdown=1
    )
    server = DrainingServer(config, app, Phase(), wait_s=0)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(BOUND_S):
        while not server.started:  # noqa: ASYNC110 - the server rings no bell
            await asyncio.sleep(0.01)
    yield Way(server, app)
    server.hasten()
    await task


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ways() -> AsyncIterator[tuple[Way, Way]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(serving(HotHttp)),
            await stack.enter_async_context(serving(BoundedHttp)),
        )


def post(body: bytes, *headers: str, path: str = "/post", method: str = "POST", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


PLAIN = post(IS_READY)
CHUNKED = b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = len(PLAIN) - 9
REQUESTS: dict[str, Sequence[bytes]] = {
    "a command": [PLAIN],
    "no command": [post(b'{"command":"x"}')],
    "no JSON": [post(b"{")],
    "no UTF-8": [post(b"\xff")],
    "nothing": [post(b"")],
    "no length": [b"POST /post HTTP/1.1\r\nHost: x\r\n\r\n"],
    "an array": [post(b"[]")],
    "a deep message": [
        post(b'{"command":"pay","params":{"message":' + b"[" * 2_000 + b"]" * 2_000 + b',"signed_package":{}}}')
    ],
    "an old request": [post(IS_READY[:-1] + b',"timestamp":1}')],
    "no database": [post(b'{"command":"is_ready","params":{"aa_address":"3RRQKBT3MNRJPQW7CNOFTBQZC7TGWA5H"}}')],
    "the largest body": [post(b" " * (MAX_BODY_BYTES - len(IS_READY)) + IS_READY)],
    "too large a body": [post(b" " * (MAX_BODY_BYTES + 1))],
    "far too large a body": [post(b" " * (4 * MAX_BODY_BYTES))],
    "in two parts": [PLAIN[:HALF], PLAIN[HALF:]],
    "the head first": [PLAIN[: -len(IS_READY)], IS_READY],
    "half a head": [PLAIN[:20], PLAIN[20:]],
    "a body that never ends": [PLAIN[:HALF]],
    "three at once": [PLAIN * 3],
    "one and a half": [PLAIN + PLAIN[:HALF], PLAIN[HALF:]],
    "another door between": [PLAIN + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + PLAIN],
    "three in turn": [PLAIN, PLAIN, PLAIN],
    "chunks": [CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(IS_READY), IS_READY)],
    "chunks with a trailer": [CHUNKED + b"%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(IS_READY), IS_READY)],
    "bad chunks": [CHUNKED + b"zz\r\n"],
    "too many chunks": [CHUNKED + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 3 + b"0\r\n\r\n"],
    "length and chunks": [CHUNKED.replace(b"Host: x", b"Content-Length: 5") + b"0\r\n\r\n"],
    "two lengths": [PLAIN.replace(b"Host: x", b"Content-Length: 5")],
    "a length that is no number": [PLAIN.replace(b"Content-Length: ", b"Content-Length: x")],
    "the connection's last": [post(IS_READY, "Connection: close"), PLAIN],
    "HTTP/1.0": [post(IS_READY, version="1.0")],
    "HTTP/1.0 that goes on": [post(IS_READY, "Connection: keep-alive", version="1.0")],
    "an upgrade": [post(IS_READY, "Connection: upgrade", "Upgrade: h2c")],
    "a WebSocket": [post(b"", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")],
    "waits for 100": [post(IS_READY, "Expect: 100-continue")],
    "HEAD": [post(b"", method="HEAD")],
    "GET": [post(b"", method="GET")],
    "PUT": [post(IS_READY, method="PUT")],
    "a query": [post(IS_READY, path="/post?x=1")],
    "another path": [post(IS_READY, path="/post/")],
    "an escaped path": [post(IS_READY, path="/p%6fst")],
    "a whole address": [post(IS_READY, path="http://x/post")],
    "no HTTP": [b"hello\r\n\r\n"],
    "no HTTP behind it": [PLAIN + b"hello\r\n\r\n"],
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("parts", REQUESTS.values(), ids=REQUESTS.keys())
async def test_both_ways_answer_the_same(ways: tuple[Way, Way], parts: Sequence[bytes]) -> None:
    hot, ordinary = ways
    answers = await asyncio.gather(hot.said(parts), ordinary.said(parts))
    assert answers[0] == answers[1]


@pytest.mark.asyncio(loop_scope="module")
async def test_both_ways_end_the_connection_when_the_front_leaves(ways: tuple[Way, Way]) -> None:
    for way in ways:
        way.app.state.draining.closes_connections = True
    try:
        answers = await asyncio.gather(*(way.said([PLAIN, PLAIN]) for way in ways))
    finally:
        for way in ways:
            way.app.state.draining.closes_connections = False
    assert answers[0] == answers[1]
    assert answers[0].count(b"connection: close") == answers[0].count(b"HTTP/1.1") == 1


async def broken(*_: object, **__: object) -> None:
    raise RuntimeError("nobody expected this")


@pytest.mark.asyncio(loop_scope="module")
async def test_an_error_that_nobody_expected_is_answered_both_ways(
    ways: tuple[Way, Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in ways:
        monkeypatch.setattr(way.app.state.receiver, "check_ready", broken)
    answers = await asyncio.gather(*(way.said([PLAIN, PLAIN]) for way in ways))
    assert answers[0] == answers[1]
    assert answers[0].count(b"HTTP/1.1 500") == 2


@pytest.mark.asyncio(loop_scope="module")
async def test_a_connection_on_which_nothing_can_be_answered_ends(
    ways: tuple[Way, Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_posts, "reply", broken)
    assert await ways[0].said([PLAIN]) in {b"", b"reset"}


@pytest.mark.asyncio(loop_scope="module")
async def test_what_comes_behind_a_body_is_no_header(ways: tuple[Way, Way], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("front.limits.AddressLimits.admit_peer", lambda _, scope: str(told(scope["headers"])))
    monkeypatch.setattr("shared.receiving.receiver.Receiver.check_ready", where_from)
    body = CHUNKED + b"%x\r\n%b\r\n0\r\nX-Forwarded-For: 7.7.7.7\r\n\r\n" % (len(IS_READY), IS_READY)
    for way in ways:
        assert b"from 0 proxies" in await way.said([body])


def told(headers: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(name == b"x-forwarded-for" for name, _ in headers)


async def where_from(_receiver: object, _aa_address: object, origin: str) -> None:
    raise ReceivingError("told", f"from {origin} proxies")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_connection_asks_no_further_ahead_than_anybody_does(
    ways: tuple[Way, Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def waits(*_: object) -> None:
        await never.wait()

    for way in ways:
        monkeypatch.setattr(way.app.state.receiver, "check_ready", waits)
        within = await way.connection_after(PLAIN * MAX_PIPELINED)
        beyond = await way.connection_after(PLAIN * (MAX_PIPELINED + 3))
        assert (within, beyond) == ("open", "closed")
    never.set()


class Counted:
    """How many requests went the short way."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    run = hot_posts._HotCycle.run

    async def counting(cycle: hot_posts._HotCycle) -> None:
        counted.count += 1
        await run(cycle)

    monkeypatch.setattr(hot_posts._HotCycle, "run", counting)
    return counted


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "count"),
    [("a command", 1), ("three in turn", 3), ("three at once", 1), ("chunks", 1), ("in two parts", 0), ("HTTP/1.0", 0),
     ("waits for 100", 0), ("the connection's last", 0), ("too large a body", 0), ("a query", 0)],
)  # fmt: skip
async def test_only_whole_and_plain_requests_go_the_short_way(
    ways: tuple[Way, Way], short: Counted, name: str, count: int
) -> None:
    await ways[0].said(REQUESTS[name])
    assert short.count == count


@pytest.mark.asyncio(loop_scope="module")
async def test_what_stands_before_the_door_is_not_passed_by(ways: tuple[Way, Way], short: Counted) -> None:
    state = ways[0].app.state
    state.local_rpc_port = ways[0].port
    try:
        await ways[0].said([PLAIN])
    finally:
        state.local_rpc_port = None
    assert short.count == 0
