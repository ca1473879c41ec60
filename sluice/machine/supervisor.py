"""Everything on this machine: embedded services, local ledger, fronts and worker as children of one process.

Nothing is restarted silently. A child that ends takes the others down, in order, with a message that says which one
and what its log ends with: on one machine a half-running receiver is worse than none. Only for hubs of others, which
may be away for hours, everything waits running: the worker goes on trying, the fronts refuse payments until it is in
step.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET
from shared.store import instance
from shared.store.database import Database, Role
from shared.store.mark import mark_file_of
from shared.store.migrations import migrate
from sluice.home import HomeLock
from sluice.machine.embedded import EmbeddedServices
from sluice.machine.processes import Child, start_part
from sluice.machine.progress import Silent
from sluice.machine.vault import init_vault, open_vault, payer_home
from sluice.payer.payer import STORE_FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from shared.settings import Settings
    from sluice.machine.progress import Progress

START_BOUND_S = 60
LEDGER_PATIENCE_S = 15
"""After this long people are told that no hub has answered yet."""
STOP_BOUND_S = 30
"""Longer than a front drains and than a worker finishes the task in hand."""
BACKLOG = 2048
FEES = 1_000_000
"""Bytes from the faucet."""
_PROBE_PAUSE_S = 0.05
_PROBE_TIMEOUT_S = 2.0
_LEDGER_PROBE_S = 1.0
_OUT_OF_STEP = "watcher_silent"
"""The front's word for a worker that is not in step with the ledger."""


class SupervisorError(Exception):
    """A part does not start; the message says which one and what its log ends with."""

    code = "part_failed"


class ChildStoppedError(SupervisorError):
    """A part stopped by itself while the others ran."""

    code = "part_stopped"


