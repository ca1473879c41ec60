"""The receiver under test: an embedded Postgres as durable as in production, one front process, open channels."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import httpx
import psutil

from load_tests.bench.payers import DEPOSIT, RECEIVER, TIMEOUT_S, BenchPayer
from shared.settings import Settings, load_settings
from shared.store.migrations import migrate
from sluice.machine.embedded import EmbeddedServices
from sluice.machine.processes import Child, start_part

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

_READY_S = 30
_STOP_S = 25
_UNWATCHED_S = 86_400  # no ledger is followed here, so the watcher's silence must not stop the front

_NEVER_REACHED = 1_000_000


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """CPU seconds used so far by a process and its children, the dead ones included."""

    pid: int

    def seconds(self) -> float:
        """Return the sum over the whole tree of processes."""
        process = psutil.Process(self.pid)
        total = 0.0
        for one in [process, *process.children(recursive=True)]:
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        return total


@dataclass(frozen=True, slots=True)
class Machine:
    """What a round needs: where to send to, and whose CPU to read."""

    port: int
    bare_port: int
    front: CpuMeter
    postgres: CpuMeter
    dsn: str


@asynccontextmanager
async def machine(home: Path, payers: Sequence[BenchPayer]) -> AsyncIterator[Machine]:
    """Start everything, open the payers' channels, and stop everything at the end."""
    with ExitStack() as undo:
        port, bare_port = _free_port(), _free_port()
        wanted = load_settings(
            home=home, port=port, redis_url=None, log_level="error",
            min_channel_timeout_s=_UNWATCHED_S * 2, max_channel_timeout_s=_UNWATCHED_S * 2,
            default_channel_timeout_s=_UNWATCHED_S * 2, watcher_max_silence_s=_UNWATCHED_S,
            # Counted as always, and never reached: what is measured is what counting costs.
            limit_payments_per_channel=_NEVER_REACHED, limit_posts_per_address=_NEVER_REACHED,
        )  # fmt: skip
        services = EmbeddedServices(wanted)
        settings = undo.enter_context(services)
        postgres = next(child for child in services.children if child.name == "Postgres")
        await asyncio.to_thread(migrate, settings.database_dsn)
        await open_channels(settings.database_dsn, payers)
        front = undo.enter_context(_child("front", ["-m", "sluice.cli", "front", "--port", str(port)], settings))
        bare_words = ["-m", "uvicorn", "load_tests.bench.bare:app", "--port", str(bare_port), "--no-access-log"]
        bare = undo.enter_context(_child("bare", [*bare_words, "--log-level", "error"], settings))
        await _until_answers(port, "/readyz", front)
        await _until_answers(bare_port, "/", bare)
        yield Machine(port, bare_port, CpuMeter(front.pid), CpuMeter(postgres.pid), settings.database_dsn)


async def open_channels(dsn: str, payers: Sequence[BenchPayer]) -> None:
    """Write channels as the watcher would after a deposit of each payer became stable."""
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("INSERT INTO assets (asset) VALUES ('base') ON CONFLICT DO NOTHING")
        await conn.execute(
            "INSERT INTO instance (network, own_address, watcher_synced_at) VALUES ('devnet', $1, now())",
            RECEIVER.address,
        )
        await conn.executemany(
            """
            INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role,
                                  status, period, deposited_by_peer, last_event_id, definition_confirmed, is_watched)
            VALUES ($1, $2, $3, 'base', $4, $5, '1.1', 'A', 'open', 1, $6, 1, true, true)
            """,
            [
                (payer.aa_address, RECEIVER.address, payer.key.address, TIMEOUT_S, payer.salt, DEPOSIT)
                for payer in payers
            ],
        )
        await conn.execute("ANALYZE")
    finally:
        await conn.close()


@contextmanager
def _child(name: str, words: list[str], settings: Settings) -> Iterator[Child]:
    child = start_part(name, words, settings)
    try:
        yield child
    finally:
        child.stop(within_s=_STOP_S)


async def _until_answers(port: int, path: str, child: Child) -> None:
    deadline = time.monotonic() + _READY_S
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}{path}")
                if answer.status_code < 500:  # noqa: PLR2004 - anything but "not yet"
                    return
            except httpx.HTTPError:
                pass
            if child.exit_status is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{child.name} does not answer:\n{child.last_words(20)}")
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
