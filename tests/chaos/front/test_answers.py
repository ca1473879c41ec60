"""A front that is killed after a payment was committed, while the application is thinking about its answer."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.settings import Settings
from shared.webhooks.signing import Secret
from tests.http_servers import LOOPBACK, Asked, http_server, reply
from tests.integration.front.conftest import running_front, worker
from tests.receiving_support import Payer
from tests.running import free_ports, variables_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.receiving_support import Worker

__all__ = ["worker"]

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

BOUND_S = 60


@asynccontextmanager
async def _front_process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    words = ["-m", "uvicorn", "front.asgi:app", "--port", str(settings.port), "--log-level", "error"]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, env=variables_of(settings))
    try:
        async with asyncio.timeout(BOUND_S), httpx.AsyncClient(base_url=settings.local_url) as http:
            while True:
                try:
                    await http.get("healthz")
                    break
                except httpx.ConnectError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_b04_after_kill_9_the_next_front_asks_again_under_the_same_id_and_credits_nothing_twice(
    database_url: str, tmp_path: Path, worker: Worker
) -> None:
    payer = Payer()
    await worker.open(payer)
    (tmp_path / "answer.secret").write_text(Secret(b"s" * 32).text)
    thinking = asyncio.Event()

    async def answer(_: Asked) -> bytes:
        if not thinking.is_set():
            thinking.set()
            await asyncio.sleep(BOUND_S)
        return reply(b'{"ticket": 1}')

    async with http_server(answer) as application:
        settings = Settings(
            home=tmp_path,
            database_url=database_url,
            port=free_ports(1)[0],
            answer_url=application.url,
            answer_timeout_s=8,
            webhook_allowed_networks=LOOPBACK,
        )
        command = {"command": "pay", "params": {"signed_package": payer.package(1000, 600), "message": "mine"}}
        async with _front_process(settings) as process, httpx.AsyncClient(timeout=BOUND_S) as http:
            paying = asyncio.create_task(http.post(f"{settings.local_url}post", json=command))
            await asyncio.wait_for(thinking.wait(), BOUND_S)
            process.kill()
            with pytest.raises(httpx.HTTPError):
                await paying
        async with running_front(settings) as other:
            again = await other.pay(payer.package(1000, 600))
    assert (again["response"], again["receipt"]["duplicate"]) == ({"ticket": 1}, True)
    first, second = application.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert (await worker.read(payer)).spent_by_peer == 1000
