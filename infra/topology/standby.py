"""A stand-by that follows the topology's Postgres by streaming replication, and may be promoted."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from infra.topology.parts import PartError
from infra.topology.servers import PostgresServer
from sluice.home import private_directory, socket_directory
from sluice.machine.account import SYSTEM_PATH
from sluice.machine.embedded import postgres_programs

if TYPE_CHECKING:
    from pathlib import Path

    from infra.topology.parts import Hands
    from sluice.machine.account import Account
    from sluice.machine.processes import Child

_BOUND_S = 30.0
_PAUSE_S = 0.05
_FOLLOWS = "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"


class StandbyServer(PostgresServer):
    """A second Postgres: a copy of `primary` when it first starts, then whatever the primary commits.

        standby = StandbyServer("standby", topology.postgres, home / "standby", account, hands)
        await standby.start()                     # returns when it follows
        await standby.require()                   # no commit of the primary is told before it is here, too
        dsn = topology.postgres.url_with(standby, login="sluice_front_login")
        topology.postgres.kill()
        await standby.promote()                   # from now on it takes writes

    `directory`: of its own, with room for data and log; made here.
    """

    def __init__(self, name: str, primary: PostgresServer, directory: Path, account: Account, hands: Hands) -> None:
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        super().__init__(
            directory / "postgres",
            socket_directory(directory, account.owner),
            directory / "postgres.log",
            account,
            hands,
            name=name,
        )
        self._primary, self._data, self._account = primary, directory / "postgres", account

    def launch(self) -> Child:
        """Copy the primary if nothing was copied yet, and start; it answers when this returns."""
        if not self._data.exists():
            self._copy()
        return super().launch()

    async def unready(self) -> str:
        """Ask the primary whether it streams to us; a promoted one is followed by nobody and is ready."""
        return await asyncio.to_thread(self._unready)

    async def require(self) -> None:
        """Let the primary wait for this stand-by with each commit: then a fail-over loses nothing it has told."""
        await asyncio.to_thread(self._require)
        await self.caught_up()

    async def caught_up(self, within_s: float = _BOUND_S) -> None:
        """Return when everything is here that the primary has committed so far. Raises PartError."""
        await asyncio.to_thread(self._catch_up, within_s)

    async def promote(self) -> None:
        """Let it take writes. The primary must be away and stay so: two would each give receipts."""
        await asyncio.to_thread(self._promote)

    def _copy(self) -> None:
        draft = self._data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        private_directory(draft, self._account.owner)
        source = f"host={self._primary.sockets} user=postgres application_name={self.name}"
        options = ["--dbname", source, "--pgdata", str(draft), "--write-recovery-conf", "--wal-method=stream"]
        command = self._account.command(
            postgres_programs() / "pg_basebackup", *options, "--checkpoint=fast", needs=draft
        )
        environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BOUND_S, check=False)
        if done.returncode != 0:
            raise PartError(f"{self.name} could not be copied from its primary:\n{done.stderr.strip()}")
        draft.rename(self._data)

    def _unready(self) -> str:
        try:
            with psycopg.connect(self.url()) as here:
                [(follows,)] = here.execute("SELECT pg_is_in_recovery()").fetchall()
            if not follows:
                return ""
            with psycopg.connect(self._primary.url()) as there:
                return "" if there.execute(_FOLLOWS, [self.name]).fetchone() else "the primary does not stream to it"
        except psycopg.OperationalError as error:
            return str(error)

    def _require(self) -> None:
        with psycopg.connect(self._primary.url(), autocommit=True) as primary:
            names = sql.Literal(f'FIRST 1 ("{self.name}")')
            primary.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(names))
            primary.execute("SELECT pg_reload_conf()")

    def _catch_up(self, within_s: float) -> None:
        with psycopg.connect(self._primary.url()) as primary:
            [(target,)] = primary.execute("SELECT pg_current_wal_lsn()").fetchall()
        deadline = time.monotonic() + within_s
        with psycopg.connect(self.url(), autocommit=True) as here:
            while True:
                [(is_here,)] = here.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [target]).fetchall()
                if is_here:
                    return
                if time.monotonic() > deadline:
                    raise PartError(f"{self.name} has not caught up within {within_s:g} s")
                time.sleep(_PAUSE_S)

    def _promote(self) -> None:
        with psycopg.connect(self.url(), autocommit=True) as here:
            here.execute("ALTER SYSTEM RESET synchronous_standby_names")  # copied with the rest, perhaps
            [(done,)] = here.execute("SELECT pg_promote(wait => true, wait_seconds => 30)").fetchall()
            here.execute("SELECT pg_reload_conf()")
        if not done:
            raise PartError(f"{self.name} was not promoted in time")
