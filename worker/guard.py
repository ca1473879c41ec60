"""The one way this room writes: every transaction commits under the lease or not at all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.store import instance
from shared.store import lease as leases
from shared.store.mark import Mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.database import Connection, Database
    from shared.store.lease import Lease


@dataclass(frozen=True, slots=True)
class Guard:
    """The database together with the right to write what only the vault may."""

    database: Database
    lease: Lease
    mark: Mark = field(default_factory=Mark)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction that no take-over of the lease can overtake. Raises LeaseLostError, StoreError."""
        async with self.database.transaction() as conn:
            await leases.assert_held(conn, self.lease)
            yield conn

    async def check(self) -> None:
        """Make sure that we still may act, before something leaves this process. Raises LeaseLostError, StoreError."""
        async with self.transaction():
            pass

    @asynccontextmanager
    async def marked(self) -> AsyncIterator[Connection]:
        """Open a transaction that a restored database can never have forgotten unnoticed.

        For what must not be done a second time with older numbers: it is marked outside of the database before this
        returns, so what was signed leaves only afterwards. Raises also DatabaseRestoredError, and nothing is written.
        """
        async with self.transaction() as conn:
            yield conn
            pulse = await instance.beat(conn)
            self.mark.compare(pulse)
        await self.mark.keep(pulse)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Borrow a connection to read with."""
        async with self.database.connection() as conn:
            yield conn
