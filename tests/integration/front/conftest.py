from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from front.app import create_app
from shared.settings import Settings
from tests import receiving_support

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from shared.receiving.answers import OnPayment
    from tests.receiving_support import Worker


@dataclass
class Front:
    """One running front, spoken to through its application interface."""

    app: FastAPI
    http: httpx.AsyncClient

    async def command(self, command: str, params: Any, **envelope: Any) -> dict[str, Any]:
        """Send a command of the peer protocol and return the answer to a well-formed one."""
        response = await self.http.post("/post", json={"command": command, "params": params, **envelope})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def pay(self, package: Any, **params: Any) -> dict[str, Any]:
        return await self.command("pay", {"signed_package": package, **params})


@contextlib.asynccontextmanager
async def running_front(settings: Settings, *, on_payment: OnPayment | None = None) -> AsyncIterator[Front]:
    """A front that was started as a server would start it."""
    app = create_app(settings, on_payment=on_payment)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://front") as http,
    ):
        yield Front(app, http)


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Worker]:
    async with receiving_support.worker(database_url) as pen:
        yield pen


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, funding_wait_s=0.3)


@pytest.fixture
async def front(settings: Settings, worker: Worker) -> AsyncIterator[Front]:
    async with running_front(settings) as running:
        yield running