class Stack:
    """A whole receiver as a context: `async with Stack(settings, fronts=2) as stack: …`.

    Embeds the servers the settings do not name, migrates, starts the local ledger (on devnet without a hub of the
    operator's) and makes a wallet there if none exists, then runs `fronts` front processes on one port and a worker.
    `rpc_port`: where the first front serves JSON-RPC without a key, on loopback; None: nowhere.

    `settings`: completed with the URLs of what was started. `url`: the address all fronts share. `front_urls`: an
    address of its own for each front, on loopback. `address`: the receiver's payment address. `waits_for_ledger`: no
    hub has served the worker yet; never so with a local ledger.

    Must be entered by the main thread: children die with the thread that started them.
    """

    def __init__(
        self, settings: Settings, *, fronts: int = 1, rpc_port: int | None = None, progress: Progress | None = None
    ) -> None:
        self.settings = settings
        self.url = settings.local_url
        self.front_urls: tuple[str, ...] = ()
        self.address = ""
        self.waits_for_ledger = False
        self._fronts = fronts
        self._rpc_port = rpc_port
        self._progress: Progress = progress or Silent()
        self._undo = ExitStack()
        self.children: list[Child] = []

    async def __aenter__(self) -> Self:
        with ExitStack() as undo:
            lock = undo.enter_context(HomeLock(self.settings.home))
            self._check_ports()
            self._embed(undo)
            await self._migrate()
            begins_ledger = self.settings.runs_devnet
            if begins_ledger:
                await self._start_devnet(undo)
            self._open_vault()
            if begins_ledger:
                await self._fund()
            await self._start_receiver(undo, has_ledger=begins_ledger)
            lock.announce(**_announcement(self.settings))
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._undo.close()

    async def watch(self) -> None:
        """Run until a child stops; raises ChildStoppedError. Cancel it to go on."""
        waits_since_s = time.monotonic()
        while True:
            self._check_children()
            if self.waits_for_ledger:
                await self._hear_of_ledger(waits_since_s)
            await asyncio.sleep(_PROBE_PAUSE_S * 4)

    def _check_ports(self) -> None:
        # Fronts share their port by SO_REUSEPORT, and so would the fronts of another receiver: look before we join.
        ports = {"SLUICE_PORT": (self.settings.bind_host, self.settings.port)}
        if self.settings.runs_devnet:
            ports["SLUICE_DEVNET_PORT"] = ("127.0.0.1", self.settings.devnet_port)
        if self._rpc_port is not None:
            ports["SLUICE_RPC_PORT"] = ("127.0.0.1", self._rpc_port)
        if len({port for _, port in ports.values()}) < len(ports):
            raise SupervisorError(f"{', '.join(ports)}: each needs a port of its own")
        for variable, (host, port) in ports.items():
            try:
                with socket.create_server((host, port), family=_family(host)):
                    pass
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)  # without the address once more
                raise SupervisorError(f"{variable}: cannot listen on {host}:{port}: {reason}") from error

    def _embed(self, undo: ExitStack) -> None:
        # The local ledger begins anew with every start, and with it what the receiver knows of it. What he knows of any
        # other ledger is in another database, untouched: it may be about real money.
        services = EmbeddedServices(self.settings, scratch=self.settings.runs_devnet)
        with self._step("Postgres and Redis") as done:
            self.settings = undo.enter_context(services)
            self.children += services.children
            done(", ".join(f"{child.name} embedded" for child in services.children) or "as configured")

    async def _migrate(self) -> None:
        with self._step("database schema") as done:
            revisions = await asyncio.to_thread(migrate, self.settings.direct_dsn)
            if self.settings.runs_devnet:
                await self._check_unused()
            done(f"revision {revisions.post or revisions.pre}")

    async def _check_unused(self) -> None:
        database = await Database.connect(self.settings.direct_dsn, role=Role.WORKER)
        try:
            async with database.connection() as conn:
                used = await instance.read(conn) is not None
        finally:
            await database.close()
        if used:
            raise SupervisorError(
                "SLUICE_DATABASE_URL: this database knows channels on a local ledger that is gone: name an empty one,"
                " or name a ledger that stays in SLUICE_HUB_URL"
            )

    async def _start_devnet(self, undo: ExitStack) -> None:
        port = self.settings.devnet_port
        self.settings = self.settings.connected(hub_url=f"ws://127.0.0.1:{port}")
        with self._step("local ledger") as done:
            child = self._start("devnet", ["-m", "sluice.cli", "devnet", "--port", str(port)], undo)
            await self._until(self._hub_answers, child)
            _forget_payments(payer_home(self.settings))
            # The database is a new one too: that it is behind the last one is no sign of a restore.
            mark_file_of(self.settings.wallet_file, self.settings.network).unlink(missing_ok=True)
            done(self.settings.hub_url)

    def _open_vault(self) -> None:
        with self._step("wallet") as done:
            if self.settings.network == "devnet" and not self.settings.wallet_file.exists():
                init_vault(self.settings)
            self.address = open_vault(self.settings).address
            done(self.address)

    async def _fund(self) -> None:
        # A new ledger has no money for the fees of closing channels.
        async with HubClient(self.settings.hub_url, DEVNET, request_timeout_s=_PROBE_TIMEOUT_S) as hub:
            await hub.request("devnet/fund", {"address": self.address, "amount": FEES})

    async def _start_receiver(self, undo: ExitStack, *, has_ledger: bool) -> None:
        told_at_s = math.inf if has_ledger else time.monotonic() + LEDGER_PATIENCE_S
        with self._step("worker and fronts") as done:
            worker = self._start("worker", ["-m", "sluice.cli", "worker"], undo)
            fronts = [self._start_front(number, undo) for number in range(1, self._fronts + 1)]
            self.front_urls = tuple(url for _, url in fronts)
            for child, url in fronts:
                await self._until(partial(self._front_serves, url, told_at_s), child, worker)
            done(f"{len(fronts)} on {self.url}")
        if self.waits_for_ledger:
            hubs = ", ".join(self.settings.hub_urls)
            consequence = "payments are refused until one does; `sluice doctor` says more"
            self._progress.waiting("ledger", f"no hub has served yet ({hubs}): {consequence}")

    def _start_front(self, number: int, undo: ExitStack) -> tuple[Child, str]:
        # Besides the shared port each front has a listener of its own, so that it can be told from the others. Both are
        # handed over open: between finding a free port and listening on it nobody else can take it.
        shared = (self.settings.bind_host, self.settings.port)
        with (
            socket.create_server(shared, family=_family(shared[0]), reuse_port=True, backlog=BACKLOG) as common,
            socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as own,
        ):
            handed = [common.fileno(), own.fileno()]
            words = ["-m", "sluice.cli", "front", *(word for fd in handed for word in ("--bind", f"fd://{fd}"))]
            if number == 1 and self._rpc_port is not None:
                # One is enough: each front tells all events, and orders are known to all.
                words += ["--rpc-port", str(self._rpc_port)]
            child = self._start(f"front-{number}", words, undo, pass_fds=handed, settings=self._of_fronts)
            return child, f"http://127.0.0.1:{own.getsockname()[1]}/"

    @property
    def _of_fronts(self) -> Settings:
        # They stop together, and no balancer is between them and whoever pays: there is nobody to wait for.
        return self.settings.model_copy(update={"drain_wait_s": 0.0})

    def _start(
        self,
        name: str,
        words: list[str],
        undo: ExitStack,
        *,
        pass_fds: Sequence[int] = (),
        settings: Settings | None = None,
    ) -> Child:
        child = start_part(name, words, settings or self.settings, pass_fds=pass_fds)
        undo.callback(child.stop, within_s=STOP_BOUND_S)
        self.children.append(child)
        return child

    async def _until(self, ready: Callable[[], Awaitable[str]], *needed: Child) -> None:
        """Wait until `ready` returns an empty text; any other text is the reason why it is not."""
        deadline = time.monotonic() + START_BOUND_S
        while reason := await ready():
            self._check_children()
            if time.monotonic() > deadline:
                raise SupervisorError(f"{needed[0].name} is not ready after {START_BOUND_S} s: {reason}{_logs(needed)}")
            await asyncio.sleep(_PROBE_PAUSE_S)

    def _check_children(self) -> None:
        for child in self.children:
            if child.exit_status is not None:
                raise ChildStoppedError(f"{child.name} stopped with status {child.exit_status}{_logs([child])}")

    async def _hub_answers(self) -> str:
        try:
            async with connect(self.settings.hub_url, open_timeout=_PROBE_TIMEOUT_S, close_timeout=_PROBE_TIMEOUT_S):
                return ""
        except (OSError, TimeoutError, WebSocketException) as error:
            return str(error)

    async def _front_serves(self, url: str, told_at_s: float) -> str:
        """Like `_front_is_ready`, but from `told_at_s` on the ledger is not waited for."""
        reason = await self._front_is_ready(url)
        if reason != _OUT_OF_STEP or time.monotonic() < told_at_s:
            return reason
        self.waits_for_ledger = True
        return ""

    async def _hear_of_ledger(self, since_s: float) -> None:
        if not await self._front_is_ready(self.front_urls[0]):
            self.waits_for_ledger = False
            self._progress.ready("ledger", "in step: payments are taken", time.monotonic() - since_s)
        else:
            await asyncio.sleep(_LEDGER_PROBE_S)

    async def _front_is_ready(self, url: str) -> str:
        try:
            async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False) as client:
                answer = await client.get(f"{url}readyz")
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        if answer.is_success:
            return ""
        try:
            return ", ".join(answer.json()["reasons"])
        except (ValueError, KeyError, TypeError):
            return answer.text[:500]

    @contextmanager
    def _step(self, what: str) -> Iterator[Callable[[str], None]]:
        began = time.monotonic()
        self._progress.starting(what)
        try:
            yield lambda detail: self._progress.ready(what, detail, time.monotonic() - began)
        finally:
            self._progress.ended()


def _forget_payments(payer_home: Path) -> None:
    """Drop what the home's payer knows of the last local ledger, which is gone; its wallet stays."""
    for file in payer_home.glob(f"{STORE_FILE}*"):
        file.unlink()


def _announcement(settings: Settings) -> dict[str, str]:
    urls = {"database_url": settings.database_dsn, "hub_url": settings.hub_url}
    if settings.redis_url is not None:
        urls["redis_url"] = settings.redis_url.get_secret_value()
    return urls


def _logs(children: Sequence[Child]) -> str:
    return "".join(f"\nits log {child.log} ends with:\n{child.last_words()}" for child in children)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
