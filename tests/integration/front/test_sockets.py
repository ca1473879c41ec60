"""The front behind a real HTTP server on loopback: what only a socket can show."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn

from front.app import create_app
from tests.receiving_support import Payer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.settings import Settings
    from tests.receiving_support import Worker


@pytest.fixture
async def port(settings: Settings, worker: Worker) -> AsyncIterator[int]:
    await worker.open(Payer())
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - the server rings no bell
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, object]]:
    """Send a request in parts and return the status and the JSON of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        for part in parts:
            writer.write(part)
            await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


def head(*fields: str) -> bytes:
    return "\r\n".join(["POST /post HTTP/1.1", "host: front", *fields, "", ""]).encode()


async def test_a_payment_over_a_real_connection(port: int) -> None:
    payer = Payer()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        for spent in (10, 20, 30):
            command = {"command": "pay", "params": {"signed_package": payer.package(spent, 10)}}
            answer = (await http.post("/post", json=command)).json()
            assert answer["receipt"]["amount_spent"] == spent


async def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(port: int) -> None:
    status, answer = await exchange(port, head("content-length: 65537"))
    assert (status, answer["code"]) == (413, "body_too_large")


async def test_a_body_of_absurd_declared_length_is_refused(port: int) -> None:
    status, answer = await exchange(port, head("content-length: 99999999999999"))
    assert (status, answer["code"]) == (413, "body_too_large")


async def test_a_streamed_body_is_refused_as_soon_as_it_exceeds_the_limit(port: int) -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    status, answer = await exchange(port, head("transfer-encoding: chunked"), *[chunk] * 5)
    assert (status, answer["code"]) == (413, "body_too_large")


async def test_a_streamed_body_within_the_limit_is_read_whole(port: int) -> None:
    body = json.dumps({"command": "pay", "params": {"signed_package": Payer().package(10, 10)}}).encode()
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:])]
    status, answer = await exchange(port, head("transfer-encoding: chunked"), *chunks, b"0\r\n\r\n")
    assert status == 200
    assert "receipt" in answer


async def test_a_largest_body_is_still_read(port: int) -> None:
    body = b'{"command":"pay","params":null}'.ljust(65_536)
    status, answer = await exchange(port, head(f"content-length: {len(body)}"), body)
    assert (status, answer["error"]) == (200, "No params")


async def test_a_client_that_hangs_up_in_mid_body_harms_nobody(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head("content-length: 500") + b'{"command":')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    status, _ = await exchange(port, head("content-length: 2"), b"{}")
    assert status == 400
