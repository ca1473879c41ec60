"""Fronts as processes, behind nginx or not, on a database without a worker: what rolls and fail-overs do to requests.

The channels are those of `load_tests.bench.payers`; payments are signed as they are sent, and never retried.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from infra.topology import Front, Hands, Nginx, free_ports
from load_tests.bench.channels import open_channels
from load_tests.bench.payers import BenchPayer
from load_tests.raw import RawLoad
from shared.settings import load_settings
from sluice.machine.account import Account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from shared.settings import Settings

GOOD = b'{"response"'


@dataclass
class Fronts:
    """Fronts that are ready, and nginx before them if it was asked for."""

    fronts: list[Front]
    nginx: Nginx | None
    settings: Settings
    payers: list[BenchPayer]

    @property
    def port(self) -> int:
        """Where to send to: nginx, or the first front."""
        url = self.nginx.url if self.nginx is not None else self.fronts[0].url
        return int(url.rpartition(":")[2].rstrip("/"))

    def load(self, **options: Any) -> RawLoad:
        """Payments of every payer, one connection each."""
        given = {"expect": GOOD, **options}
        return RawLoad("127.0.0.1", given.pop("port", self.port), [payments(each) for each in self.payers], **given)


def payments(payer: BenchPayer) -> Iterator[bytes]:
    """One payment after the other, signed when it is asked for."""
    while True:
        yield payer.next_body()


@contextlib.asynccontextmanager
async def front_processes(
    home: Path,
    database_url: str,
    *,
    count: int = 3,
    payers: int = 8,
    behind_nginx: bool = True,
    words: Sequence[str] = (),
    channels_in: str | None = None,
    **settings: Any,
) -> AsyncIterator[Fronts]:
    """Start them on a migrated database, with an open channel for each payer. `words`: further ones for each front.

    `channels_in`: an administrator's URL, where the fronts' own login may not make channels up.
    """
    given = {"limit_payments_per_channel": 0, "limit_posts_per_address": 0, "bind_host": "127.0.0.1", **settings}
    shared = load_settings(home=home, database_url=database_url, redis_url=None, **given)
    known = [BenchPayer(number) for number in range(payers)]
    await open_channels(channels_in or database_url, known)
    hands, ports, account = Hands(), free_ports(), Account()
    home.mkdir(mode=0o711, exist_ok=True)  # noqa: ASYNC240 - local and at once
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(hands.close)
        fronts = [Front(f"front-{number}", next(ports), shared, hands, words=words) for number in range(1, count + 1)]
        for front in fronts:
            stack.push_async_callback(front.stop)
            await front.start(ready=False)
        for front in fronts:
            await front.wait_ready()
        nginx = None
        if behind_nginx:
            addresses = [front.address for front in fronts]
            nginx = Nginx(home / "nginx", (next(ports), next(ports)), addresses, account, hands)
            stack.push_async_callback(nginx.stop)
            await nginx.start()
        yield Fronts(fronts, nginx, shared, known)


async def receipts_in(database_url: str) -> int:
    """How many payments are on record."""
    conn = await asyncpg.connect(database_url)
    try:
        return int(await conn.fetchval("SELECT count(*) FROM payments"))
    finally:
        await conn.close()
