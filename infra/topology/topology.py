"""All parts together, started in order, stopped by their own handles."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from infra.topology.edge import Nginx, nginx_program
from infra.topology.parts import START_BOUND_S, Front, Hands, Part, PartError, Worker
from infra.topology.servers import LedgerServer, PostgresServer, RedisServer
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET
from shared.settings import load_settings
from shared.store.migrations import migrate
from sluice.home import HomeLock, socket_directory
from sluice.machine.account import Account
from sluice.machine.progress import Silent
from sluice.machine.vault import init_vault, open_vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.machine.progress import Progress

FEES = 10_000_000
"""Bytes from the faucet, for the fees of many closings."""
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT = 10_000
_PROBE_PAUSE_S = 0.1


class Topology:
    """The production shape on this machine as a context: `async with Topology(home, fronts=3) as topology: …`.

    `home`: a directory of its own that has served no ledger before; data, logs (`home/logs`) and the wallet go there.
    `stabilise_after_s`: how long the local ledger takes to make units final. `overrides`: settings by attribute name
    for all parts, such as `lease_ttl_s`; those of the environment count too, but for the addresses of the parts.

    Entered, every part is ready: `url` (through nginx), `tls_url`, `nginx`, `fronts`, `workers`, `postgres`, `redis`,
    `ledger`, `address` (the receiver's, with money for fees), `settings` (an operator's: the workers' login).
    Left, every part is stopped. Killing this process ends them too.
    """

    def __init__(
        self,
        home: Path,
        *,
        fronts: int = 2,
        workers: int = 2,
        stabilise_after_s: float = 1.0,
        progress: Progress | None = None,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        self.home = home.absolute()
        self.address = ""
        self._progress: Progress = progress or Silent()
        self._hands = Hands()
        self._undo = AsyncExitStack()
        ports = free_ports()
        plain, tls, hub = next(ports), next(ports), next(ports)
        given = {
            **(overrides or {}),
            "home": self.home,
            "network": "devnet",
            "hub_url": f"ws://127.0.0.1:{hub}",
            "public_url": f"http://127.0.0.1:{plain}/",
            "bind_host": "127.0.0.1",
        }
        account = Account()
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        sockets, logs = socket_directory(self.home, account.owner), self.home / "logs"
        self.postgres = PostgresServer(self.home / "postgres", sockets, logs / "postgres.log", account, self._hands)
        self.redis = RedisServer(sockets, logs / "redis.log", account, self._hands)
        common = load_settings(**given, database_url=self.postgres.url(), redis_url=self.redis.url)
        self.settings = common.connected(database_url=self.postgres.url("sluice_worker_login"))
        self.ledger = LedgerServer(hub, stabilise_after_s, common, self._hands)
        self.workers = tuple(
            Worker(f"worker-{number + 1}", next(ports), self.settings, self._hands) for number in range(workers)
        )
        at_front = common.connected(database_url=self.postgres.url("sluice_front_login"))
        self.fronts = tuple(
            Front(f"front-{number + 1}", next(ports), at_front, self._hands) for number in range(fronts)
        )
        upstreams = [front.address for front in self.fronts]
        self.nginx = Nginx(self.home / "nginx", (plain, tls), upstreams, account, self._hands)
        self.url, self.tls_url = self.nginx.url, self.nginx.tls_url

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, in the order of their start."""
        return (self.postgres, self.redis, self.ledger, *self.workers, *self.fronts, self.nginx)

    async def __aenter__(self) -> Self:
        nginx_program()  # says so at once when there is none
        if (self.home / "postgres").exists():
            raise PartError(f"{self.home} has served another local ledger, which is gone: name a new directory")
        async with AsyncExitStack() as undo:
            undo.enter_context(HomeLock(self.home))
            undo.callback(self._hands.close)
            await self._start(undo, self.postgres)
            await self.postgres.make_roles()
            await asyncio.to_thread(migrate, self.postgres.url("sluice_migrator"))
            await self._start(undo, self.redis)
            await self._start(undo, self.ledger)
            self._open_vault()
            await self.fund(self.address, FEES)
            await self._start(undo, *self.workers)
            await self.active_worker()
            await self._start(undo, *self.fronts)
            await self._start(undo, self.nginx)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._undo.aclose()

    async def active_worker(self, within_s: float = START_BOUND_S) -> Worker:
        """Wait for a worker that holds the lease and return it. Raises PartError."""
        deadline = time.monotonic() + within_s
        while True:
            for worker in self.workers:
                if worker.is_running and await worker.is_active():
                    return worker
            if time.monotonic() > deadline:
                raise PartError(f"no worker has become active within {within_s:g} s")
            await asyncio.sleep(_PROBE_PAUSE_S)

    async def fund(self, address: str, amount: int) -> None:
        """Give an address bytes from the ledger's faucet."""
        async with HubClient(self.ledger.url, DEVNET, request_timeout_s=10) as hub:
            await hub.request("devnet/fund", {"address": address, "amount": amount})

    async def watch(self) -> None:
        """Run until a part ends by itself; raises PartError. Cancel it to go on."""
        while True:
            for part in self.parts:
                if not part.is_running:
                    raise PartError(f"{part.name} has ended, see {part.log}")
            await asyncio.sleep(_PROBE_PAUSE_S * 2)

    async def _start(self, undo: AsyncExitStack, *parts: Part) -> None:
        names = ", ".join(part.name for part in parts)
        began = time.monotonic()
        self._progress.starting(names)
        try:
            undo.push_async_callback(_stop, *parts)
            for part in parts:
                await part.start(ready=False)
            for part in parts:
                await part.wait_ready()
        finally:
            self._progress.ended()
        self._progress.ready(names, "", time.monotonic() - began)

    def _open_vault(self) -> None:
        if not self.settings.wallet_file.exists():
            init_vault(self.settings)
        self.address = open_vault(self.settings).address


async def _stop(*parts: Part) -> None:
    await asyncio.gather(*(part.stop() for part in parts))


def free_ports() -> Iterator[int]:
    """Yield ports that nothing listens on, out of those that the kernel gives to nobody by itself.

    A part that is away for a while must find its port free when it comes back.
    """
    first_given = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    for port in random.sample(range(_FIRST_PORT, first_given), first_given - _FIRST_PORT):
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            yield port
