"""The front as operators run it: gunicorn, its own processes, one shared port, stopped by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from front.server import FINISH_S
from shared.settings import Settings, environment
from shared.store.api_keys import Scope
from tests.receiving_support import Payer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.receiving_support import Worker

START_S = 60
SERVE = (
    "import sys; from front.server import serve; from shared.settings import load_settings; "
    "serve(load_settings(), binds=sys.argv[1:], reuse_port=True)"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def running(settings: Settings, binds: Sequence[str], log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [sys.executable, "-c", SERVE, *binds],
            env=inherited | environment(settings),
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # waits for no balancer
            await asyncio.to_thread(process.wait, START_S)


async def until_ready(http: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{url}/readyz")).is_success:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_two_fronts_share_a_port_and_stop_in_order(database_url: str, worker: Worker, tmp_path: Path) -> None:
    payer = Payer()
    await worker.open(payer)
    shared, *own = (free_port() for _ in range(3))
    settings = Settings(database_url=database_url, port=shared, log_format="json", drain_wait_s=0.2)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        fronts = []
        for port in own:
            binds = [f"127.0.0.1:{shared}", f"127.0.0.1:{port}"]
            fronts.append(await stack.enter_async_context(running(settings, binds, tmp_path / f"{port}.log")))
            await until_ready(http, f"http://127.0.0.1:{port}")
        for spent, port in enumerate([*own, shared, *own, shared], start=1):
            command = {"command": "pay", "params": {"signed_package": payer.package(spent, 1)}}
            response = await http.post(f"http://127.0.0.1:{port}/post", json=command)
            assert response.json()["receipt"]["amount_spent"] == spent
            assert "server" not in response.headers
        for front in fronts:
            front.send_signal(signal.SIGTERM)
        assert [await asyncio.to_thread(front.wait, START_S) for front in fronts] == [0, 0]
    for port in own:
        log = (tmp_path / f"{port}.log").read_text()
        assert "Application startup complete" in log
        assert "signed_message" not in log
        assert "Traceback" not in log


@pytest.mark.slow
def test_servers_find_the_application_by_name(database_url: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    done = subprocess.run(
        [sys.executable, "-c", "from front.asgi import app; print(app.title)"],
        env=inherited | environment(Settings(database_url=database_url)),
        capture_output=True,
        timeout=START_S,
        check=True,
        text=True,
    )
    assert done.stdout.strip() == "Sluice"


@pytest.mark.slow
async def test_open_streams_of_events_do_not_hold_up_a_front_that_stops(
    database_url: str, worker: Worker, tmp_path: Path
) -> None:
    port = free_port()
    settings = Settings(database_url=database_url, port=port, log_format="json", drain_wait_s=0.2)
    headers = {"authorization": f"Bearer {await worker.make_key(Scope.READ)}"}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=START_S) as http,
        running(settings, [f"127.0.0.1:{port}"], tmp_path / "front.log") as front,
    ):
        await until_ready(http, f"http://127.0.0.1:{port}")
        async with http.stream("GET", f"http://127.0.0.1:{port}/v1/events", headers=headers) as stream:
            lines = stream.aiter_lines()
            assert "retry" in await anext(lines)
            front.send_signal(signal.SIGTERM)
            async with asyncio.timeout(FINISH_S / 2):
                assert [line async for line in lines][-1] == "", "the stream ends in order, and long before the limit"
        assert await asyncio.to_thread(front.wait, START_S) == 0
