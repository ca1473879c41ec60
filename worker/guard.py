"""The one way this room writes: every transaction commits under the lease or not at all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store import lease as leases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.database import Connection, Database
    from shared.store.lease import Lease


@dataclass(frozen=True, slots=True)
class Guard:
    """The database together with the right to write what only the vault may."""

    database: Database
    lease: Lease

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction that no take-over of the lease can overtake. Raises LeaseLostError, StoreError."""
        async with self.database.transaction() as conn:
            await leases.assert_held(conn, self.lease)
            yield conn

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Borrow a connection to read with."""
        async with self.database.connection() as conn:
            yield conn
