"""Reading the ledger through a hub that is not trusted: ask, prove, and put what is proven into the database.

How far back a channel is asked for is its own affair: nothing another channel has seen makes its past shorter, and a
gap in its events makes it read from the beginning. These bounds come from the hub and are not proven, so they end
with the connection.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.history import ProvenHistory, prove_history
from shared.obyte.hub_errors import HubRequestError
from shared.obyte.hub_requests import MAX_HISTORY_ITEMS
from shared.store import channels, journal, ledger_events, peer_units
from worker.channel_reader import Answer, Outcome
from worker.errors import WithholdingHubError
from worker.news import news_by_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import Network
    from shared.store.journal import Entry
    from worker.channel_reader import ChannelReader
    from worker.guard import Guard
    from worker.hub_session import HubSession
    from worker.rollback import Rollback
    from worker.wallet import Wallet

logger = get_logger(__name__)

MAX_PROOF_AGE_S = 600
"""On the public networks units arrive all the time: a proof that ends earlier is an old one, served again."""
FIRST_BATCH = 200
"""Addresses in one request while their whole history is asked for; an answer may have 2 000 units."""
BATCH = 1_000
"""Addresses in one request for what is new."""
_TOO_LARGE = "history is too large"


class LedgerReader:
    """Reads for one term of the lease."""

    def __init__(
        self,
        guard: Guard,
        session: HubSession,
        wallet: Wallet,
        channel_reader: ChannelReader,
        rollback: Rollback,
        network: Network,
        clock: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._session = session
        self._wallet = wallet
        self._channels = channel_reader
        self._rollback = rollback
        self._network = network
        self._clock = clock
        self._bounds: dict[str, int] = {}

    def start_over(self) -> None:
        """Forget how far was read: a new connection, maybe to another hub."""
        self._bounds.clear()

    async def read(self, client: HubClient, addresses: Iterable[str]) -> None:
        """Read what is new of our own address and of these channels.

        Raises HubError, HistoryProofError, WithholdingHubError, and StoreError when the database or the lease is gone.
        """
        async with self._guard.reading() as conn:
            ours = await journal.unfinished(conn)
        await self._read_own(client, ours)
        # Whatever the hub announces, the fate of our own units is asked for until it is known.
        ours_to = {entry.aa_address for entry in ours if entry.aa_address is not None}
        for batch, min_mci in self._batches(ours_to.union(addresses)):
            await self._read_batch(client, batch, min_mci, ours)

    async def _read_own(self, client: HubClient, ours: Sequence[Entry]) -> None:
        """Read the wallet's own history from its last stable unit on.

        That unit is in every answer, so every round has a proof in it: a hub that says nothing is not taken for one
        that has nothing to say.
        """
        bound = self._wallet.coins.last_stable_mci()
        asked = [entry.unit for entry in ours][:MAX_HISTORY_ITEMS]
        try:
            history = await self._prove(client, [self._wallet.address], asked, bound or None)
        except HubRequestError as error:
            if _TOO_LARGE not in error.hub_text:
                raise
            logger.error("history_too_large", address=self._wallet.address, min_mci=bound)  # noqa: TRY400 - says it all
            return
        if bound and not history.units:
            raise WithholdingHubError("the hub does not tell of our own last unit")
        self._wallet.heard(asked=asked, told=[unit.unit_hash for unit in history.units])
        own = news_by_address(history, [self._wallet.address]).get(self._wallet.address, ())
        await self._wallet.learn(own)
        await self._rollback.examine(own)

    def _batches(self, addresses: Iterable[str]) -> Iterator[tuple[list[str], int | None]]:
        """Group addresses so that none is asked from later than its own bound."""
        bounds = dict(self._bounds)
        wanted = sorted(addresses, key=lambda address: bounds.get(address, -1))
        unknown = [address for address in wanted if address not in bounds]
        known = wanted[len(unknown) :]
        for start in range(0, len(unknown), FIRST_BATCH):
            yield unknown[start : start + FIRST_BATCH], None
        for start in range(0, len(known), BATCH):
            yield known[start : start + BATCH], bounds[known[start]]

    async def _read_batch(
        self,
        client: HubClient,
        batch: Sequence[str],
        min_mci: int | None,
        unfinished: Sequence[Entry],
        *,
        is_whole: bool = False,
    ) -> None:
        """Read these addresses from `min_mci` on; `is_whole`: no answer reaches further back."""
        async with self._guard.reading() as conn:
            theirs = await peer_units.of(conn, batch)
        ours = [entry for entry in unfinished if entry.aa_address in batch]
        asked = {entry.unit: entry.aa_address for entry in ours}
        asked |= {unit.unit: aa_address for aa_address, units in theirs.items() for unit in units}
        asked = dict(itertools.islice(asked.items(), MAX_HISTORY_ITEMS))
        try:
            history = await self._prove(client, batch, tuple(asked), min_mci)
        except HubRequestError as error:
            if _TOO_LARGE not in error.hub_text:
                raise
            await self._read_smaller(client, batch, min_mci, unfinished)
            return

        news = news_by_address(history, batch)
        self._remember_bounds(batch, history)
        concerned = {address for address in (*news, *asked.values()) if address is not None and address in batch}
        async with self._guard.reading() as conn:
            known = await channels.find(conn, concerned)
        for aa_address, stored in sorted(known.items()):
            answer = Answer(
                units=tuple(news.get(aa_address, ())),
                history=history,
                asked=frozenset(unit for unit, address in asked.items() if address == aa_address),
                ours=tuple(entry for entry in ours if entry.aa_address == aa_address),
            )
            outcome = await self._channels.read(client, stored.channel, answer, is_whole=is_whole or min_mci is None)
            if outcome is not Outcome.APPLIED:
                self._bounds.pop(aa_address, None)
            if outcome is Outcome.READ_WHOLE:
                await self._read_batch(client, [aa_address], None, unfinished)

    async def _read_smaller(
        self, client: HubClient, batch: Sequence[str], min_mci: int | None, unfinished: Sequence[Entry]
    ) -> None:
        """The answer would have been too large: ask for fewer addresses, or for one from its last event on."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._read_batch(client, batch[:middle], min_mci, unfinished)
            await self._read_batch(client, batch[middle:], min_mci, unfinished)
            return
        [address] = batch
        async with self._guard.reading() as conn:
            recorded = await ledger_events.of(conn, address)
        bound = recorded[-1].mci if recorded else None
        if bound is None or (min_mci is not None and min_mci >= bound):
            logger.error("history_too_large", address=address, min_mci=min_mci)
            return
        await self._read_batch(client, batch, bound, unfinished, is_whole=True)

    async def _prove(
        self, client: HubClient, addresses: Sequence[str], asked: Sequence[str], min_mci: int | None
    ) -> ProvenHistory:
        providers = self._session.order_providers
        answer = await client.get_history(
            witnesses=providers, addresses=addresses, requested_joints=asked, min_mci=min_mci
        )
        # A long history takes a while to prove; meanwhile the lease has to be renewed.
        return await asyncio.to_thread(
            prove_history,
            answer,
            providers,
            self._network,
            now_s=self._clock(),
            max_age_s=None if self._network.name == "devnet" else MAX_PROOF_AGE_S,
        )

    def _remember_bounds(self, batch: Sequence[str], history: ProvenHistory) -> None:
        """Note up to where these addresses, and no others, are completely read."""
        stable = [unit.mci_hint for unit in history.units if unit.is_stable and unit.mci_hint is not None]
        # What the hub sees as stable and cannot prove yet has to be asked for again.
        unproven = [unit.mci_hint for unit in history.units if not unit.is_stable and unit.mci_hint is not None]
        if stable:
            bound = min([max(stable), *unproven])
            for address in batch:
                self._bounds[address] = max(bound, self._bounds.get(address, 0))
