"""What writing payments costs with so many others on record: in `payments`, or moved to the archive."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import asyncpg

from load_tests.bench.channels import open_channels
from load_tests.bench.cpu import CpuMeter
from load_tests.bench.payers import BenchPayer
from load_tests.scaling.filling import MESSAGE, fill_payments, make_months
from shared.settings import load_settings
from shared.store import channels, payments
from shared.store.migrations import migrate
from shared.store.payments import NewPayment
from sluice.machine.embedded import EmbeddedServices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from shared.store.database import Connection

PAYERS = 200
BATCH = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one payment, in batches of `BATCH`, with `rows` others on record."""

    place: str
    """`payments` or `payments_archive`: where those others are."""
    rows: int
    postgres_us: float
    wall_us: float
    wal_bytes: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one payment on disk."""

    row: float
    indexes: float


async def measure(
    home: Path, sizes: Sequence[int], count: int, told: Callable[[str], None]
) -> tuple[list[Cost], Sizes]:
    """Write `count` payments with each number of others on record; first beside them, then with them archived."""
    settings = load_settings(home=home, redis_url=None, log_level="error")
    services = EmbeddedServices(settings)
    with services as settings:
        await asyncio.to_thread(migrate, settings.database_dsn)
        await open_channels(settings.database_dsn, [BenchPayer(number) for number in range(PAYERS)])
        postgres = next(child for child in services.children if child.name == "Postgres")
        conn = await asyncpg.connect(settings.database_dsn, command_timeout=600)
        try:
            writer = _Writer(conn, CpuMeter(postgres.pid))
            await writer.prepare()
            await writer.write(count // 4)  # caches and plans
            costs, filled = [], 0
            for rows in sizes:
                told(f"{rows:,} payments on record")
                await writer.fill("payments", filled, rows)
                filled = rows
                costs.append(await writer.cost("payments", rows, count))
            size = await writer.sizes()
            told(f"{filled:,} payments in the archive")
            await writer.archive_instead(filled)
            costs.append(await writer.cost("payments_archive", filled, count))
        finally:
            await conn.close()
    return costs, size


class _Writer:
    def __init__(self, conn: asyncpg.Connection[asyncpg.Record], cpu: CpuMeter) -> None:
        self._conn = conn
        self._cpu = cpu
        self._addresses: list[str] = []

    async def prepare(self) -> None:
        """Put the channels into a period of their own."""
        await self._conn.execute("UPDATE channels SET period = 2")
        self._addresses = [row[0] for row in await self._conn.fetch("SELECT aa_address FROM channels ORDER BY 1")]

    async def fill(self, table: str, already: int, rows: int) -> None:
        """Let there be so many payments of the earlier period."""
        await fill_payments(self._conn, table, self._addresses, already, rows)

    async def archive_instead(self, rows: int) -> None:
        """Have them in the archive, as if the worker had moved them long ago."""
        await make_months(self._conn)
        await self._conn.execute("TRUNCATE payments")
        await self.fill("payments_archive", 0, rows)

    async def write(self, count: int) -> None:
        """Write so many payments as fronts do, batch by batch."""
        for first in range(0, count, BATCH):
            await _batch(self._conn, self._addresses[first % PAYERS :][:BATCH])

    async def cost(self, place: str, rows: int, count: int) -> Cost:
        """Measure them."""
        before = await self._conn.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        written = await self._conn.fetchval("SELECT count(*) FROM payments WHERE period = 2")
        cpu_s, began_s = self._cpu.seconds(), time.perf_counter()
        await self.write(count)
        cpu_s, wall_s = self._cpu.seconds() - cpu_s, time.perf_counter() - began_s
        done = await self._conn.fetchval("SELECT count(*) FROM payments WHERE period = 2") - written
        wal = await self._conn.fetchval("SELECT (pg_current_wal_insert_lsn() - $1::text::pg_lsn)::float", before)
        return Cost(place, rows, cpu_s / done * 1e6, wall_s / done * 1e6, wal / done)

    async def sizes(self) -> Sizes:
        """What the payments on record take."""
        [row] = await self._conn.fetch(
            "SELECT count(*)::float AS n, pg_table_size('payments')::float AS rows,"
            "       pg_indexes_size('payments')::float AS indexes FROM payments"
        )
        return Sizes(row["rows"] / row["n"], row["indexes"] / row["n"])


async def _batch(conn: Connection, addresses: Sequence[str]) -> None:
    """Do what acceptance does with one payment on each of these channels."""
    async with conn.transaction():
        locked = await channels.lock(conn, addresses)
        after, new = [], []
        for address, found in locked.items():
            channel = found.channel
            total = channel.spent_by_peer + 1
            after.append(replace(channel, spent_by_peer=total, claim="c" * 700))
            new.append(NewPayment(address, 2, total, 1, MESSAGE))
        await payments.record_batch(conn, after, new)
