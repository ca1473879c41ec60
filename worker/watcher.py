"""Keeps the database in step with the ledger: when to look, and where.

What the hub says unasked is not believed, it only tells where to look. Looking is asking for history and proving it
(`reading`). Every channel is looked at now and then, whatever the hub announces.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from shared.agent.triggers import touched_addresses
from shared.bus import CHANNEL_CHANGED
from shared.store import channels, instance, ledger_pins, peer_units, unfunded
from worker.metrics import WATCHER_IN_STEP
from worker.pacing import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.bus import Bus
    from shared.obyte.hub_client import HubClient
    from shared.obyte.hub_protocol import Justsaying
    from worker.cross_checks import CrossChecks
    from worker.guard import Guard
    from worker.hub_session import HubSession
    from worker.reading import LedgerReader
    from worker.wallet import Wallet


@dataclass(frozen=True, slots=True)
class WatcherPace:
    """How often the watcher looks, in seconds."""

    idle_s: float = 3.0
    """At least this often the wallet's own history is asked for: the sign of life of hub and watcher."""
    gather_s: float = 0.05
    """Notifications that come within this are answered by one look."""
    everything_s: float = 60.0
    """At least this often every channel is looked at."""

    @classmethod
    def for_channels(cls, shortest_timeout_s: float, *, max_silence_s: float) -> Self:
        """Return a pace that gives several signs of life within `max_silence_s`, and looks at all channels in time."""
        usual = cls()
        return cls(
            idle_s=min(usual.idle_s, max_silence_s / 8), everything_s=min(usual.everything_s, shortest_timeout_s / 8)
        )


class Watcher:
    """The watcher of one term of the lease. `on_change` is told of every channel that has changed."""

    def __init__(
        self,
        guard: Guard,
        session: HubSession,
        reader: LedgerReader,
        cross_checks: CrossChecks,
        wallet: Wallet,
        bus: Bus,
        *,
        on_change: Callable[[str], None],
        pace: WatcherPace,
    ) -> None:
        self._guard = guard
        self._session = session
        self._reader = reader
        self._cross_checks = cross_checks
        self._wallet = wallet
        self._bus = bus
        self._on_change = on_change
        self._pace = pace
        self._bell = Bell()
        self._watched: set[str] = set()
        self._attention: set[str] = set()
        self._strange: set[str] = set()
        self._conflicting: set[str] = set()
        self._everything_due_s = 0.0

    async def follow(self, client: HubClient) -> None:
        """Live on one connection until it fails.

        Raises HubError, HistoryProofError, WithholdingHubError, StoreError.
        """
        self._reader.start_over()
        self._cross_checks.start_over()
        self._everything_due_s = 0
        listener = asyncio.create_task(self._listen(client), name="watcher-listener")
        listener.add_done_callback(lambda _: self._bell.ring())
        try:
            await self._load_channels()
            while True:
                await self._look(client)
                self._session.in_step(client)
                await self._bell.sleep(self._pace.idle_s)
                await asyncio.sleep(self._pace.gather_s)
                if listener.done():
                    listener.result()  # raises why nothing is heard any more
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def hear_of_new_channels(self) -> None:
        """Look at once when a front opens a channel; without Redis it is found at the next round. Runs forever."""
        with self._bus.subscribe(CHANNEL_CHANGED) as events:
            async for event in events:
                address = event.body.get("aa_address")
                if isinstance(address, str) and address not in self._watched:
                    self._bell.ring()

    def forget(self, addresses: Iterable[str]) -> None:
        """Watch these no longer: the channels were given up."""
        self._watched.difference_update(addresses)

    def look_at(self, addresses: Iterable[str]) -> None:
        """Look at these once, from their beginning."""
        for aa_address in addresses:
            self._reader.read_whole(aa_address)
            self._attention.add(aa_address)

    async def _load_channels(self) -> None:
        async with self._guard.reading() as conn:
            last = ""
            while page := await channels.to_watch(conn, last):
                self._watched.update(page)
                last = page[-1]

    async def _listen(self, client: HubClient) -> None:
        while True:
            self._take_note(client.url, await client.next_notification())
            self._bell.ring()

    def _take_note(self, hub: str, notification: Justsaying) -> None:
        body = notification.body
        match notification.subject:
            case "joint" if isinstance(body, dict) and isinstance(body.get("unit"), dict):
                touched = touched_addresses(body["unit"])
                self._attention |= touched & self._watched
                self._strange |= touched - self._watched
            case "light/have_updates":
                self._everything_due_s = 0
            case "light/sequence_became_bad" if isinstance(body, list):
                self._conflicting.update(unit for unit in body if isinstance(unit, str))
            case "system_vars":
                self._session.told_system_variables(hub, body)
            case _:
                pass

    async def _look(self, client: HubClient) -> None:
        """One round: read what needs attention, then say that we are awake."""
        await self._session.compare(client)
        strange = frozenset(self._strange)
        self._strange.clear()
        async with self._guard.reading() as conn:
            new = await channels.not_watched(conn)
            given_up = await unfunded.among(conn, strange) if strange else []
        self._watched.update(new)
        self.look_at([*new, *given_up])
        addresses = {*new, *self._attention}
        self._attention.clear()
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._everything_due_s:
            self._everything_due_s = now_s + self._pace.everything_s
            addresses |= self._watched
            self._cross_checks.take_turns(self._watched)
        for aa_address in await self._cross_checks.look(client):
            self._reader.read_whole(aa_address)
            addresses.add(aa_address)
        await self._reader.read(client, addresses)
        await self._session.ask_another(client, self._read_once_more)
        await self._mark_conflicting()
        async with self._guard.marked() as conn:
            if new:
                await channels.mark_watched(conn, new)
            await instance.heartbeat(conn)
            pins = await ledger_pins.note(conn, time_s=self._session.prover.time_s, mci=self._session.prover.mci)
        WATCHER_IN_STEP.set_to_current_time()
        self._session.prover.renew(pins)

    async def _read_once_more(self, other: HubClient) -> frozenset[str]:
        news = await self._reader.read_once_more(other, self._watched)
        await self._wallet.offer(other)
        return news

    async def _mark_conflicting(self) -> None:
        units = frozenset(self._conflicting)
        if not units:
            return
        self._conflicting.clear()
        await self._wallet.conflicting(units)
        async with self._guard.transaction() as conn:
            concerned = await peer_units.mark_bad(conn, units)
        for aa_address in concerned:
            self._on_change(aa_address)
