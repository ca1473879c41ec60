"""Growth: what a payment costs with millions on record, and what a front holds after a million of them."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil

from load_tests.bench.channels import fill
from load_tests.bench.client import Client, Job, request
from load_tests.bench.machine import Machine, Server
from load_tests.bench.measuring import Meter, RoundError
from load_tests.bench.payers import BenchPayer, random_bodies
from load_tests.bench.plans import PAID, Plan
from load_tests.bench.report import this_machine
from load_tests.bench.rows import Row, median_row
from load_tests.bench.running import Bar
from load_tests.bench.tables import SideReport
from load_tests.bench.targets import GROWTH_LIMIT, at_most
from load_tests.scaling.filling import PERIOD, fill_payments, make_months

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

MEMORY_LIMIT = 1.05

_SETTLED = 0.2
"""After this share of the payments what is kept is kept."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much is measured. `rows`: payments on record; `payments`: what one front takes while it is weighed."""

    rows: Sequence[int] = (0, 1_000_000, 5_000_000)
    payments: int = 1_000_000
    rounds: int = 3
    connections: int = 32
    count: int = 3_000
    """Payments of a round."""
    channels: int = 1_000
    weighed_payers: int = 10_000
    """More than any cache of the front holds."""
    part: int = 20_000
    """A front is weighed after each so many."""


def measure_growth(size: Growth, console: Console) -> SideReport:
    """Measure costs in rounds that take turns, then weigh a front. Raises RoundError."""
    on = this_machine()
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-growth-"))
        here = stack.enter_context(Machine(Path(home)))
        client = stack.enter_context(Client())
        bar = stack.enter_context(Bar(console))
        costs = _costs(here, client, size, bar)
        weighed = _memory(here, client, size, bar)
    base = costs[0]
    settled = [megabytes for count, megabytes in weighed if count >= _SETTLED * size.payments]
    found: list[dict[str, Any]] = [
        {
            "what": row.what,
            "payments_per_s": row.per_second,
            "front_us": row.front_us,
            "postgres_us": row.postgres_us,
            "log_bytes": row.wal_bytes,
            "cost_to_none": row.cpu_us / base.cpu_us,
            "front_mb": None,
        }
        for row in costs
    ]
    for count, megabytes in weighed:
        found.append(dict.fromkeys(found[0]) | {"what": f"a front after {count:,} payments", "front_mb": megabytes})
    held = [
        *at_most("cost per payment, most on record ÷ none", GROWTH_LIMIT, (row.cpu_us / base.cpu_us for row in costs)),
        *at_most("memory of a front at its most ÷ after a fifth", MEMORY_LIMIT, (m / settled[0] for m in settled)),
    ]
    return SideReport(f"Growth; {size.connections} payments at a time", on, found, held)


def _costs(here: Machine, client: Client, size: Growth, bar: Bar) -> list[Row]:
    rows = sorted(set(size.rows))
    bar.begin("payments on record", sum(rows) + max(rows))
    chance = random.Random(1)
    plans = []
    for place, count in [*(("payments", count) for count in rows), ("payments_archive", max(rows))]:
        payers = [BenchPayer(number, period=PERIOD + 1) for number in range(size.channels)]
        dsn = here.database(f"{place}_{count}")
        asyncio.run(_fill(dsn, payers, place, count, bar.advance))
        what = f"{count:,} in {place}"
        front = here.front(f"front-{place}-{count}", dsn)
        plans.append(Plan(what, size.connections, size.count, [front], _paying(payers, chance)))
    here.wait_ready()
    meter = Meter(here.postgres, client, dsn)
    found: dict[str, list[Row]] = defaultdict(list)
    bar.begin("rounds", (size.rounds + 1) * len(plans))
    for number in range(size.rounds + 1):
        for plan in chance.sample(plans, len(plans)):
            bar.tell(f"round {number} of {size.rounds}: {plan.what}")
            row = meter.measure(plan)
            if number:  # the first one warms
                found[plan.what].append(row)
    return [median_row(found[plan.what]) for plan in plans]


def _paying(payers: Sequence[BenchPayer], chance: random.Random) -> Callable[[int], Iterator[bytes]]:
    return lambda count: random_bodies(payers, count, chance)


async def _fill(dsn: str, payers: Sequence[BenchPayer], place: str, count: int, told: Callable[[int], object]) -> None:
    await fill(dsn, payers, len(payers), random.Random(count))
    conn = await asyncpg.connect(dsn, command_timeout=3_600)
    try:
        await conn.execute("UPDATE channels SET period = $1", PERIOD + 1)
        if place != "payments":
            await make_months(conn)
        await fill_payments(conn, place, [payer.aa_address for payer in payers], 0, count, told)
    finally:
        await conn.close()


def _memory(here: Machine, client: Client, size: Growth, bar: Bar) -> list[tuple[int, float]]:
    """Return how many MB a front had to itself after how many payments."""
    bar.begin("payers", 1)
    payers = [BenchPayer(number) for number in range(size.weighed_payers)]
    dsn = here.database("memory")
    asyncio.run(fill(dsn, payers, len(payers), random.Random(2)))
    front = here.front("front-memory", dsn)
    here.wait_ready()
    everybody = itertools.cycle(payers)
    weighed = []
    bar.begin("a front's memory", size.payments)
    made = _signed(everybody, min(size.part, size.payments))
    for done in range(0, size.payments, size.part):
        sent = len(made)
        client.start(Job([front.port], made, 4 * size.connections, PAID))
        client.go()
        # Signed while the client sends: nothing is timed here.
        made = _signed(everybody, min(size.part, size.payments - done - sent))
        answers = client.finish()
        if len(answers.good) != sent:
            raise RoundError(f"only {len(answers.good)} of {sent} payments were credited: {answers.example!r}")
        weighed.append((done + sent, _megabytes(front)))
        bar.advance(sent)
    every = max(1, len(weighed) // 10)
    return weighed[every - 1 :: every]


def _signed(everybody: Iterator[BenchPayer], count: int) -> list[bytes]:
    return [request(payer.next_body()) for payer in itertools.islice(everybody, count)]


def _megabytes(server: Server) -> float:
    root = psutil.Process(server.cpu.pid)
    return sum(process.memory_full_info().uss for process in [root, *root.children(recursive=True)]) / 1e6
