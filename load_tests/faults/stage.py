"""Where faults happen: the topology, the payers, their money on the ledger, and a look into the receiver's books."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from infra.topology import Hands, Topology
from load_tests.faults.payers import LoadPayer
from load_tests.faults.purse import Purse
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET
from sluice.machine.account import Account

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Sequence

    from load_tests.faults.payers import LoadChannel

LEASE_TTL_S = 3.0
OVERRIDES: dict[str, Any] = {
    # Everybody here has the same address, so what is counted by address is not limited.
    "limit_posts_per_address": 0,
    "limit_openings_per_address": 0,
    "lease_ttl_s": LEASE_TTL_S,
    "log_format": "json",
}
_HUB_S = 60.0
_TOLD_EVERY_S = 10.0


@dataclass(slots=True)
class Stage:
    """`database_url`: where the books are now, as the workers' login; a fail-over moves them."""

    topology: Topology
    payers: Sequence[LoadPayer]
    purses: dict[str, Purse]
    hub: HubClient
    chance: random.Random
    say: Callable[[str], None] = print
    database_url: str = ""
    undo: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What scenarios have added and must be taken away in the end."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was done to which part how often in this scenario."""
    failed: Callable[[], int] = lambda: 0
    """How many requests of this scenario had no receipt so far."""
    account: Account = field(default_factory=Account)
    hands: Hands = field(default_factory=Hands)

    @property
    def channels(self) -> list[LoadChannel]:
        """All channels of all payers."""
        return [channel for payer in self.payers for channel in payer.channels]

    def count(self, what: str, times: int = 1) -> None:
        """Note that something was done."""
        self.counts[what] += times

    @asynccontextmanager
    async def books(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A connection of our own to the receiver's database, with the workers' login."""
        conn = await asyncpg.connect(self.database_url, timeout=10, target_session_attrs=SessionAttribute.read_write)
        try:
            await conn.execute("SET ROLE sluice_worker")
            yield conn
        finally:
            await conn.close(timeout=10)

    async def waited(self, what: str, count: Callable[[], Any], wanted: int, within_s: float) -> None:
        """Wait until `count` says `wanted`; tell now and then how far it is. Raises TimeoutError."""
        began = told = time.monotonic()
        while (found := await count()) < wanted:
            now = time.monotonic()
            if now - began > within_s:
                raise TimeoutError(f"{what}: {found} of {wanted} after {within_s:g} s")
            if now - told > _TOLD_EVERY_S:
                told = now
                self.say(f"    {what}: {found} of {wanted}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def staged(
    topology: Topology, *, payers: int, channels: int, chance: random.Random, say: Callable[[str], None] = print
) -> AsyncIterator[Stage]:
    """Give so many payers money and keys for so many channels, on a topology that runs."""
    each, left = divmod(channels, payers)
    async with HubClient(topology.ledger.url, DEVNET, request_timeout_s=_HUB_S) as hub:
        witnesses = await hub.get_witnesses()
        crowd = [LoadPayer(number, topology.address, each + (number < left), chance) for number in range(payers)]
        purses = {payer.address: Purse(hub, witnesses, payer.key) for payer in crowd}
        for purse in purses.values():
            await purse.fill()
        await hub.request("devnet/stabilise")
        async with AsyncExitStack() as undo:
            yield Stage(topology, crowd, purses, hub, chance, say, topology.settings.database_dsn, undo)
