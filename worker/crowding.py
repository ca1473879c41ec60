"""Closes channels whose agents are sent too many coins: beyond some 2 450 an agent can pay nobody (decision 0016, W4).

A payer who arranges that, and then closes dishonestly, may outlast the timeout while neither a confirmation nor a fraud
proof goes through. So no channel is left open in which it could come to that: one that we close ourselves can still
be delayed, but nothing can be stolen from it. Every channel is counted when it changes and from time to time, by the
hub's word.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.channels.exposure import is_closable
from shared.channels.model import Status
from shared.logs import get_logger
from shared.obyte.errors import HubError
from shared.obyte.hub_requests import MAX_BALANCE_ADDRESSES
from shared.store import channels, exposure, peer_units
from shared.store.alarms import AlarmKind
from worker.pacing import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.alarms import Alarms
    from worker.guard import Guard
    from worker.hub_session import HubSession

logger = get_logger(__name__)

MAX_COINS = 400
"""An honest channel has one for each deposit of a period and few more."""


@dataclass(frozen=True, slots=True)
class CrowdingPace:
    """How often coins are counted, in seconds."""

    all_s: float = 600.0
    again_s: float = 1.0
    """After the hub did not answer."""


class Crowding:
    """The counting of one term of the lease. `on_order` is told when commands have been queued."""

    def __init__(
        self,
        guard: Guard,
        session: HubSession,
        alarms: Alarms,
        *,
        on_order: Callable[[], None],
        monotonic: Callable[[], float],
        pace: CrowdingPace,
    ) -> None:
        self._guard = guard
        self._session = session
        self._alarms = alarms
        self._on_order = on_order
        self._monotonic = monotonic
        self._pace = pace
        self._changed: set[str] = set()
        self._bell = Bell()

    def look_at(self, aa_address: str) -> None:
        """The channel has changed: count its agent's coins soon."""
        self._changed.add(aa_address)
        self._bell.ring()

    async def run(self) -> None:
        """Count again and again. Runs forever; raises StoreError when the database or the lease is gone."""
        all_due_s = self._monotonic()
        while True:
            is_all = self._monotonic() >= all_due_s
            wanted = list(self._changed)
            self._changed.clear()
            try:
                await (self._look_at_all() if is_all else self._look_at_some(wanted))
                all_due_s = self._monotonic() + self._pace.all_s if is_all else all_due_s
            except HubError:  # the session sees to it
                self._changed.update(wanted)
                await asyncio.sleep(self._pace.again_s)
                self._bell.ring()
            await self._bell.sleep(max(0.0, all_due_s - self._monotonic()))

    async def _look_at_all(self) -> None:
        last = ""
        while True:
            async with self._guard.reading() as conn:
                page = await channels.to_watch(conn, last)
            if not page:
                return
            await self._look_at_some(page)
            last = page[-1]

    async def _look_at_some(self, addresses: list[str]) -> None:
        async with self._guard.reading() as conn:
            found = await channels.find(conn, addresses)
        is_open = {address for address, stored in found.items() if stored.channel.status is not Status.CLOSED}
        for address in set(addresses) - is_open:
            self._alarms.clear(AlarmKind.AGENT_CROWDED, address)
        counted = sorted(is_open)
        for start in range(0, len(counted), MAX_BALANCE_ADDRESSES):
            counts = await self._session.client.count_coins(counted[start : start + MAX_BALANCE_ADDRESSES])
            for address, coins in counts.items():
                await self._judge(address, coins)

    async def _judge(self, aa_address: str, coins: int) -> None:
        if coins <= MAX_COINS:
            self._alarms.clear(AlarmKind.AGENT_CROWDED, aa_address)
            return
        self._alarms.raise_(AlarmKind.AGENT_CROWDED, aa_address, coins=coins)
        async with self._guard.transaction() as conn:
            channel = await channels.lock_one(conn, aa_address)
            if channel is None or not is_closable(channel) or channel.is_unsure:
                return
            units = (await peer_units.of(conn, [aa_address])).get(aa_address, ())
            if any(unit.closes for unit in units):
                return
            command_id = await exposure.order_sweep_again(conn, aa_address, channel.period)
        if command_id is not None:
            logger.info("sweep_ordered", command=command_id, aa_address=aa_address, period=channel.period)
            self._on_order()
