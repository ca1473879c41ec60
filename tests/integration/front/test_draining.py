"""A front that is told to stop: what balancers, requests under way, streams and sockets see of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.asyncio.client import connect

from front.server import stop_bound_s
from shared.channels.model import Status
from shared.settings import Settings
from shared.store.api_keys import Scope
from tests.integration.front.test_server import free_port, running, until_ready
from tests.receiving_support import Payer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.receiving_support import Worker

pytestmark = pytest.mark.slow

BOUND_S = 60.0
WAIT_S = 3.0
LONG_S = 120.0
"""A wait that no test waits for."""


@contextlib.asynccontextmanager
async def front(
    database_url: str, tmp_path: Path, wait_s: float, *, ready: bool = True
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    settings = Settings(database_url=database_url, port=port, home=tmp_path, log_format="json", drain_wait_s=wait_s)
    async with running(settings, [f"127.0.0.1:{port}"], tmp_path / "front.log") as process:
        if ready:
            async with httpx.AsyncClient(trust_env=False) as http:
                await until_ready(http, f"http://127.0.0.1:{port}")
        yield process, f"127.0.0.1:{port}"


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, BOUND_S)


async def until(reasons: list[str], http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(BOUND_S):
        while True:
            with contextlib.suppress(httpx.ConnectError):
                if (await http.get("/readyz")).json()["reasons"] == reasons:
                    return
            await asyncio.sleep(0.02)


async def test_it_starts_without_a_database_serves_and_leaves_in_order(
    database_url: str, worker: Worker, tmp_path: Path
) -> None:
    payer = Payer()
    await worker.open(payer)
    headers = {"authorization": f"Bearer {await worker.make_key(Scope.READ)}"}
    sockets = database_url.partition("?host=")[2]
    late = tmp_path / "run"
    url = database_url.replace(sockets, str(late))
    async with (
        front(url, tmp_path, WAIT_S, ready=False) as (process, address),
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=BOUND_S) as http,
    ):
        await until(["database_unavailable"], http)
        assert (await http.get("/readyz")).status_code == 503
        late.symlink_to(sockets)
        await until([], http)
        before = await http.get("/readyz")
        assert before.status_code == 200
        assert "connection" not in before.headers
        async with (
            connect(f"ws://{address}/v1/events", additional_headers=headers, proxy=None) as follower,
            connect(f"ws://{address}/rpc", additional_headers=headers, proxy=None) as caller,
            http.stream("GET", "/v1/events", headers=headers) as stream,
        ):
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 1000", "whoever reads comes back after a second, with his last id"
            process.send_signal(signal.SIGTERM)
            told_s = time.monotonic()
            await until(["draining"], http)
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "reasons": ["draining"]})
            assert (await http.get("/healthz")).status_code == 200, "a supervisor has no reason to kill it"
            command = {"command": "pay", "params": {"signed_package": payer.package(10, 10)}}
            paid = await http.post("/post", json=command)
            assert paid.json()["receipt"]["amount_spent"] == 10
            assert paid.headers["connection"] == "close"
            await caller.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getMyChannels", "params": []}))
            assert json.loads(await caller.recv())["id"] == 1, "sockets are served on, too"
            async with asyncio.timeout(BOUND_S):
                assert [line async for line in lines][-1] == "", "the answer ends in order"
                for websocket in (follower, caller):
                    await websocket.wait_closed()
                    assert (websocket.close_code, websocket.close_reason) == (1012, "stream_ended")
        assert await ended(process) == 0
        assert time.monotonic() - told_s >= WAIT_S


async def test_a_second_signal_ends_the_wait(database_url: str, worker: Worker, tmp_path: Path) -> None:
    async with (
        front(database_url, tmp_path, LONG_S) as (process, address),
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http,
    ):
        process.send_signal(signal.SIGTERM)
        await until(["draining"], http)
        told_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        assert time.monotonic() - told_s < LONG_S / 2


async def test_ctrl_c_waits_for_no_balancer(database_url: str, worker: Worker, tmp_path: Path) -> None:
    async with front(database_url, tmp_path, LONG_S) as (process, _):
        told_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert await ended(process) == 0
        assert time.monotonic() - told_s < LONG_S / 2


async def test_what_is_being_answered_is_answered_and_idle_connections_close(
    database_url: str, worker: Worker, tmp_path: Path
) -> None:
    payer = Payer()
    await worker.initialise()
    async with front(database_url, tmp_path, 0.0) as (process, address):
        host, _, port = address.partition(":")
        idle, idle_writer = await asyncio.open_connection(host, int(port))
        idle_writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await idle.readuntil(b"alive")
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=BOUND_S) as http:
            # A payment that waits for its funding: it comes when the front has long been told to stop.
            waiting = asyncio.create_task(
                http.post("/post", json={"command": "pay", "params": {"signed_package": payer.first_package(10, 10)}})
            )
            async with asyncio.timeout(BOUND_S):
                while not await _is_known(worker, payer):  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(BOUND_S):
                assert (await idle.read()).endswith(b"}"), "the idle connection ends, and nothing else is said on it"
            assert not waiting.done()
            await worker.change(
                payer, status=Status.OPEN, period=1, deposited_by_peer=1_000, definition_confirmed=True, last_event_id=1
            )
            answer = await waiting
        assert answer.json()["receipt"]["amount_spent"] == 10
        assert answer.headers["connection"] == "close"
        idle_writer.close()
        assert await ended(process) == 0


async def _is_known(worker: Worker, payer: Payer) -> bool:
    async with worker.database.connection() as conn:
        return bool(await conn.fetchval("SELECT count(*) FROM channels WHERE aa_address = $1", payer.channel))


async def test_what_waits_to_be_accepted_is_served_and_later_ones_are_refused(
    database_url: str, worker: Worker, tmp_path: Path
) -> None:
    """Fresh connections hammer a front without a balancer: each is answered, or refused before anything was sent."""
    async with front(database_url, tmp_path, 0.3) as (process, address):
        host, _, port = address.partition(":")
        lost: list[str] = []
        answered = 0

        async def knock() -> None:
            nonlocal answered
            while True:
                try:
                    reader, writer = await asyncio.open_connection(host, int(port))
                except ConnectionRefusedError:
                    return
                try:
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    await reader.readuntil(b"alive")
                    answered += 1
                except (OSError, EOFError) as error:
                    lost.append(repr(error))
                writer.close()

        knocking = [asyncio.create_task(knock()) for _ in range(40)]
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND_S):
            await asyncio.gather(*knocking)
        assert lost == []
        assert answered > 100
        assert await ended(process) == 0


async def test_serving_processes_are_replaced_without_the_front_leaving(
    database_url: str, worker: Worker, tmp_path: Path
) -> None:
    payer = Payer()
    await worker.open(payer)
    async with (
        front(database_url, tmp_path, 0.5) as (process, address),
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=BOUND_S) as http,
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=BOUND_S) as balancer,
    ):
        log = tmp_path / "front.log"
        process.send_signal(signal.SIGHUP)
        spent = 0
        async with asyncio.timeout(BOUND_S):
            while log.read_text().count("Application shutdown complete") < 1 or spent < 50:
                spent += 1
                answer = await http.post(
                    "/post", json={"command": "pay", "params": {"signed_package": payer.package(spent, 1)}}
                )
                assert answer.json()["receipt"]["amount_spent"] == spent
                assert (await balancer.get("/readyz")).status_code == 200, "a balancer is told nothing"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


def test_whoever_kills_waits_for_all_of_it() -> None:
    assert stop_bound_s(Settings(drain_wait_s=0)) < stop_bound_s(Settings(drain_wait_s=10)) == 35
