"""Reading the ledger through a hub that is not trusted: ask, prove, and put what is proven into the database.

How far back an address is asked for is its own affair (`bounds`), and a gap in a channel's events makes it read from
the beginning. What is too much for one answer is read in parts (`big_histories`).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.hub_errors import HubClosedError, HubRequestError
from shared.obyte.hub_requests import MAX_HISTORY_ITEMS
from shared.store import channels, journal, ledger_events, peer_units
from shared.store.alarms import AlarmKind
from worker.big_histories import BigHistories, is_too_large
from worker.bounds import Batch, Bounds
from worker.channel_reader import Answer, Outcome
from worker.news import news_by_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.obyte.history import ProvenHistory
    from shared.obyte.hub_client import HubClient
    from shared.store.journal import Entry
    from worker.alarms import Alarms
    from worker.channel_reader import ChannelReader
    from worker.guard import Guard
    from worker.proving import Prover
    from worker.rollback import Rollback
    from worker.wallet import Wallet

logger = get_logger(__name__)


class LedgerReader:
    """Reads for one term of the lease."""

    def __init__(
        self,
        guard: Guard,
        prover: Prover,
        wallet: Wallet,
        channel_reader: ChannelReader,
        rollback: Rollback,
        alarms: Alarms,
    ) -> None:
        self._guard = guard
        self._prover = prover
        self._wallet = wallet
        self._channels = channel_reader
        self._rollback = rollback
        self._alarms = alarms
        self._big = BigHistories(guard, prover, wallet, channel_reader, alarms)
        self._bounds = Bounds()
        self._own_bound: int | None = None
        self._looks_for_old_coins = True
        self._too_large: dict[str, int] = {}

    def start_over(self) -> None:
        """Forget how far was read: a new connection, maybe to another hub."""
        self._bounds.start_over()
        self._own_bound = None
        self._looks_for_old_coins = True

    def read_whole(self, aa_address: str) -> None:
        """Read this channel from its beginning the next time."""
        self._bounds.forget(aa_address)

    async def read(self, client: HubClient, addresses: Iterable[str]) -> None:
        """Read what is new of our own address and of these channels.

        Raises HubError, HistoryProofError, WithholdingHubError, and StoreError when the database or the lease is gone.
        """
        # What is on its way is listed before the journal is read: a unit made meanwhile is in neither list.
        on_their_way = self._wallet.coins.unstable_units()
        async with self._guard.reading() as conn:
            ours = await journal.unfinished(conn)
        await self._read_own(client, ours, on_their_way)
        # Whatever the hub announces, the fate of our own units is asked for until it is known.
        wanted = {entry.aa_address for entry in ours if entry.aa_address is not None}.union(addresses)
        async with self._guard.reading() as conn:
            self._bounds.begin_at(await ledger_events.last_of(conn, self._bounds.unknown(wanted)))
        for batch in self._bounds.batches(wanted):
            await self._read_batch(client, batch, ours)

    async def read_once_more(self, client: HubClient, addresses: Iterable[str]) -> frozenset[str]:
        """Read the events of these channels through another hub, by nothing that the first one has told.

        Returns the last events of those channels where there was news. What is on its way is not asked for: another
        hub may not have heard of it yet. Raises like `read`.
        """
        other = LedgerReader(self._guard, self._prover, self._wallet, self._channels, self._rollback, self._alarms)
        wanted = tuple(addresses)
        async with self._guard.reading() as conn:
            before = await ledger_events.last_of(conn, wanted)
        other._bounds.begin_at(before)
        for batch in other._bounds.batches(wanted):
            await other._read_batch(client, batch, None)
        async with self._guard.reading() as conn:
            now = await ledger_events.last_of(conn, wanted)
        return frozenset(event.unit for address, event in now.items() if before.get(address) != event)

    async def _read_own(self, client: HubClient, ours: Sequence[Entry], on_their_way: Sequence[str]) -> None:
        """Read the wallet's own history from its last stable unit on.

        That unit is in every answer, so every round has a proof in it: a hub that says nothing is not taken for one
        that has nothing to say. Units on their way are asked for by their hashes: of one that lost to another, or
        vanished, nothing is told any more.
        """
        wallet = self._wallet
        bound = wallet.coins.last_stable_mci() if self._own_bound is None else self._own_bound
        ours_asked = [entry.unit for entry in ours]
        asked = list(dict.fromkeys([*ours_asked, *on_their_way]))[:MAX_HISTORY_ITEMS]
        history = await self._ask_own(client, asked, bound)
        if bound and history is not None and not self._repeats_own(history):
            # The index of the last unit was a hub's word: this one may be right.
            logger.warning("own_history_read_again", min_mci=bound)
            history = await self._ask_own(client, asked, 0)
            if history is not None and not self._repeats_own(history):
                raise self._prover.missing(client.url, "our own last unit")
            known = [unit.mci_hint for unit in history.units if unit.is_stable] if history is not None else []
            self._own_bound = max((mci for mci in known if mci is not None), default=0)
        if history is None:
            self._looks_for_old_coins = False
            await self._big.read_own(client)
            return
        told = {unit.unit_hash for unit in history.units}
        wallet.heard(asked=[unit for unit in ours_asked if unit in asked], told=told)
        await self._learn_own(history)
        vanished = set(asked) - told - set(ours_asked)
        if vanished := {unit for unit in vanished if not wallet.coins.is_bad(unit)}:
            logger.warning("units_vanished", units=len(vanished))
            await wallet.conflicting(vanished)
        if wallet.address in self._alarms.subjects(AlarmKind.HISTORY_TOO_LARGE):
            await self._look_for_old_coins(client)

    async def _look_for_old_coins(self, client: HubClient) -> None:
        """What is new fits into an answer, but old coins were not found: this hub may tell of them, asked once."""
        if self._looks_for_old_coins:
            self._looks_for_old_coins = False
            await self._big.read_own(client)
        else:
            await self._big.compare_balances(client)

    async def _learn_own(self, history: ProvenHistory) -> None:
        own = news_by_address(history, [self._wallet.address]).get(self._wallet.address, ())
        await self._wallet.learn(own)
        await self._rollback.examine(own)

    async def _ask_own(self, client: HubClient, asked: Sequence[str], min_mci: int) -> ProvenHistory | None:
        """Return our own history, None when it is too large for one answer."""
        return await self._prove(client, (self._wallet.address,), asked, min_mci or None)

    def _repeats_own(self, history: ProvenHistory) -> bool:
        return any(unit.is_stable and self._wallet.coins.is_stable(unit.unit_hash) for unit in history.units)

    async def _read_batch(
        self, client: HubClient, batch: Batch, unfinished: Sequence[Entry] | None, *, is_whole: bool = False
    ) -> None:
        """Read these addresses from `min_mci` on; `is_whole`: no answer reaches further back.

        `unfinished`: our units whose fate is open; None: ask for nothing by its hash.
        """
        addresses = batch.addresses
        async with self._guard.reading() as conn:
            theirs = {} if unfinished is None else await peer_units.of(conn, addresses)
        ours = [entry for entry in unfinished or () if entry.aa_address in addresses]
        asked = {entry.unit: entry.aa_address for entry in ours}
        asked |= {unit.unit: aa_address for aa_address, units in theirs.items() for unit in units}
        asked = dict(itertools.islice(asked.items(), MAX_HISTORY_ITEMS))
        history = await self._prove(client, addresses, tuple(asked), batch.min_mci, batch.known)
        if history is None:
            await self._read_smaller(client, batch, unfinished)
            return

        for address in self._alarms.subjects(AlarmKind.HISTORY_TOO_LARGE).intersection(addresses):
            self._alarms.clear(AlarmKind.HISTORY_TOO_LARGE, address)
        told = {unit.unit_hash for unit in history.units}
        news = news_by_address(history, addresses)
        self._bounds.read(addresses, history)
        concerned = {address for address in (*news, *asked.values()) if address is not None and address in addresses}
        async with self._guard.reading() as conn:
            known = await channels.find(conn, concerned)
        again = {address for address, unit in batch.expected.items() if unit not in told}
        for aa_address, stored in sorted(known.items()):
            answer = Answer(
                units=tuple(news.get(aa_address, ())),
                history=history,
                asked=frozenset(unit for unit, address in asked.items() if address == aa_address),
                ours=tuple(entry for entry in ours if entry.aa_address == aa_address),
            )
            reaches_back = is_whole or batch.min_mci is None
            outcome = await self._channels.read(client, stored.channel, answer, is_whole=reaches_back)
            if outcome is not Outcome.APPLIED:
                self._bounds.forget(aa_address)
            if outcome is Outcome.READ_WHOLE:
                again.add(aa_address)
        for aa_address in sorted(again):
            self._bounds.forget(aa_address)
            await self._read_again(client, aa_address, batch.expected.get(aa_address), unfinished)

    async def _read_again(
        self, client: HubClient, aa_address: str, expected: str | None, unfinished: Sequence[Entry] | None
    ) -> None:
        """Read one channel from its beginning; `expected`: a unit of it that was proven before."""
        logger.info("channel_read_whole", aa_address=aa_address)
        is_first_hub = unfinished is not None
        if expected is not None and is_first_hub and not (await self._prover.history(client, asked=[expected])).units:
            raise self._prover.missing(client.url, f"{expected}, which was proven before")
        await self._read_batch(client, Batch((aa_address,), None), unfinished)

    async def _read_smaller(self, client: HubClient, batch: Batch, unfinished: Sequence[Entry] | None) -> None:
        """The answer would have been too large: ask for fewer addresses, or for the events of one in parts."""
        addresses = batch.addresses
        if len(addresses) > 1:
            middle = len(addresses) // 2
            for part in (addresses[:middle], addresses[middle:]):
                expected = {address: batch.expected[address] for address in part if address in batch.expected}
                await self._read_batch(client, Batch(part, batch.min_mci, expected), unfinished)
            return
        [address] = addresses
        if batch.known:
            self._alarms.raise_(AlarmKind.HISTORY_TOO_LARGE, address, min_mci=batch.min_mci)
            return
        await self._big.read_channel(client, address)
        async with self._guard.reading() as conn:
            events = await ledger_events.of(conn, address)
        if not events:
            self._alarms.raise_(AlarmKind.HISTORY_TOO_LARGE, address, min_mci=batch.min_mci)
            return
        known = tuple(event.unit for event in events[-MAX_HISTORY_ITEMS:])
        rest = Batch((address,), events[-1].mci or None, known=known)
        await self._read_batch(client, rest, unfinished, is_whole=True)

    async def _prove(
        self,
        client: HubClient,
        addresses: Sequence[str],
        asked: Sequence[str],
        min_mci: int | None,
        known: Sequence[str] = (),
    ) -> ProvenHistory | None:
        """Return the history from `min_mci` on, None when it is too large for one answer."""
        if len(addresses) == 1 and not known and self._too_large.get(addresses[0], -1) >= (min_mci or 0):
            return None
        try:
            return await self._prover.history(client, addresses=addresses, asked=asked, known=known, min_mci=min_mci)
        except HubRequestError as error:
            if not is_too_large(error):
                raise
            return None
        except HubClosedError as error:
            if error.code == "frame_too_large":
                # This connection has ended of it. The next one asks for less.
                self._bounds.ask_for_less()
                if len(addresses) == 1:
                    self._too_large[addresses[0]] = min_mci or 0
            raise
