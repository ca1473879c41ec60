"""Both doors of JSON-RPC on real sockets, and clients as scripts write them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from websockets.asyncio.client import connect

from front.app import create_app
from tests.integration.payer.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from websockets.asyncio.client import ClientConnection

    from shared.settings import Settings

BOUND_S = 20.0
_numbers = itertools.count(1)


@dataclass
class Doors:
    """A front with both doors open."""

    app: FastAPI
    port: int
    local_port: int
    http: httpx.AsyncClient

    async def post(self, body: Any, *, local: bool = True, **headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.local_port if local else self.port}/{'' if local else 'rpc'}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(url, content=content, headers=named)

    async def call(self, method: str, *params: Any, **headers: str) -> Any:
        """Call without a key on loopback, and return the answer."""
        request = {"jsonrpc": "2.0", "id": next(_numbers), "method": method, "params": params}
        response = await self.post(request, **headers)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["id"] == request["id"]
        return answer

    async def result(self, method: str, *params: Any, **headers: str) -> Any:
        answer = await self.call(method, *params, **headers)
        assert "error" not in answer, answer
        return answer["result"]

    async def refusal(self, method: str, *params: Any, **headers: str) -> tuple[str, str | None]:
        """Message and stable code of the error."""
        error = (await self.call(method, *params, **headers))["error"]
        assert error["code"] in (-32603, -32601, -32600), error
        return error["message"], error.get("data", {}).get("code")

    def keyed(self, token: str) -> Keyed:
        return Keyed(self, token)

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        async with connect(f"ws://127.0.0.1:{self.local_port}/", proxy=None) as websocket:
            yield Socket(websocket)


@dataclass
class Keyed:
    """Calls through the front's own door."""

    doors: Doors
    token: str

    async def send(self, body: Any, **headers: str) -> httpx.Response:
        return await self.doors.post(body, local=False, authorization=f"Bearer {self.token}", **headers)

    async def call(self, method: str, params: Any, **members: Any) -> Any:
        response = await self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **members})
        assert response.status_code == 200, response.text
        return response.json()

    @contextlib.asynccontextmanager
    async def socket(self, **given: Any) -> AsyncIterator[Socket]:
        headers = given.pop("headers", {"authorization": f"Bearer {self.token}"})
        url = f"ws://127.0.0.1:{self.doors.port}/rpc"
        async with connect(url, additional_headers=headers, proxy=None, **given) as websocket:
            yield Socket(websocket)


@dataclass
class Socket:
    """A WebSocket whose answers and events are told apart as scripts do it."""

    websocket: ClientConnection
    events: list[tuple[str, list[Any]]] = field(default_factory=list)
    answers: dict[Any, Any] = field(default_factory=dict)

    async def hear(self) -> None:
        async with asyncio.timeout(BOUND_S):
            frame = json.loads(await self.websocket.recv())
        if "event" in frame:
            self.events.append((frame["event"], frame["data"]))
        else:
            self.answers[frame["id"]] = frame

    async def call(self, method: str, *params: Any, **members: Any) -> Any:
        number = next(_numbers)
        await self.websocket.send(
            json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params, **members})
        )
        while number not in self.answers:
            await self.hear()
        return self.answers.pop(number)

    async def event(self, name: str) -> list[Any]:
        """The next event of this name; others before it are forgotten."""
        while True:
            while self.events:
                found, data = self.events.pop(0)
                if found == name:
                    return data
            await self.hear()


@contextlib.asynccontextmanager
async def doors_of(settings: Settings) -> AsyncIterator[Doors]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, local_port = (listener.getsockname()[1] for listener in sockets)
    app = create_app(settings, local_rpc_port=local_port)
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]
    task = asyncio.create_task(server.serve(sockets=sockets))
    await eventually(lambda: server.started or task.done())
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            yield Doors(app, port, local_port, http)
    finally:
        app.state.feed.end()
        app.state.rpc.end()
        server.should_exit = True
        await task
