"""The worker as operators run it: `celery -A worker.app worker`, with a real Redis and a real Postgres."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from shared.bus import Bus, Doorbell
from shared.channels.model import Status
from shared.obyte.keys import generate_mnemonic, payment_key
from shared.obyte.keystore import create_keystore
from shared.settings import Settings, environment
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Redis
from tests.integration.worker import support
from tests.integration.worker.support import BOUND_S, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.worker.support import World

ROOT = Path(__file__).parents[3]
START_S = 80.0
"""How long a process may take to start, where many others do."""
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(world: World, database_url: str, redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    mnemonic = generate_mnemonic(bytes(16))
    settings = Settings(
        home=home,
        database_url=database_url,
        redis_url=redis_url,
        hub_url=world.devnet.url,
        lease_ttl_s=4,
        log_format="json",
    )
    create_keystore(settings.wallet_file, mnemonic, "passphrase")
    settings.wallet_passphrase_file.write_text("passphrase\n")
    monkeypatch.setattr(support, "OWN_KEY", payment_key(mnemonic))
    world.own.key = support.OWN_KEY
    world.fund(world.own)
    world.bus = Bus(redis_url)
    return settings


@contextmanager
def celery_worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, killed at the end if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--without-gossip", "--without-mingle"],
        cwd=ROOT,
        env=os.environ | environment(settings) | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(BOUND_S)


async def until_held(world: World, *, by_other_than: str | None = None) -> str:
    """Return who holds the lease."""

    async def look() -> str | None:
        async with world.database.connection() as conn:
            return await conn.fetchval(
                "SELECT holder FROM lease WHERE expires_at > clock_timestamp() AND holder IS DISTINCT FROM $1",
                by_other_than,
            )

    holder: str = await eventually(look, "a holder of the lease", bound_s=START_S)
    return holder


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, BOUND_S)


async def test_a_doorbell_runs_a_command_and_sigterm_ends_the_process_and_frees_the_lease(
    world: World, settings: Settings
) -> None:
    assert settings.broker_url is not None
    doorbell = Doorbell(settings.broker_url)
    with celery_worker(settings) as process:
        await until_held(world)
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 2_500)
        command_id = await world.order_close(peer)
        assert await doorbell.ring("sluice.run_command", command_id)
        command = await world.until_done(command_id)
        assert command.result == {"unit": world.triggers(peer, "close")[0]}

        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        assert time.monotonic() - started < 8
    async with world.database.connection() as conn:
        assert await conn.fetchval("SELECT expires_at = '-infinity' FROM lease")
    await doorbell.close()


async def test_a_worker_without_redis_works_and_stops(world: World, settings: Settings) -> None:
    away = settings.connected(redis_url="redis://127.0.0.1:1/0")
    with celery_worker(away) as process:
        await until_held(world)
        peer = await world.peer()
        await world.open(peer)
        command = await world.until_done(await world.order_close(peer))
        assert command.error is None
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


async def test_a_wallet_that_cannot_be_opened_ends_the_process_with_the_reason(
    world: World, settings: Settings
) -> None:
    settings.wallet_passphrase_file.write_text("wrong\n")
    with celery_worker(settings) as process:
        assert await ended(process) == os.EX_CONFIG


async def test_doorbells_wait_for_the_active_worker_and_follow_the_lease(world: World, settings: Settings) -> None:
    settings = settings.model_copy(update={"lease_ttl_s": 60})
    assert settings.broker_url is not None
    assert settings.redis_url is not None
    doorbell = Doorbell(settings.broker_url)
    with (
        celery_worker(settings) as one,
        celery_worker(settings) as two,
        redis.Redis.from_url(settings.redis_url.get_secret_value()) as client,
    ):

        async def is_heard() -> bool:
            return not client.llen("celery")

        async def stands_by() -> bool:
            return client.pubsub_numsub("sluice:lease")[0][1] == 1

        holder = await until_held(world)
        active, other = (one, two) if f"/{one.pid}/" in holder else (two, one)
        await eventually(stands_by, "the other's standing by", bound_s=START_S)
        assert await doorbell.ring("sluice.run_command", 1)
        await eventually(is_heard, "the active one's hearing it")

        active.send_signal(signal.SIGSTOP)
        try:
            # What the frozen one had asked Redis for is answered to it once more; the next ring stays where it is.
            await asyncio.sleep(1.5)
            rings = [await doorbell.ring("sluice.run_command", number) for number in (2, 3)]
            await asyncio.sleep(1.5)
            assert all(rings)
            assert client.llen("celery") >= 1
        finally:
            active.send_signal(signal.SIGCONT)
        await eventually(is_heard, "its hearing them when it is awake")

        started = time.monotonic()
        active.send_signal(signal.SIGTERM)
        await until_held(world, by_other_than=holder)
        assert time.monotonic() - started < 5  # long before the lease ends; measured by `load_tests.handover`
        assert await doorbell.ring("sluice.run_command", 4)
        await eventually(is_heard, "the next one's hearing it")
        assert await ended(active) == 0
        assert other.poll() is None
    await doorbell.close()


@pytest.mark.chaos
async def test_after_kill_9_another_process_goes_on_within_the_ttl(world: World, settings: Settings) -> None:
    with celery_worker(settings) as killed, celery_worker(settings) as other:
        holder = await until_held(world)
        active, standing_by = (killed, other) if f"/{killed.pid}/" in holder else (other, killed)
        peer = await world.peer()
        await world.open(peer)
        active.kill()
        started = time.monotonic()
        await until_held(world, by_other_than=holder)
        assert time.monotonic() - started < settings.lease_ttl_s * 2
        await world.until_done(await world.order_close(peer))
        assert standing_by.poll() is None


@pytest.mark.chaos
async def test_a_frozen_process_loses_the_lease_and_writes_nothing_when_it_wakes(
    world: World, settings: Settings
) -> None:
    with celery_worker(settings) as one, celery_worker(settings) as two:
        holder = await until_held(world)
        frozen = one if f"/{one.pid}/" in holder else two
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 3_000)
        frozen.send_signal(signal.SIGSTOP)
        await until_held(world, by_other_than=holder)
        peer.close(admits=1)
        frozen.send_signal(signal.SIGCONT)
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
        assert len(world.triggers(peer, "fraud_proof")) == 1
        assert await until_held(world, by_other_than=holder)


@pytest.mark.chaos
async def test_a_worker_that_loses_redis_works_on_and_hears_again_when_it_is_back(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    own_redis = Redis(socket_directory(tmp_path, Account().owner), tmp_path / "redis.log", Account())
    url = await asyncio.to_thread(own_redis.start)
    settings = settings.connected(redis_url=url)
    assert settings.broker_url is not None
    doorbell = Doorbell(settings.broker_url)
    try:
        with celery_worker(settings) as process:
            await until_held(world)
            one, two = await world.peer(1), await world.peer(2)
            await world.open(one)
            await world.open(two)
            await asyncio.to_thread(own_redis.stop)
            command = await world.until_done(await world.order_close(one, "while it is away"))
            assert command.error is None

            await asyncio.to_thread(own_redis.start)
            assert await doorbell.ring("sluice.run_command", await world.order_close(two, "when it is back"))
            with redis.Redis.from_url(url) as client:

                async def is_heard() -> bool:
                    return not client.llen("celery")

                await eventually(is_heard, "an empty queue")
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
    finally:
        await doorbell.close()
        await asyncio.to_thread(own_redis.stop)
