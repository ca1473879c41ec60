"""Standing by: asking for the lease until it is free, and noticing early what would keep us from using it.

A stand-by that is found unfit when it is needed is none. So it looks before: is the database reachable, of a schema
that this release can work with, and of our wallet; does a hub answer. Who cannot work with the schema does not even ask
for the lease: a new release that was started before `sluice migrate` must not take it from the one that works.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from shared.bus import LEASE
from shared.logs import get_logger
from shared.obyte.errors import HubError
from shared.obyte.hub_client import HubClient
from shared.store import instance
from shared.store import lease as leases
from shared.store.errors import InstanceMismatchError, StoreError
from shared.store.migrations import schema_is_usable
from worker.errors import ConfigurationError
from worker.metrics import STAND_BY_UNFIT, WATCHER_IN_STEP
from worker.pacing import Bell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.database import Database
    from shared.store.lease import Lease
    from worker.vault import Circumstances

logger = get_logger(__name__)

_AFTER_ITS_END_S = 0.005
_PATIENCE_S = 0.3
"""How long a take-over waits for a transaction of the holder before: his lease has ended, so he is late already."""


class StandBy:
    """Waits for one lease, again and again. `ring` lets it ask now."""

    def __init__(self, database: Database, given: Circumstances, name: str, holder: str, ttl_s: float) -> None:
        self._database = database
        self._given = given
        self._name = name
        self._holder = holder
        self._ttl_s = ttl_s
        self._bell = Bell()
        self._unfit: dict[str, str] = {}

    def ring(self) -> None:
        """Ask for the lease now, or see that there is nothing to wait for any more."""
        self._bell.ring()

    async def wait(self, stopping: asyncio.Event) -> Lease | None:
        """Return the lease as soon as it is ours, None when `stopping` was set before.

        Raises ConfigurationError `another_wallet` when the database is somebody else's, StoreError when it is away.
        """
        async with self._listening():
            while not stopping.is_set():
                try:
                    lease, look_again_s = await self._ask()
                except StoreError as error:
                    self._judge("database", error.code)
                    raise
                if lease is not None:
                    self._unfit.clear()
                    STAND_BY_UNFIT.set(0)
                    return lease
                await self._bell.sleep(look_again_s)
        return None

    async def _ask(self) -> tuple[Lease | None, float]:
        """Return the lease, or how long to wait before asking again."""
        async with self._database.connection() as conn:
            is_usable = await schema_is_usable(conn)
            here = await instance.read(conn) if is_usable else None
            left_s = await leases.left_s(conn, self._name) if is_usable else 0.0
        self._judge("database", "")
        self._judge("schema", "" if is_usable else "it is not what this release needs: `sluice migrate` first")
        if not is_usable:
            return None, self._given.pace.stand_by.ask_s
        if here is not None:
            try:
                instance.check(here, network=self._given.network_name, own_address=self._given.key.address)
            except InstanceMismatchError as error:
                raise ConfigurationError("another_wallet", str(error)) from error
            if here.watcher_age_s is not None:
                WATCHER_IN_STEP.set(here.now_s - here.watcher_age_s)
        lease = await self._take() if left_s <= 0 else None
        if lease is None and here is not None:
            # A stand-by, too, has to know a restored database when it takes over.
            await self._given.mark.keep(here.pulse)
        return lease, min(self._given.pace.stand_by.ask_s, left_s + _AFTER_ITS_END_S)

    async def _take(self) -> Lease | None:
        """Take the lease if it is free, from a frozen holder too."""
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        taking = asyncio.create_task(self._acquire(pid), name="stand-by-acquires")
        try:
            await asyncio.wait([taking], timeout=_PATIENCE_S)
            if not taking.done() and pid.done():
                async with self._database.transaction() as conn:
                    ended = await leases.end_frozen(conn, self._name, pid.result())
                if ended:
                    logger.warning("frozen_holder_cut_off", sessions=ended)
            return await taking
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _acquire(self, pid: asyncio.Future[int]) -> Lease | None:
        async with self._database.transaction() as conn:
            pid.set_result(await leases.own_pid(conn))
            return await leases.acquire(conn, self._name, self._holder, self._ttl_s)

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Hear of a lease that is given up, and knock at the hubs, while the block runs."""
        tasks = [
            asyncio.create_task(self._hear(), name="stand-by-ear"),
            asyncio.create_task(self._knock(), name="stand-by-hubs"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self) -> None:
        with self._given.bus.subscribe(LEASE) as events:
            async for _ in events:
                self._bell.ring()

    async def _knock(self) -> None:
        urls = self._given.hub_url.split(",")
        pause_s = self._given.pace.stand_by.hubs_s / 12  # who gets the lease without waiting connects anyway
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._given.pace.stand_by.hubs_s
            reasons = [reason for url in urls if (reason := await self._no_answer(url))]
            self._judge("hubs", f"none answers: {', '.join(reasons)}" if len(reasons) == len(urls) else "")

    async def _no_answer(self, url: str) -> str:
        client = HubClient(url, self._given.network, request_timeout_s=self._given.pace.hub.answer_s)
        try:
            await client.connect()
        except HubError as error:
            return error.code
        finally:
            await client.close()
        return ""

    def _judge(self, what: str, reason: str) -> None:
        """Note what stands in the way of taking over, an empty reason when nothing does; tell of each change once."""
        if reason and self._unfit.get(what) != reason:
            logger.warning("stand_by_unfit", what=what, reason=reason)
        elif not reason and what in self._unfit:
            logger.info("stand_by_fit_again", what=what)
        if reason:
            self._unfit[what] = reason
        else:
            self._unfit.pop(what, None)
        STAND_BY_UNFIT.set(1 if self._unfit else 0)
