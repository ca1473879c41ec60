"""The payer's view of the ledger: one hub connection after the other, and what their proven answers say.

    connect → order providers and time (`proving`) → read the history of the wallet and of its channels → in step:
    every notification that something moved, and every half minute without one, is a reason to read again

Channels change only by events proven stable and in the order of their numbers. Units are stored before their events are
applied, and at the start all stored ones are applied again: a crash in between costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import structlog

from shared.agent.errors import UnreadableResponseError
from shared.agent.responses import bounce_reason, read_responses
from shared.agent.triggers import read_peer_trigger
from shared.channels import ledger
from shared.channels.errors import ContradictoryEventError, EventGapError
from shared.channels.ledger import Closed, Meaning
from shared.obyte import units
from shared.obyte.coins import CoinSet
from shared.obyte.errors import ObyteError
from shared.obyte.history import ProvenHistory, ProvenUnit
from sluice.payer import store as payer_store
from sluice.payer.errors import LedgerError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from shared.channels.model import Channel
    from shared.obyte.hub_client import HubClient
    from shared.obyte.hub_protocol import Justsaying
    from shared.obyte.networks import Network
    from sluice.payer.book import ChannelBook
    from sluice.payer.proving import Prover
    from sluice.payer.store import PayerStore, Purpose, StoredChannel

logger = structlog.get_logger(__name__)

READ_EVERY_S = 30.0
LONGEST_PAUSE_S = 30.0
MAX_ADDRESSES = 500
"""In one history request: hubs refuse answers of more than 2 000 units, and a channel has a handful."""
MEANINGS: Mapping[Purpose, Meaning] = {
    "open": Meaning.DEPOSIT,
    "deposit": Meaning.DEPOSIT,
    "close": Meaning.CLOSE,
    "confirm": Meaning.CONFIRM,
    "fraud_proof": Meaning.FRAUD_PROOF,
}


@dataclass(frozen=True, slots=True)
class SettlementSummary:
    """How a period of a channel ended. Amounts in the channel's asset.

    `received`: what the closing unit pays to the payer's address; in a channel of bytes it includes the agent's fixed
    outputs for its messages. `deposited` and `spent` are the two sides' as the payer knew them.
    """

    aa_address: str
    period: int
    asset: str
    deposited_by_me: int
    deposited_by_peer: int
    spent_by_me: int
    spent_by_peer: int
    received: int
    by_fraud_proof: bool
    unit: str


class PayerWallet:
    """Coins, channels and the connection that keeps them in step with the ledger."""

    def __init__(
        self,
        *,
        address: str,
        network: Network,
        store: PayerStore,
        book: ChannelBook,
        make_client: Callable[[], HubClient] | None,
        prover: Prover,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.address = address
        self.coins = CoinSet(frozenset({address}))
        self._network = network
        self._store = store
        self._book = book
        self._make_client = make_client
        self._prover = prover
        self._sleep = sleep
        self._reading = asyncio.Lock()
        self._client: HubClient | None = None
        self._in_step = asyncio.Event()
        self._lost_because = ""
        self._loaded: set[str] = set()
        self._peer_closings: dict[str, set[str]] = {}

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The pinned order providers; empty before the first connection ever."""
        return self._prover.witnesses

    def is_peer_closing(self, aa_address: str) -> bool:
        """Whether an unconfirmed unit of the peer closes the channel."""
        return bool(self._peer_closings.get(aa_address))

    async def restore(self) -> None:
        """Take up what was stored: units proven stable, and our own on their way."""
        stored = await self._store.run(lambda connection: list(payer_store.stable_units(connection)))
        on_their_way = await self._store.run(payer_store.units_on_their_way)
        for unit in stored:
            self.coins.apply(unit.content, is_stable=True, mci=unit.mci, sequence=_sequence(unit.is_nonserial))
        for entry in on_their_way:
            self.coins.apply(entry.content, is_stable=False)
        proven = [ProvenUnit(unit.content, is_stable=True, is_nonserial=unit.is_nonserial) for unit in stored]
        for channel in self._book.all():
            await self._apply_events(channel, proven)
        await self._prover.load()

    async def run(self, in_step: Callable[[HubClient], Awaitable[None]]) -> None:
        """Stay connected and in step, for ever; `in_step` is called whenever the ledger was read. Raises nothing."""
        if self._make_client is None:
            return
        pause_s = 0.25
        while True:
            client = self._make_client()
            try:
                await client.connect()
                await self._prover.greet(client)
                await self.read_ledger(client)
                self._client = client
                self._lost_because = ""
                self._in_step.set()
                pause_s = 0.25
                await in_step(client)
                await self._follow(client, in_step)
            except ObyteError as error:
                if str(error) != self._lost_because:  # told once, not at every attempt
                    logger.warning("payer_hub_lost", hub=client.url, code=error.code, reason=str(error))
                self._lost_because = str(error)
            except Exception:  # a full disk, for example: the wallet must come back when that is over
                logger.exception("payer_wallet_failed", hub=client.url)
            finally:
                self._in_step.clear()
                self._client = None
                await client.close()
            await self._sleep(pause_s * (0.5 + random.random() / 2))  # noqa: S311 (only to spread reconnections)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def connected(self, timeout_s: float) -> HubClient:
        """Return the connection once it is in step with the ledger. Raises LedgerError `not_connected`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._client is None:
                    await self._in_step.wait()
                return self._client
        except TimeoutError:
            reason = f": {self._lost_because}" if self._lost_because else ""
            raise LedgerError("not_connected", f"no connection to the hub within {timeout_s:g} s{reason}") from None

    async def read_ledger(self, client: HubClient) -> None:
        """Read what is new about the wallet and its channels. Raises HubError, HistoryProofError."""
        async with self._reading:
            wanted = [self.address, *(channel.state.aa_address for channel in self._book.all())]
            known = [address for address in wanted if address in self._loaded]
            fresh = [address for address in wanted if address not in self._loaded]
            since = self.coins.last_stable_mci()
            for addresses in _parts(known):
                await self._read(client, addresses, min_mci=since)
            for addresses in _parts(fresh):
                await self._read(client, addresses, min_mci=None)
                self._loaded.update(addresses)

    async def _read(self, client: HubClient, addresses: Sequence[str], *, min_mci: int | None) -> None:
        asked = () if min_mci is None else self.coins.unstable_units()
        await self._learn(await self._prover.history(client, addresses=addresses, asked=asked, min_mci=min_mci))

    async def _learn(self, history: ProvenHistory) -> None:
        stable = [
            payer_store.StoredUnit(unit.unit, unit.is_nonserial, unit.mci_hint)
            for unit in history.units
            if unit.is_stable and not self.coins.is_stable(unit.unit_hash)
        ]
        if stable:
            await self._store.run(lambda connection: payer_store.save_units(connection, stable))
        for unit in history.units:
            sequence = _sequence(unit.is_nonserial)
            self.coins.apply(unit.unit, is_stable=unit.is_stable, mci=unit.mci_hint, sequence=sequence)
        for channel in self._book.all():
            await self._apply_events(channel, history.units)
            self._watch_peer(channel, history.units)
        await self._undo_failed(history)

    async def _apply_events(self, channel: StoredChannel, proven: Iterable[ProvenUnit]) -> None:
        state = channel.state
        try:
            responses = [
                response for response in read_responses(proven, state) if response.event.event_id > state.last_event_id
            ]
        except UnreadableResponseError:
            logger.exception("payer_channel_not_readable", aa_address=state.aa_address)
            return
        if not responses:
            return

        def work(connection: sqlite3.Connection, stored: StoredChannel) -> tuple[StoredChannel, bool]:
            state = stored.state
            for response in responses:
                before, event = state, response.event
                try:
                    state = ledger.apply(state, event)
                except EventGapError:
                    return replace(stored, state=state), True
                if isinstance(event, Closed) and state is not before:
                    _settle(connection, before, event, response.unit)
                elif not isinstance(event, Closed):
                    payer_store.set_unit_state(connection, event.trigger_unit, "done")
            return replace(stored, state=state), False

        try:
            has_gap = await self._book.change(state.aa_address, work)
        except ContradictoryEventError:
            logger.exception("payer_channel_contradicts_ledger", aa_address=state.aa_address)
            return
        if has_gap:  # an event was missed: read everything about the agent again
            logger.warning("payer_event_missed", aa_address=state.aa_address)
            self._loaded.discard(state.aa_address)

    def _watch_peer(self, channel: StoredChannel, proven: Iterable[ProvenUnit]) -> None:
        seen = self._peer_closings.setdefault(channel.state.aa_address, set())
        for unit in proven:
            if unit.is_stable:
                seen.discard(unit.unit_hash)
            elif (trigger := read_peer_trigger(unit.unit, channel.state)) is not None and trigger.closes:
                seen.add(unit.unit_hash)

    async def _undo_failed(self, history: ProvenHistory) -> None:
        """Give up what our own units meant that turned out void or were turned down by the agent."""
        for unit in history.units:
            if unit.is_stable and unit.is_nonserial:
                await self.give_up(unit.unit_hash, "failed", "the unit lost to a conflicting one")
        for hint in history.aa_responses:
            if hint.bounced and self.coins.is_stable(hint.trigger_unit):
                await self.give_up(hint.trigger_unit, "bounced", bounce_reason(hint.response))

    async def give_up(self, unit_hash: str, state: payer_store.UnitState, reason: str) -> None:
        """Mark a unit of ours as having done nothing, and undo what it meant for its channel."""
        entry = await self._store.run(lambda connection: payer_store.journal_entry(connection, unit_hash))
        if entry is None:
            return

        def work(connection: sqlite3.Connection, stored: StoredChannel) -> tuple[StoredChannel, bool]:
            if payer_store.set_unit_state(connection, unit_hash, state, reason) is None:
                return stored, False
            undone = ledger.undo(stored.state, MEANINGS[entry.purpose], period=entry.period)
            return replace(stored, state=undone), True

        if await self._book.change(entry.aa_address, work):
            logger.warning("payer_unit_failed", unit=unit_hash, purpose=entry.purpose, reason=reason)

    async def _follow(self, client: HubClient, in_step: Callable[[HubClient], Awaitable[None]]) -> None:
        while True:
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    notes = [await client.next_notification()]
                while not client.notifications.empty():
                    notes.append(client.notifications.get_nowait())
                must_read = [self._notice(note) for note in notes]
            except TimeoutError:
                must_read = [True]
            if any(must_read):
                await self._prover.keep_time(client)
                await self.read_ledger(client)
                await in_step(client)

    def _notice(self, note: Justsaying) -> bool:
        """Take up one notification; tell whether the history has to be read for it."""
        body = note.body
        if note.subject == "light/sequence_became_bad" and isinstance(body, list):
            for unit_hash in body:
                self.coins.mark_bad(str(unit_hash))
        elif note.subject == "joint":
            try:
                unit = units.check_joint(body, self._network, now_s=self._prover.clock.now_s())
            except ObyteError as error:
                logger.warning("payer_bad_joint", code=error.code)
                return False
            self.coins.apply(unit, is_stable=False)
            for channel in self._book.all():
                self._watch_peer(channel, [ProvenUnit(unit, is_stable=False)])
        return note.subject == "light/have_updates"


def _settle(connection: sqlite3.Connection, state: Channel, event: Closed, unit_hash: str) -> None:
    for entry in payer_store.units_on_their_way(connection, state.aa_address):
        if entry.period == event.period and MEANINGS[entry.purpose] is not Meaning.DEPOSIT:
            payer_store.set_unit_state(connection, entry.unit, "done")
    summary = SettlementSummary(
        aa_address=state.aa_address,
        period=event.period,
        asset=state.asset,
        deposited_by_me=state.deposited_by_me,
        deposited_by_peer=state.deposited_by_peer,
        spent_by_me=state.spent_by_me,
        spent_by_peer=state.spent_by_peer,
        received=event.received,
        by_fraud_proof=event.by_fraud_proof,
        unit=unit_hash,
    )
    payer_store.insert_settlement(connection, state.aa_address, event.period, json.dumps(asdict(summary)))


def _sequence(is_nonserial: bool) -> Literal["good", "bad"]:  # noqa: FBT001
    return "bad" if is_nonserial else "good"


def _parts(addresses: Sequence[str]) -> Iterable[Sequence[str]]:
    return [addresses[start : start + MAX_ADDRESSES] for start in range(0, len(addresses), MAX_ADDRESSES)]
