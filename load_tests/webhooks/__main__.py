"""The measurement's command: `python -m load_tests.webhooks [--events 5000] [--channels 200] [--json FILE]`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from load_tests.bench.cpu import CpuMeter
from load_tests.webhooks.flood import latencies
from load_tests.webhooks.stage import LOOPBACK, Stage, percentile_ms, receiver
from shared.settings import load_settings
from shared.store import events, lease
from shared.store.database import Database, Role
from shared.store.events import EventKind, NewEvent
from shared.store.migrations import migrate
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.calling import Caller
from sluice.machine.embedded import EmbeddedServices
from worker.webhooks.terms import MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALLS_AT_ONCE = 16
_PAGE = 1_000
_BOUND_S = 600.0
_TICK_S = 0.005
_IDLE_S = 3.0
_TOLD = 300
"""Events of other channels whose latency is measured."""
_STATISTICS_S = 1.5
"""Postgres adds its statistics up once a second."""

# Statements of the measurement, not of the product.
_DELIVERED = "SELECT count(*) FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'delivered'"
_COMMITTED = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of load came to. CPU in µs per event, of the sender's process and of Postgres."""

    what: str
    channels: int
    events: int
    per_second: float
    transactions: float
    """Per event."""
    sender_us: float
    postgres_us: float
    lag_p50_ms: float
    lag_p99_ms: float
    lag_worst_ms: float
    """By how much the event loop is late, which the vault shares with the sender."""
    repeated: int


def main(
    events_: Annotated[int, typer.Option("--events", min=100, help="Events to send to one webhook.")] = 5_000,
    channels: Annotated[int, typer.Option(min=1, help="Channels that they belong to.")] = 200,
    flood: Annotated[int, typer.Option(min=1_000, help="Payments that one channel floods the others with.")] = 50_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Measure how many events per second one webhook is sent: over many channels, in one, and beside one that hangs.

    Then, how late events of other channels come while one channel has a flood of payments to tell of.

    The receiver is a process on loopback that takes everything at once. In the same run the bare calls are measured,
    without a database, as the measure of the machine.

    Example: python -m load_tests.webhooks --events 5000 --channels 200
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="sluice-webhooks-") as home, receiver() as url:
        report = asyncio.run(_measure(Path(home), url, events_, channels, flood))
    _show(report, console)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1) + "\n")


