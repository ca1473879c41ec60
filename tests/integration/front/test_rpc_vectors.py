"""The door on loopback answers as the reference's RPC server does: its answers were recorded, and are replayed."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from websockets.asyncio.client import connect

from front.draining import Draining
from front.rpc.core import Method, Rpc
from front.rpc.errors import failed
from front.rpc.local import LocalDoor
from front.rpc.sockets import Places
from shared.store.events import Event
from tests.integration.sdk.support import serving
from tests.running import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rpc" / "rpcify.json").read_text())
HEADERS = ("content-type", "content-length", "access-control-allow-origin", "access-control-allow-headers", "allow")
BOUND_S = 10.0
QUIET_S = 0.15


@dataclass
class Stream:
    """A feed and its only follower: events of the stub functions."""

    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    @contextlib.asynccontextmanager
    async def follow(self) -> AsyncIterator[Stream]:
        yield self

    async def next(self, wait_s: float) -> Sequence[Event]:
        return [await self.events.get()]


def stubs(stream: Stream) -> dict[str, Method]:
    """The functions that the recorded server exposed."""

    async def fail(call: Any, value: Any) -> list[Any]:
        raise _said("aa_address not known")

    async def later(call: Any, value: Any) -> list[Any]:
        await asyncio.sleep(0.05)
        return [value]

    async def echo(call: Any, value: Any) -> list[Any]:
        return [value]

    async def two(call: Any, one: Any, other: Any) -> list[Any]:
        return [f"{one}:{other}"]

    async def emit(call: Any, name: str, arguments: list[Any]) -> list[Any]:
        if name == "payment_received":
            amount, asset, message, aa_address = arguments
            data = {"amount": amount, "asset": asset, "message": message}
            stream.events.put_nowait(Event(1, name, aa_address, data, datetime.now(UTC)))
        else:
            stream.events.put_nowait(Event(1, name, None, {}, datetime.now(UTC)))
        return ["emitted"]

    def always(*values: Any) -> Any:
        async def say(call: Any, value: Any) -> list[Any]:
            return list(values)

        return say

    async def several(call: Any, value: Any) -> list[Any]:
        return [{"aa": value}, None, "http"]

    one = {
        "echo": echo,
        "nothing": always(),
        "undef": always(None),
        "several": several,
        "fail": fail,
        "later": later,
        "zero": always(0),
        "no": always(False),
        "nul": always(None),
    }
    found = {name: Method(run, ("value",), ()) for name, run in one.items()}
    return found | {"two": Method(two, ("a", "b"), ()), "emit": Method(emit, ("name", "arguments"), ())}


def _said(text: str) -> Exception:
    error = failed(text, "said")
    error.data = {}
    return error


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    [port] = free_ports(1)
    app = Starlette()
    stream = Stream()
    nobody: Any = None
    app.state.rpc = Rpc(stubs(stream), nobody, nobody, nobody, nobody)
    app.state.rpc_places = Places()
    app.state.feed = stream
    app.state.draining = Draining()
    app.add_middleware(LocalDoor, port=port, secret="s" * 64)
    async with serving(app, port):
        yield port


def send(port: int, asked: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)
    with contextlib.closing(connection):
        body = asked["body"].encode()
        connection.putrequest(asked["verb"], asked["path"], skip_accept_encoding=True)
        for name, value in asked["headers"].items():
            connection.putheader(name, value)
        if body or asked["verb"] in ("POST", "PUT"):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        found = {name: response.headers[name] for name in HEADERS if name in response.headers}
        return {"status": response.status, "headers": found, "body": response.read().decode()}


@pytest.mark.parametrize("vector", VECTORS["http"], ids=lambda vector: vector["name"])
@pytest.mark.asyncio(loop_scope="module")
async def test_over_http(port: int, vector: dict[str, Any]) -> None:
    answer = await asyncio.to_thread(send, port, vector)
    assert answer == vector["answer"]


@pytest.mark.asyncio(loop_scope="module")
async def test_over_websocket(port: int) -> None:
    """All conversations at once: what takes long is being sure that nothing more comes."""
    said = await asyncio.gather(*(talk(port, vector["messages"]) for vector in VECTORS["websocket"]))
    for vector, answers in zip(VECTORS["websocket"], said, strict=True):
        events = [answer for answer in answers if "event" in json.loads(answer)]
        rest = [answer for answer in answers if answer not in events]
        expected = [answer for answer in vector["answers"] if "event" not in json.loads(answer)]
        assert rest == expected, vector["name"]
    told = [answer for answers in said for answer in answers if "event" in json.loads(answer)]
    recorded = [answer for vector in VECTORS["websocket"] for answer in vector["answers"] if "event" in answer[:8]]
    assert told == recorded


async def talk(port: int, messages: list[Any]) -> list[str]:
    answers: list[str] = []
    async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as websocket:
        for message in messages:
            await websocket.send(message if isinstance(message, str) else bytes.fromhex(message["hex"]))
            await asyncio.sleep(0.01)  # as it was recorded: answers of different messages must not overtake each other
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(QUIET_S):
                    answer = await websocket.recv()
                answers.append(answer if isinstance(answer, str) else answer.decode())
    return answers
