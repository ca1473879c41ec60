"""The topology's Postgres, Redis and local ledger."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import psycopg
from psycopg import sql
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from infra.topology.parts import STOP_BOUND_S, Hands, Part, PartError, Program
from sluice.machine.embedded import DATABASE, EmbeddedError, Postgres, Redis

if TYPE_CHECKING:
    from shared.settings import Settings
    from sluice.machine.account import Account
    from sluice.machine.processes import Child

ROLES = Path(__file__).parent.parent / "postgres" / "roles.sql"
OWNER = "sluice_migrator"
_PROBE_TIMEOUT_S = 2.0


_Server = TypeVar("_Server", bound=Postgres | Redis)


class EmbeddedServer(Part, Generic[_Server]):
    """A server from a wheel."""

    def __init__(self, name: str, hands: Hands, server: _Server) -> None:
        super().__init__(name, hands)
        self._server = server

    def launch(self) -> Child:
        """Start it; it answers when this returns."""
        try:
            self._server.start()
        except EmbeddedError as error:
            raise PartError(str(error)) from error
        child = self._server.child
        if child is None:
            raise PartError(f"{self.name} did not start")
        return child

    async def unready(self) -> str:
        """Say nothing: `launch` has waited until it answered."""
        return ""


class PostgresServer(EmbeddedServer[Postgres]):
    """A Postgres with the logins of production. `url(login)`: its database as one of them."""

    def __init__(
        self, directory: Path, sockets: Path, log: Path, account: Account, hands: Hands, *, name: str = "postgres"
    ) -> None:
        super().__init__(name, hands, Postgres(directory, sockets, log, account))
        self.sockets = sockets

    def url(self, login: str = "postgres") -> str:
        """Return the URL for one login: `postgres`, or one of those in `infra/postgres/roles.sql`."""
        return self._server.url().replace("//postgres@", f"//{login}@", 1)

    def url_with(self, *others: PostgresServer, login: str = "postgres") -> str:
        """Return one URL for this server and others: whoever uses it finds the one that takes writes."""
        hosts = ",".join(str(server.sockets) for server in (self, *others))
        ports = ",".join(["5432"] * (1 + len(others)))
        return f"{self.url(login).partition('?')[0]}?host={hosts}&port={ports}"

    async def stop(self, how: int = signal.SIGINT, *, within_s: float = STOP_BOUND_S) -> bool:
        """Stop it; by default transactions under way are rolled back ("fast")."""
        return await super().stop(how, within_s=within_s)

    async def make_roles(self) -> None:
        """Make the logins and give the database to the one that migrates, as `docs/deploying.md` says."""
        await asyncio.to_thread(self._make_roles)

    def _make_roles(self) -> None:
        with psycopg.connect(self.url(), autocommit=True) as administrator:
            administrator.execute(ROLES.read_bytes())
            names = sql.Identifier(DATABASE), sql.Identifier(OWNER)
            administrator.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))


class RedisServer(EmbeddedServer[Redis]):
    """A Redis that keeps nothing on disk."""

    def __init__(self, sockets: Path, log: Path, account: Account, hands: Hands) -> None:
        super().__init__("redis", hands, Redis(sockets, log, account))

    @property
    def url(self) -> str:
        """Its URL."""
        return self._server.url


class LedgerServer(Program):
    """A local ledger, kept in memory: it forgets everything when it ends. `url`: its hub."""

    def __init__(self, port: int, stabilise_after_s: float, settings: Settings, hands: Hands) -> None:
        words = ["devnet", "--port", str(port), "--stabilise-after", str(stabilise_after_s)]
        super().__init__("ledger", words, settings, hands)
        self.url = f"ws://127.0.0.1:{port}"

    async def unready(self) -> str:
        """Knock at its hub."""
        try:
            async with connect(self.url, open_timeout=_PROBE_TIMEOUT_S, close_timeout=_PROBE_TIMEOUT_S):
                return ""
        except (OSError, TimeoutError, WebSocketException) as error:
            return str(error) or type(error).__name__
