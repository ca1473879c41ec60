"""Worker processes that are killed while a server takes its time: each event arrives, in its channel's order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from shared.obyte.keys import generate_mnemonic
from shared.obyte.keystore import create_keystore
from shared.settings import Settings, environment
from shared.store import events, webhooks
from shared.store.events import EventKind, NewEvent
from shared.webhooks import managing
from tests.integration.webhooks.support import CHANNELS, LOOPBACK, Answer, Receiver, Request, until
from tests.integration.worker.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.worker.support import World

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
EVENTS = 12
START_S = 40.0
"""A worker takes its time to start on a busy machine."""


@contextmanager
def worker_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--without-gossip", "--without-mingle"],
        cwd=ROOT,
        env=os.environ | environment(settings) | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


async def test_after_kill_9_in_the_middle_of_calls_each_event_arrives_in_its_order(
    world: World, database_url: str, home: Path
) -> None:
    settings = Settings(
        home=home,
        database_url=database_url,
        redis_url="redis://127.0.0.1:1/0",
        hub_url=world.devnet.url,
        lease_ttl_s=2,
        webhook_allowed_networks=",".join(LOOPBACK),
    )
    create_keystore(settings.wallet_file, generate_mnemonic(bytes(16)), "passphrase")
    settings.wallet_passphrase_file.write_text("passphrase\n")

    async def has_signer() -> bool:
        async with world.database.connection() as conn:
            return await webhooks.signer(conn) is not None

    def stalls_now_and_then(request: Request) -> Answer:
        return Answer(stalls=len(receiver.requests) in (3, 8))

    async with Receiver(stalls_now_and_then).listening() as receiver:
        with worker_process(settings) as first:
            await eventually(has_signer, "a worker that has said who signs")
            made = await managing.make(
                world.database,
                managing.Wish(receiver.url, types=(EventKind.CHANNEL_REFILLED.value,)),
                at_most=20,
                random_bytes=lambda count: bytes(range(count)),
            )
            for number in range(EVENTS):
                for channel in CHANNELS:
                    async with world.database.transaction() as conn:
                        await events.add(conn, NewEvent(EventKind.CHANNEL_REFILLED, channel, {"amount": number}))
            await until(lambda: len(receiver.requests) >= 3, bound_s=START_S)
            first.send_signal(signal.SIGKILL)
            await asyncio.to_thread(first.wait, 20)
        with worker_process(settings) as second:
            await until(lambda: len(receiver.requests) >= 8, bound_s=START_S)
            second.send_signal(signal.SIGKILL)
            await asyncio.to_thread(second.wait, 20)
        with worker_process(settings):
            await until(lambda: len(set(receiver.events)) == len(CHANNELS) * EVENTS, bound_s=START_S)

    assert made.secret is not None
    for request in receiver.requests:
        Webhook(made.secret.text).verify(request.body.decode(), request.headers)
    for channel in CHANNELS:
        numbers = [number for of, number in receiver.events if of == channel]
        # One that is repeated comes before any later one: nobody has heard yet that it was taken.
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(EVENTS))
