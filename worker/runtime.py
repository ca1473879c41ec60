"""One worker: stands by until the lease is free, runs the vault while it holds it, and stands by again.

    standing by ──acquired──▶ holding ──stop()──▶ released, done
         ▲                       │
         └── released, a pause ◀─┴── lease lost, database gone, any crash

Of any number of workers one holds. The lease is renewed well before it ends; a holder that could not renew it in time
stops by itself, and what it still writes is refused by the database, because every write asserts the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from typing import TYPE_CHECKING

from shared.bus import COMMAND, LEASE
from shared.logs import get_logger
from shared.store import lease as leases
from shared.store.errors import DatabaseRestoredError, DatabaseUnavailableError, LeaseLostError, StoreError
from worker.errors import ConfigurationError
from worker.guard import Guard
from worker.metrics import LEASE_HELD
from worker.pacing import Backoff, Bell
from worker.standing_by import StandBy
from worker.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.store.database import Database
    from shared.store.lease import Lease
    from worker.vault import Circumstances

logger = get_logger(__name__)

GRACE_S = 5.0
"""How long a step in hand may take after `stop`; what is cut off then is taken up again by the next holder."""
RENEWALS_PER_TTL = 4


class Runtime:
    """Runs the vault whenever it holds the lease. `run` it once, in one event loop; `stop` and `wake` it from there.

    `on_term` is told True when a term begins and False when it ends.
    """

    def __init__(
        self,
        database: Database,
        given: Circumstances,
        *,
        lease_ttl_s: float,
        on_term: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._given = given
        self._ttl_s = lease_ttl_s
        self._on_term = on_term
        self._stopping = asyncio.Event()
        self._bell = Bell()
        self._vault: Vault | None = None
        self._held: Lease | None = None
        # Names this life of this process: a restarted one is somebody else.
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._stand_by = StandBy(database, given, leases.WALLET, self.holder, lease_ttl_s)
        self.holding = asyncio.Event()
        """Set while this worker is the active one."""

    async def run(self) -> None:
        """Stand by and hold by turns until `stop`. Raises ConfigurationError when a person has to act."""
        retry = Backoff(self._ttl_s / 40, self._ttl_s, self._given.jitter)
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_s = loop.time()
            try:
                lease = await self._stand_by.wait(self._stopping)
                if lease is not None:
                    started_s = loop.time()
                    await self._hold(lease)
            except ConfigurationError:
                raise
            except Exception as error:
                if loop.time() - started_s > self._ttl_s:
                    retry.reset()  # it worked for a while: this is no start that keeps failing
                pause_s = retry.pause_s()
                if isinstance(error, LeaseLostError | DatabaseUnavailableError | DatabaseRestoredError):
                    logger.warning(error.code, reason=str(error), retry_in_s=round(pause_s, 2))
                else:
                    logger.exception("vault_ended", error=type(error).__name__, retry_in_s=round(pause_s, 2))
                await self._bell.sleep(pause_s)

    def stop(self) -> None:
        """Let `run` finish the step in hand, give the lease up and return, within about `GRACE_S`."""
        self._stopping.set()
        self._bell.ring()
        self._stand_by.ring()
        if self._vault is not None:
            self._vault.wake()

    def wake(self, command_id: int) -> None:
        """Pass a doorbell on: to our own vault, or to the worker that holds the lease."""
        if self._vault is not None:
            self._vault.wake()
        else:
            self._given.bus.publish(COMMAND, {"id": command_id})

    async def _hold(self, lease: Lease) -> None:
        logger.info("lease_acquired", holder=self.holder, term=lease.term)
        self._vault = vault = Vault(Guard(self._database, lease, self._given.mark), self._given)
        self._held = lease
        self.holding.set()
        self._on_term(True)
        LEASE_HELD.set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew(lease), name="lease-renewal")
                working = tasks.create_task(vault.run(self._stopping), name="vault")
                stopping = tasks.create_task(self._cut_off_when_stopping(working), name="vault-stop")
                settled = tasks.create_task(vault.settled.wait(), name="vault-settled")
                await asyncio.wait([working, settled], return_when=asyncio.FIRST_COMPLETED)
                renewing.cancel()
                await self._end_term(lease)
                await asyncio.wait([working])
                stopping.cancel()
                settled.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            await self._end_term(lease)

    async def _end_term(self, lease: Lease) -> None:
        """Give the lease up, once for each term, whatever ends it."""
        if self.holding.is_set():
            self.holding.clear()
            self._on_term(False)
            LEASE_HELD.set(0)
            self._vault = None
        if self._held is lease:
            await self._release(lease)
            self._held = None

    async def _renew(self, lease: Lease) -> None:
        """Hold the lease for longer and longer; raises LeaseLostError when it is lost or about to end."""
        loop = asyncio.get_running_loop()
        ends_at_s = loop.time() + self._ttl_s
        while True:
            await asyncio.sleep(self._ttl_s / RENEWALS_PER_TTL)
            asked_at_s = loop.time()
            try:
                async with asyncio.timeout_at(ends_at_s), self._database.transaction() as conn:
                    await leases.renew(conn, lease, self._ttl_s)
            except LeaseLostError:
                raise
            except (StoreError, TimeoutError) as error:
                if loop.time() >= ends_at_s - self._ttl_s / RENEWALS_PER_TTL:
                    raise LeaseLostError("the lease could not be renewed in time") from error
                logger.warning("lease_not_renewed", error=str(error))
            else:
                ends_at_s = asked_at_s + self._ttl_s

    async def _cut_off_when_stopping(self, working: asyncio.Task[None]) -> None:
        await self._stopping.wait()
        await asyncio.sleep(GRACE_S)
        logger.warning("step_cut_off", grace_s=GRACE_S)
        working.cancel()

    async def _release(self, lease: Lease) -> None:
        with contextlib.suppress(StoreError):
            async with self._database.transaction() as conn:
                released = await leases.release(conn, lease)
            if released:
                self._given.bus.publish(LEASE, {"name": lease.name})
            logger.info("lease_released" if released else "lease_was_lost", holder=self.holder, term=lease.term)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that ended the others."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
