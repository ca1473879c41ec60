"""What one process commits is heard by who follows another one: at once through Redis, and soon without it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.bus import Bus
from shared.channels.model import Status
from shared.events.feed import POLL_S, Feed
from shared.obyte.keys import generate_mnemonic, payment_key
from shared.obyte.keystore import create_keystore
from shared.settings import Settings
from shared.store import commands
from shared.store.api_keys import Scope
from shared.store.database import Database, Role
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Redis
from tests import receiving_support
from tests.integration.front.conftest import running_front
from tests.integration.front.test_bus_over_redis import until_heard
from tests.integration.front.test_server import running, until_ready
from tests.receiving_support import Payer
from tests.running import free_ports, variables_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from shared.events.feed import Follower
    from shared.store.events import Event
    from tests.receiving_support import Worker

BOUND_S = 20.0
NEVER_S = 3_600.0


# ------------------------------------------------------------------------------------------ each kind rings by itself


@pytest.fixture
async def elsewhere(database_url: str, redis_url: str) -> AsyncIterator[Feed]:
    """The feed of another process, which looks at the database only when the bus has told it to."""
    database = await Database.connect(database_url, role=Role.FRONT)
    bus = Bus(redis_url)
    feed = Feed(database, bus, poll_s=NEVER_S)
    yield feed
    await feed.close()
    await bus.close()
    await database.close()


async def one(follower: Follower) -> Event:
    async with asyncio.timeout(BOUND_S):
        while not (found := await follower.next(NEVER_S)):
            pass
    [event] = found
    return event


async def test_what_a_front_commits_is_told_to_other_fronts(
    elsewhere: Feed, database_url: str, redis_url: str, worker: Worker
) -> None:
    payer = Payer()
    settings = Settings(database_url=database_url, redis_url=redis_url)
    async with elsewhere.follow() as follower, running_front(settings) as front:
        await until_heard(elsewhere._bus, "payment")
        await until_heard(elsewhere._bus, "channel_changed")
        await until_heard(elsewhere._bus, "event")
        await front.command("create_channel", payer.parameters)
        assert (await one(follower)).kind == "channel_created_by_peer"
        await worker.change(payer, status=Status.OPEN, period=1, deposited_by_peer=100, definition_confirmed=True)
        assert "error" not in await front.pay(payer.package(60, 60))
        assert (await one(follower)).kind == "payment_received"
        assert (await front.pay(payer.package(160, 100)))["code"] == "not_funded"
        refused = await one(follower)
        assert (refused.kind, refused.data["code"]) == ("payment_refused", "not_funded")


# ------------------------------------------------------------------------------------------------ and in real processes


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that a test may stop."""
    server = Redis(socket_directory(tmp_path, Account().owner), tmp_path / "redis.log", Account())
    server.start()
    yield server
    server.stop()


@contextlib.contextmanager
def worker_process(settings: Settings, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        words = [sys.executable, "-m", "sluice.cli", "worker"]
        process = subprocess.Popen(words, env=variables_of(settings), stdout=output, stderr=output)
    try:
        yield
    finally:
        process.kill()
        process.wait(BOUND_S)


class Listener:
    """Somebody who follows the events of one front."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        async with asyncio.timeout(BOUND_S):
            async for line in self._lines:
                if line.startswith("data:") and (told := json.loads(line[5:]))["type"] == kind:
                    event: dict[str, Any] = told
                    return event
        raise EOFError


@pytest.mark.slow
async def test_two_fronts_and_a_worker_tell_each_other_with_redis_and_without(
    database_url: str, home: Path, tmp_path: Path, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnemonic = generate_mnemonic(bytes(16))
    monkeypatch.setattr(receiving_support, "OWN", payment_key(mnemonic))
    *ports, nobody = free_ports(3)
    settings = Settings(
        home=home, database_url=database_url, redis_url=own_redis.url, hub_url=f"ws://127.0.0.1:{nobody}"
    )
    create_keystore(settings.wallet_file, mnemonic, "passphrase")
    settings.wallet_passphrase_file.write_text("passphrase\n")
    payer = Payer()
    async with contextlib.AsyncExitStack() as stack:
        pen = await stack.enter_async_context(receiving_support.worker(database_url))
        await pen.open(payer)
        stack.enter_context(worker_process(settings, tmp_path / "worker.log"))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for port in ports:
            log = tmp_path / f"{port}.log"
            await stack.enter_async_context(running(settings, [f"127.0.0.1:{port}"], log))
        key = await pen.make_key(Scope.READ, Scope.SPEND)
        http = await stack.enter_async_context(
            httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=BOUND_S, trust_env=False)
        )
        here, there = urls
        for url in urls:
            await until_ready(http, url)
        stream = await stack.enter_async_context(http.stream("GET", f"{there}/v1/events"))
        listener = Listener(stream)
        await listener.next("aa_channels_ready")

        async def told_after_s(spent: int) -> float:
            """Pay at one front; how long until the other one tells it."""
            body = {"command": "pay", "params": {"signed_package": payer.package(spent, 1)}}
            response = await http.post(f"{here}/post", json=body)
            assert "error" not in response.json(), response.text
            paid_s = time.monotonic()
            event = await listener.next("payment_received")
            assert event["data"]["amount_spent"] == spent
            return time.monotonic() - paid_s

        await told_after_s(1)
        # Whoever only polled would hear of each payment a whole interval after the one before.
        assert min([await told_after_s(spent) for spent in range(2, 8)]) < POLL_S / 2
        order = await http.post(f"{here}/v1/channels/{payer.channel}/payments", json={"amount": 5})
        failed = await listener.next("command_failed")
        assert failed["data"]["command_id"] == order.json()["id"]

        await asyncio.to_thread(own_redis.stop)
        await told_after_s(8)
        async with pen.database.transaction() as conn:  # no front takes orders without Redis
            queued = await commands.insert(conn, "pay", {"amount": 5}, idempotency_key="k", aa_address=payer.channel)
        failed = await listener.next("command_failed")
        assert failed["data"]["command_id"] == queued.id
