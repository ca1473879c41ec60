"""Fronts on real sockets, with a real worker behind them, and a client of their API."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from front.app import create_app
from shared.settings import Settings
from shared.store import api_keys
from shared.store.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.database import Database
    from tests.integration.worker.support import World

ALL_SCOPES = (Scope.READ, Scope.SPEND, Scope.ADMIN)


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """A front behind a real HTTP server; yields its URL."""
    config = uvicorn.Config(create_app(settings), port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - the server rings no bell
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def make_key(database: Database, *scopes: Scope) -> str:
    async with database.transaction() as conn:
        token, _ = await api_keys.create(conn, "test", scopes)
    return token


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = response.json()
    assert document["status"] == response.status_code
    assert document["detail"]
    return response.status_code, document["code"]


@dataclass
class Api:
    """Fronts of one installation, and somebody with a key. Requests go to one front after the other."""

    fronts: list[httpx.AsyncClient]
    token: str
    turn: int = 0

    async def send(
        self, method: str, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **given: Any
    ) -> httpx.Response:
        self.turn += 1
        front = self.fronts[self.turn % len(self.fronts)]
        allowed = {"authorization": f"Bearer {token or self.token}"}
        return await front.request(method, path, headers=allowed | (headers or {}), **given)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.send("GET", path, params=params)

    async def order(
        self, path: str, body: Any = None, *, method: str = "POST", key: str | None = None, wait: int | None = 10
    ) -> httpx.Response:
        headers = {} if key is None else {"idempotency-key": key}
        if wait is not None:
            headers["prefer"] = f"wait={wait}"
        return await self.send(method, f"/v1{path}", json=body, headers=headers)

    async def outcome(self, response: httpx.Response) -> dict[str, Any]:
        """Poll a command until its outcome is known."""
        assert response.status_code in (200, 202), response.text
        async with asyncio.timeout(20):
            while True:
                found = await self.get(response.headers["location"], wait=5)
                assert found.status_code == 200, found.text
                command: dict[str, Any] = found.json()
                if command["finished_at"] is not None:
                    return command


@contextlib.asynccontextmanager
async def api_of(world: World, *, fronts: int = 2) -> AsyncIterator[Api]:
    """Some fronts on the world's database, with no bus between them and the worker."""
    settings = Settings(database_url=world.database_url)
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(settings)) for _ in range(fronts)]
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in urls]
        yield Api(clients, await make_key(world.database, *ALL_SCOPES))
