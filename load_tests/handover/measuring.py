"""Taking the active worker away, and looking at the database's clockwork until another one works."""

from __future__ import annotations

import asyncio
import math
import signal
import statistics
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from infra.topology import Topology
from shared.obyte.keys import payment_key
from sluice.payer import Payer, PayerError

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from infra.topology import Worker
    from sluice.payer import PayerChannel

BOUND_S = 120.0
AT_AN_UPGRADE_S = 1.0
"""How long the receiver may be without an active worker at an upgrade; at a crash it is the lease's time and this."""
_LOOK_S = 0.005
_SETTLES_S = 2.0
_MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
_STATE = """
    SELECT l.term, l.holder, l.expires_at > clock_timestamp() AS is_held, i.watcher_synced_at AS in_step_at,
           clock_timestamp() AS now
      FROM lease l, instance i WHERE l.name = 'wallet'
"""


@dataclass(frozen=True, slots=True)
class Handover:
    """One of them; seconds since the signal."""

    kind: str
    taken_s: float
    in_step_s: float
    ended_s: float


@dataclass(slots=True)
class Report:
    """What was measured."""

    ttl_s: float
    handovers: list[Handover] = field(default_factory=list)
    payments: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Payments that their payer gave up after his retries, by the code of the error."""
    slowest_payment_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether nothing failed and no hand-over took longer than it may."""
        worst_upgrade, worst_crash = self.figures("upgrade", "taken_s")[1], self.figures("crash", "taken_s")[1]
        return (
            not self.failures
            and not worst_upgrade > AT_AN_UPGRADE_S
            and not worst_crash > self.ttl_s + AT_AN_UPGRADE_S
            and self.payments > 0
        )

    def count(self, kind: str) -> int:
        """Return how many hand-overs of a kind there were."""
        return sum(done.kind == kind for done in self.handovers)

    def figures(self, kind: str, name: str) -> tuple[float, float]:
        """Return the median and the worst of a kind; NaN when there was none."""
        values = [getattr(done, name) for done in self.handovers if done.kind == kind]
        return (statistics.median(values), max(values)) if values else (math.nan, math.nan)


async def measure(
    home: Path,
    kinds: Sequence[str],
    *,
    channels: int,
    ttl_s: float,
    chance: random.Random,
    tell: Callable[[int, Handover], None],
) -> Report:
    """Run the topology and hand over once for each of `kinds` ("upgrade" or "crash")."""
    report = Report(ttl_s)
    async with Topology(home, fronts=2, workers=2, stabilise_after_s=0.2, overrides={"lease_ttl_s": ttl_s}) as topology:
        books = await asyncpg.connect(topology.postgres.url())
        try:
            async with _payments(topology, home / "payer", channels, report):
                for number, kind in enumerate(kinds, 1):
                    # A crash comes at any moment between two renewals of the lease.
                    await asyncio.sleep(_SETTLES_S + chance.random() * ttl_s / 4)
                    done = await _hand_over(topology, books, kind)
                    report.handovers.append(done)
                    tell(number, done)
        finally:
            await books.close()
    return report


async def _hand_over(topology: Topology, books: asyncpg.Connection[asyncpg.Record], kind: str) -> Handover:
    before = await _until(books, lambda now: now["is_held"])
    active = await topology.active_worker()
    began_s = time.monotonic()
    gone = asyncio.create_task(_take_away(active, kind))
    taken = await _until(books, lambda now: now["term"] > before["term"] and now["is_held"])
    taken_s = time.monotonic() - began_s
    await _until(books, lambda now: now["in_step_at"] is not None and now["in_step_at"] > taken["now"])
    in_step_s = time.monotonic() - began_s
    await gone
    ended_s = time.monotonic() - began_s
    await active.start()
    return Handover(kind, taken_s, in_step_s, ended_s)


async def _take_away(worker: Worker, kind: str) -> None:
    if kind == "crash":
        worker.kill()
    elif not await worker.stop(signal.SIGTERM):
        raise AssertionError(f"{worker.name} did not stop when it was asked to")


async def _until(books: asyncpg.Connection[asyncpg.Record], is_so: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(BOUND_S):
        while True:
            now = await books.fetchrow(_STATE)
            if now is not None and is_so(now):
                return now
            await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _payments(topology: Topology, home: Path, count: int, report: Report) -> AsyncIterator[None]:
    """Pay through some channels all the time, one payment after the other through each."""
    await topology.fund(payment_key(_MNEMONIC).address, 1_000_000_000)
    async with Payer.open(home, hub_url=topology.ledger.url, network="devnet", mnemonic=_MNEMONIC) as payer:
        channels = [await payer.open_channel(topology.url, 10_000_000) for _ in range(count)]
        for channel in channels:
            await channel.wait_open(BOUND_S)
        ending = asyncio.Event()
        paying = [asyncio.create_task(_pay(channel, ending, report)) for channel in channels]
        try:
            yield
        finally:
            ending.set()
            await asyncio.gather(*paying)


async def _pay(channel: PayerChannel, ending: asyncio.Event, report: Report) -> None:
    while not ending.is_set():
        began_s = time.monotonic()
        try:
            await channel.pay(10)
            report.payments += 1
        except PayerError as error:
            report.failures[error.code] += 1
        report.slowest_payment_s = max(report.slowest_payment_s, time.monotonic() - began_s)
        await asyncio.sleep(0.02)