async def _measure(home: Path, url: str, count: int, channels: int, flood: int) -> dict[str, Any]:
    services = EmbeddedServices(load_settings(home=home, redis_url=None, log_level="error"))
    with services as settings:
        await asyncio.to_thread(migrate, settings.database_dsn)
        [server] = [child for child in services.children if child.name == "Postgres"]
        database = await Database.connect(settings.database_dsn, role=Role.WORKER, max_connections=MAX_CONNECTIONS)
        try:
            async with database.transaction() as conn:
                held = await lease.acquire(conn, "wallet", "measurement", ttl_s=86_400)
            if held is None:
                raise RuntimeError("a new database has a lease")
            stage = Stage(database, url, CpuMeter(server.pid), held)
            bare = await _bare_calls(stage, count)
            async with _lags() as lags:
                await asyncio.sleep(_IDLE_S)
            idle = {"p50": percentile_ms(lags, 0.5), "p99": percentile_ms(lags, 0.99)}
            rows = [
                await _round(stage, "many channels", count, channels),
                await _round(stage, "one channel", max(100, count // 5), 1),
                await _round(stage, "beside one hanging", count, channels, beside="/hangs"),
            ]
            quiet, flooded = await latencies(stage, count=_TOLD, flood=flood)
        finally:
            await database.close()
    return {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()},
        "bare_calls_per_second": bare,
        "lag_of_an_idle_loop_ms": idle,
        "rows": [asdict(row) for row in rows],
        "latencies": [asdict(quiet), asdict(flooded)],
        "ratios": {
            **{f"{row.what} to bare calls": row.per_second / bare for row in rows},
            "median latency beside a flood to quiet": flooded.p50_ms / quiet.p50_ms,
            "p99 of latency beside a flood to quiet": flooded.p99_ms / quiet.p99_ms,
        },
    }


async def _bare_calls(stage: Stage, count: int) -> float:
    """Return how many calls per second the sender's client can make when it does nothing else."""
    body = json.dumps({"id": "bare-1", "aa_address": "A" * 32, "data": _payment(1)}).encode()
    left = iter(range(count))

    async def post(caller: Caller) -> None:
        for _ in left:
            reply = await caller.post(f"{stage.receiver}/bare", body, {"content-type": "application/json"})
            if not reply.is_success:
                raise RuntimeError(f"the receiver answers {reply.status}")

    async with Caller(AddressGuard(LOOPBACK), max_connections=CALLS_AT_ONCE) as caller:
        began_s = time.monotonic()
        await asyncio.gather(*(post(caller) for _ in range(CALLS_AT_ONCE)))
        return count / (time.monotonic() - began_s)


async def _round(stage: Stage, what: str, count: int, channels: int, *, beside: str | None = None) -> Row:
    """Let events happen, then let them be sent. From the first message to the last outcome on record."""
    path = "/" + what.replace(" ", "-")
    numbers = await stage.begin(path, *([beside] if beside else []))
    await _happen(stage.database, count, channels)
    before = await _committed(stage.database)
    cpu_s, postgres_s, began_s = time.process_time(), stage.postgres.seconds(), time.monotonic()
    async with stage.sending(), _lags() as lags:
        await _until_done(stage.database, numbers[0], count)
    took_s = time.monotonic() - began_s
    cpu_s, postgres_s = time.process_time() - cpu_s, stage.postgres.seconds() - postgres_s
    transactions = await _committed(stage.database) - before
    tally = await stage.tally(path)
    if tally["taken"] - tally["repeated"] != count or tally["disordered"]:
        raise RuntimeError(f"{count} events were sent in order, and this came: {tally}")
    each_us = 1e6 / count
    return Row(
        what, channels, count, count / took_s, transactions / count, cpu_s * each_us, postgres_s * each_us,
        percentile_ms(lags, 0.5), percentile_ms(lags, 0.99), percentile_ms(lags, 1.0), tally["repeated"],
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _lags() -> AsyncIterator[list[float]]:
    """Note again and again by how many seconds the loop comes too late."""
    found: list[float] = []

    async def watch() -> None:
        while True:
            due_s = time.monotonic() + _TICK_S
            await asyncio.sleep(_TICK_S)
            found.append(time.monotonic() - due_s)

    task = asyncio.create_task(watch())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _happen(database: Database, count: int, channels: int) -> None:
    """Events as large as payments, the channels in turn."""
    names = [f"{number:A>32}" for number in range(channels)]
    for first in range(0, count, _PAGE):
        numbers = range(first, min(first + _PAGE, count))
        new = [NewEvent(EventKind.CHANNEL_REFILLED, names[n % channels], _payment(n)) for n in numbers]
        async with database.transaction() as conn:
            await events.add(conn, *new)


def _payment(number: int) -> dict[str, Any]:
    return {
        "payment_id": number,
        "amount": 600,
        "asset": "base",
        "period": 1,
        "amount_spent": 600 * number,
        "message": {"order": number},
    }


async def _until_done(database: Database, webhook_id: int, count: int) -> None:
    delivered = 0
    async with asyncio.timeout(_BOUND_S):
        while delivered < count:
            await asyncio.sleep(0.1)
            async with database.connection() as conn:
                delivered = await conn.fetchval(_DELIVERED, webhook_id)


async def _committed(database: Database) -> int:
    await asyncio.sleep(_STATISTICS_S)
    async with database.connection() as conn:
        return int(await conn.fetchval(_COMMITTED))


def _show(report: dict[str, Any], console: Console) -> None:
    table = Table(title="events to one webhook; per event: transactions, CPU in µs; lag of the loop in ms")
    names = "load", "channels", "events", "per s", "tx", "CPU", "PG CPU", "lag p50", "p99", "again"
    for name in names:
        table.add_column(name, justify="left" if name == "load" else "right", no_wrap=True)
    for row in report["rows"]:
        table.add_row(
            row["what"], str(row["channels"]), f"{row['events']:,}", f"{row['per_second']:,.0f}",
            f"{row['transactions']:.2f}", f"{row['sender_us']:,.0f}", f"{row['postgres_us']:,.0f}",
            f"{row['lag_p50_ms']:.1f}", f"{row['lag_p99_ms']:.1f}", str(row["repeated"]),
        )  # fmt: skip
    console.print(table)
    idle = report["lag_of_an_idle_loop_ms"]
    console.print(f"an idle loop on this machine lags by {idle['p50']:.1f} ms, p99 {idle['p99']:.1f} ms")
    console.print(f"bare calls, {CALLS_AT_ONCE} at a time: {report['bare_calls_per_second']:,.0f} per s")
    for row in report["latencies"]:
        console.print(
            f"from event to receiver, {row['what']}: {row['p50_ms']:.0f} ms, p99 {row['p99_ms']:.0f}, worst"
            f" {row['worst_ms']:.0f}; of the flood {row['flood_left']:,} are left"
        )
    for name, figure in report["ratios"].items():
        console.print(f"  {name:<40} {figure:.2f}")


if __name__ == "__main__":
    typer.run(main)
