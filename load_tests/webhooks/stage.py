"""Where webhooks are measured: a database, a receiver in a process of its own, and the worker's sender in this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from shared.bus import Bus
from shared.obyte.keys import KeyPair
from shared.sealing import seal
from shared.store import events, webhooks
from shared.store.webhooks import NewWebhook
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.signing import new_secret
from worker.alarms import Alarms
from worker.guard import Guard
from worker.webhooks.terms import WebhookTerms, reader_of
from worker.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from load_tests.bench.cpu import CpuMeter
    from shared.store.database import Database
    from shared.store.lease import Lease

LOOPBACK = ("127.0.0.0/8",)
KEY = KeyPair(bytes(31) + b"\x01")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it is measured. `receiver`: its URL without a path."""

    database: Database
    receiver: str
    postgres: CpuMeter
    held: Lease

    @property
    def terms(self) -> WebhookTerms:
        """What the sender works with."""
        return WebhookTerms(self.database, AddressGuard(LOOPBACK), reader_of(KEY))

    async def begin(self, *paths: str) -> list[int]:
        """Have these webhooks and no others, for what happens from now on; return their numbers."""
        numbers = []
        key = self.terms.reader.public_key
        async with self.database.transaction() as conn:
            await conn.execute("DELETE FROM webhooks")
            await webhooks.declare_signer(conn, key)
            position = await events.newest_id(conn)
            for path in paths:
                new = NewWebhook(self.receiver + path, "", None, position, seal(new_secret(os.urandom).text, key))
                made, _ = await webhooks.create(conn, new, at_most=20)
                numbers.append(made)
        return numbers

    async def tally(self, path: str) -> dict[str, Any]:
        """Return what has come to a path so far."""
        async with httpx.AsyncClient(trust_env=False) as client:
            found: dict[str, Any] = (await client.get(self.receiver + path)).json()
        return found

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[Bus]:
        """Send; yield the bus that is to be rung when something has happened."""
        bus = Bus(None)
        sender = Webhooks(
            self.held,
            self.terms,
            bus,
            Alarms(Guard(self.database, self.held)),
            clock=time.time,
            monotonic=time.monotonic,
            jitter=random.random,
        )
        task = asyncio.create_task(sender.run())
        try:
            yield bus
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await bus.close()


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """Run a receiver; yield its URL without a path."""
    process = subprocess.Popen(
        [sys.executable, "-m", "load_tests.webhooks.receiver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the receiver has no pipes")
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Return what this share of times is at most, in ms."""
    return 1_000 * sorted(seconds)[int(share * (len(seconds) - 1))]
