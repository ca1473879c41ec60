"""What is measured, as processes: a Postgres as durable as in production, fronts as in production, and bare servers."""

from __future__ import annotations

import shutil
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx
import psycopg
from psycopg import sql

from load_tests.bench.cpu import CpuMeter
from shared.settings import Settings, load_settings
from shared.store.migrations import migrate
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Postgres
from sluice.machine.processes import Child, start_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_READY_S = 60
_STOP_S = 25
_UNWATCHED_S = 86_400  # no ledger is followed here, so the watcher's silence must not stop the front
_NEVER_REACHED = 1_000_000
_MIGRATED = "migrated"


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers on a port, and its CPU. `last_words`: what its log ends with."""

    port: int
    cpu: CpuMeter
    last_words: Callable[[], str] = str


class Machine:
    """A Postgres without anything beside it, while its context is entered; what it starts ends with it.

    Processes die with the thread that started them: call it from one thread.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._account = Account()
        self._sockets = socket_directory(home, self._account.owner)
        self._postgres = Postgres(home / "postgres", self._sockets, home / "logs" / "postgres.log", self._account)
        self._undo = ExitStack()
        self._children: list[Child] = []
        self._starting: list[tuple[int, str, Child]] = []

    def __enter__(self) -> Self:
        self.home.chmod(0o711)  # the servers may run as another user, who passes through
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self._sockets, ignore_errors=True)
            undo.callback(self._postgres.stop)
            self._postgres.start()
            migrate(self._database(_MIGRATED))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.ask_to_stop()
        self._undo.close()

    @property
    def postgres(self) -> CpuMeter:
        """The CPU of the whole cluster, writers in the background included."""
        if self._postgres.child is None:
            raise RuntimeError("Postgres is not started")
        return CpuMeter(self._postgres.child.pid)

    def database(self, name: str) -> str:
        """Make an empty database of the newest schema and return its URL."""
        return self._database(name, template=_MIGRATED)

    def front(self, name: str, dsn: str, **settings: Any) -> Server:
        """Begin to start a front as `sluice front` does. `settings`: in place of the usual ones."""
        wanted = front_settings(self.home, dsn, port=_free_port(), **settings)
        words = ["-m", "sluice.cli", "front", "--port", str(wanted.port)]
        return self._server(name, words, wanted, wanted.port, "/readyz")

    def bare(self, name: str, app: str, dsn: str) -> Server:
        """Begin to start another application of this package under the same software. `app`: `module:name`."""
        wanted = front_settings(self.home, dsn, port=_free_port())
        words = ["-m", "uvicorn", f"load_tests.bench.{app}", "--port", str(wanted.port), "--loop", "uvloop"]
        more = ["--http", "httptools", "--no-access-log", "--no-server-header", "--log-level", "error"]
        return self._server(name, words + more, wanted, wanted.port, "/")

    def wait_ready(self) -> None:
        """Return when everything that was started answers."""
        while self._starting:
            _wait_ready(*self._starting.pop())

    def _server(self, name: str, words: Sequence[str], settings: Settings, port: int, path: str) -> Server:
        child = start_part(name, words, settings)
        self._children.append(child)
        self._undo.callback(child.stop, within_s=_STOP_S)
        self._starting.append((port, path, child))
        return Server(port, CpuMeter(child.pid), child.last_words)

    def _database(self, name: str, template: str | None = None) -> str:
        source = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        with psycopg.connect(self._postgres.url("postgres"), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + source)
        return self._postgres.url(name)


def front_settings(home: Path, dsn: str, **settings: Any) -> Settings:
    """Return the settings of a front that no worker stands behind."""
    given = {
        "log_level": "error",
        "drain_wait_s": 0,
        "min_channel_timeout_s": _UNWATCHED_S * 2,
        "max_channel_timeout_s": _UNWATCHED_S * 2,
        "default_channel_timeout_s": _UNWATCHED_S * 2,
        "watcher_max_silence_s": _UNWATCHED_S,
        # Counted as always, and never reached: what is measured is what counting costs.
        "limit_payments_per_channel": _NEVER_REACHED,
        "limit_refusals_per_channel": _NEVER_REACHED,
        "limit_posts_per_address": _NEVER_REACHED,
        "accept_queue_max": _NEVER_REACHED,
    }
    return load_settings(home=home, database_url=dsn, redis_url=None, **(given | settings))


def as_shipped(*names: str) -> dict[str, Any]:
    """Return the defaults of settings, for a front whose limits are a part of what is measured."""
    return {name: Settings.model_fields[name].default for name in names}


def _wait_ready(port: int, path: str, child: Child) -> None:
    deadline = time.monotonic() + _READY_S
    with httpx.Client(trust_env=False, timeout=2) as client:
        while True:
            try:
                if client.get(f"http://127.0.0.1:{port}{path}").status_code < 500:  # noqa: PLR2004 - not "not yet"
                    return
            except httpx.HTTPError:
                pass
            if child.exit_status is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{child.name} does not answer:\n{child.last_words(20)}")
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
