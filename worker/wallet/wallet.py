"""The only place where units are made and signed.

    compose ── journal (signed, under the lease) ── post ── the ledger tells what became of it
                        │                            │
         a crash from here on posts the same unit again, never a second one for the same purpose

One unit at a time: while nobody knows whether the last one arrived, the next would conflict with it. Only a defence
goes ahead all the same: then one of the two comes to nothing, and what it was for is done again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.agent.responses import objects, payments
from shared.logs import get_logger
from shared.obyte.coins import BASE, CoinSet, Outpoint
from shared.obyte.hub_errors import HubClosedError
from shared.store import journal, wallet_units
from shared.store.alarms import AlarmKind
from shared.store.errors import UnfinishedUnitError
from shared.store.wallet_units import Sequence as Verdict
from worker.errors import PostingError
from worker.metrics import WALLET_BALANCE
from worker.wallet.delivery import Delivery
from worker.wallet.gathering import coins_to_gather, order_gathering
from worker.wallet.making import Circumstances, Maker
from worker.wallet.orders import Purpose, Urgency
from worker.wallet.spending import Spending
from worker.wallet.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.obyte.composing import Joint
    from shared.obyte.history import ProvenUnit
    from shared.obyte.hub_client import HubClient
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue
    from shared.store.database import Connection
    from shared.store.journal import Entry
    from worker.alarms import Alarms
    from worker.guard import Guard
    from worker.hub_session import HubSession
    from worker.wallet.orders import UnitOrder

logger = get_logger(__name__)

MAX_COMPOSITIONS = 3
"""How often one order is composed anew at once when its parents or fees no longer fit."""
HOUSEKEEPING_S = 60.0


class Wallet:
    """One address: its key, its coins, and its units on their way to the ledger."""

    def __init__(
        self,
        guard: Guard,
        session: HubSession,
        key: KeyPair,
        network: Network,
        clock: Callable[[], float],
        alarms: Alarms,
        *,
        spending: Spending | None = None,
        assets: Iterable[str] = (),
    ) -> None:
        """Take, besides bytes, the `assets` that are looked after: those that people are paid in.

        No others: strangers open channels in, and send, whatever they have made themselves, and gathering costs bytes.
        """
        self._guard = guard
        self._session = session
        self._key = key
        self._clock = clock
        self._alarms = alarms
        self._spending = spending or Spending()
        self._turns = Turns()
        self._assets = (BASE, *assets)
        self._is_read = False
        self.coins = CoinSet(frozenset({key.address}))
        self._delivery = Delivery(guard, self.coins)
        self._maker = Maker(session, key, network, self.coins, self._spending, alarms, clock)

    @property
    def address(self) -> str:
        """The wallet's only address."""
        return self._key.address

    async def load(self) -> None:
        """Read what is known of the coins, our own units on their way included."""
        async with self._guard.transaction() as conn:
            async for known in wallet_units.stream(conn):
                self.coins.apply(
                    known.joint["unit"],
                    is_stable=known.is_stable,
                    mci=known.mci,
                    sequence="good" if known.sequence is Verdict.GOOD else "bad",
                    seen_s=known.first_seen_at.timestamp(),
                )
            for entry in await journal.unfinished(conn):
                self.coins.apply(entry.joint["unit"], is_stable=False)

    async def learn(self, units: Iterable[ProvenUnit]) -> None:
        """Take note of units that touch the address, all that the hub had to tell since the last time."""
        news = [unit for unit in units if self._is_news(unit)]
        if news:
            async with self._guard.transaction() as conn:
                for unit in news:
                    await wallet_units.save(
                        conn,
                        unit.unit_hash,
                        {"unit": unit.unit},
                        mci=unit.mci_hint,
                        is_stable=unit.is_stable,
                        sequence=Verdict.FINAL_BAD if unit.is_nonserial else Verdict.GOOD,
                    )
                    if unit.is_stable:
                        await self._resolve(conn, unit)
        for unit in news:
            self.coins.apply(
                unit.unit,
                is_stable=unit.is_stable,
                mci=unit.mci_hint,
                sequence="bad" if unit.is_nonserial else "good",
                seen_s=self._clock(),
            )
            if unit.is_stable:
                self._maker.disputed.discard(unit.unit_hash)
        self._is_read = True
        self._tell_balance()

    async def conflicting(self, units: Iterable[str]) -> None:
        """Stop counting unstable units that lost to others. Our own on their way wait for the ledger's last word."""
        known = [unit for unit in units if unit in self.coins]
        async with self._guard.transaction() as conn:
            ours = {entry.unit for entry in await journal.unfinished(conn)}
            for unit in known:
                if unit not in ours:
                    await wallet_units.mark_bad(conn, unit)
        self._maker.disputed |= ours.intersection(known)
        for unit in known:
            if unit not in ours:
                self.coins.mark_bad(unit)

    def void(self, unit: str) -> None:
        """A unit of ours can never become final: its coins can be spent again."""
        self._delivery.void(unit)

    def heard(self, *, asked: Iterable[str], told: Iterable[str]) -> None:
        """Note which units of ours the hub knew when it was asked for them; the others have to be posted again."""
        self._delivery.heard(asked=asked, told=told)

    async def post(self, order: UnitOrder) -> str | None:
        """Make a unit, journal it, post it and return its hash; None when it is no longer wanted.

        Raises PostingError when nothing was posted or its fate is unknown (`in_doubt`); the journal then knows.
        """
        async with self._turns.turn(order.urgency):
            client = self._connected()
            doubtful = await self._delivery.resume(client)
            if doubtful and not _may_overtake(order, doubtful):
                raise PostingError("in_doubt", "the fate of an earlier unit is not known yet")
            without = frozenset(entry.unit for entry in doubtful)
            contested = await self._spent_before(order.purpose)
            is_disclosed = False
            for _ in range(MAX_COMPOSITIONS):
                joint = await self._compose(client, order, Circumstances(is_disclosed, without, contested))
                if not await self._journal(joint, order):
                    return None
                refusal = await self._delivery.deliver(client, joint.unit_hash, joint.as_json())
                if refusal is None:
                    await self._delivery.was_overtaken(client, doubtful, joint.unit_hash)
                    return joint.unit_hash
                await self._delivery.failed(joint.unit_hash, f"{refusal.kind}: {refusal.hub_text}")
                if refusal.kind != "recompose":
                    raise PostingError(refusal.kind, refusal.hub_text)
                if self._turns.is_wanted_more(order.urgency):
                    raise PostingError("overtaken", "a more urgent unit goes first")
                contested |= _spent(joint.unit)
                is_disclosed = is_disclosed or refusal.is_for_known_definition
            raise PostingError("recompose", "parents or fees change faster than units can be made")

    async def resume(self) -> None:
        """Post again what may not have arrived. Raises PostingError without a connection."""
        async with self._turns.turn(Urgency.SETTLING, is_patient=True):
            await self._delivery.resume(self._connected())

    async def offer(self, client: HubClient) -> None:
        """Bring units on their way to another hub too, as they are. Raises HubError, StoreError."""
        await self._delivery.offer(client)

    async def keep_house(self, every_s: float = HOUSEKEEPING_S) -> None:
        """Tidy up now and then. Runs forever; raises StoreError when the database or the lease is gone."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.tidy()
            except PostingError as error:
                logger.info("housekeeping_put_off", code=error.code, reason=str(error))

    async def tidy(self) -> None:
        """Make one coin of many where that is of use, and see whether fees have come down. Raises PostingError."""
        if self._alarms.subjects(AlarmKind.FEE_HIGH):
            await self._maker.look_at_fees(self._connected())
        for asset in self._assets:
            coins = coins_to_gather([coin for coin in self.coins.coins(asset) if coin.is_stable])
            if coins:
                await self.post(order_gathering(self.address, coins))
                logger.info("coins_gathered", asset=asset, coins=len(coins))

    def _connected(self) -> HubClient:
        try:
            return self._session.client
        except HubClosedError as error:
            raise PostingError(error.code, str(error)) from error

    async def _compose(self, client: HubClient, order: UnitOrder, now: Circumstances) -> Joint:
        return await self._maker.make(client, order, now)

    async def _journal(self, joint: Joint, order: UnitOrder) -> bool:
        purpose = order.purpose
        try:
            async with self._guard.marked() as conn:
                if not await order.is_wanted(conn):
                    return False
                if await journal.get(conn, joint.unit_hash) is not None:
                    # Same second, same parents, same unit: what was refused just now would be refused again.
                    raise PostingError("unit_unchanged", "composed anew, the refused unit is still the same")
                await journal.compose(
                    conn,
                    purpose.meaning,
                    joint.unit_hash,
                    joint.as_json(),
                    aa_address=purpose.aa_address,
                    period=purpose.period,
                    reference=purpose.reference,
                )
                if order.on_journaled is not None:
                    await order.on_journaled(conn, joint.unit_hash)
        except UnfinishedUnitError as error:
            raise PostingError(error.code, str(error)) from error
        self.coins.apply(joint.unit, is_stable=False)
        logger.info(
            "unit_composed",
            unit=joint.unit_hash,
            purpose=purpose.meaning,
            aa_address=purpose.aa_address,
            period=purpose.period,
            reference=purpose.reference or None,
            fees=joint.fees.total,
        )
        self._tell_balance()
        return True

    async def _spent_before(self, purpose: Purpose) -> frozenset[Outpoint]:
        """Return what units for this purpose spend that came to nothing, as far as we know.

        Another hub may have one of them all the same: a unit that spends the same coins cannot become final too.
        """
        async with self._guard.reading() as conn:
            failed = await journal.failed_for(
                conn, purpose.meaning, aa_address=purpose.aa_address, period=purpose.period, reference=purpose.reference
            )
        return frozenset().union(*(_spent(entry.joint["unit"]) for entry in failed))

    async def _resolve(self, conn: Connection, unit: ProvenUnit) -> None:
        """Learn what became of a unit of ours that is for no channel: being final is all it had to do."""
        entry = await journal.get(conn, unit.unit_hash)
        if entry is None or entry.aa_address is not None:
            return
        if unit.is_nonserial:
            await journal.failed(conn, unit.unit_hash, "the unit lost to a conflicting one")
        else:
            await journal.final(conn, unit.unit_hash)

    def _is_news(self, unit: ProvenUnit) -> bool:
        if unit.unit_hash not in self.coins or unit.is_nonserial:
            return not (self.coins.is_stable(unit.unit_hash) and self.coins.is_bad(unit.unit_hash))
        return unit.is_stable and not self.coins.is_stable(unit.unit_hash)

    def _tell_balance(self) -> None:
        """Tell the metrics what there is, and people when it is too little."""
        for asset in self._assets:
            balance = self.coins.balance(asset)
            WALLET_BALANCE.labels(asset=asset, state="stable").set(balance.stable)
            WALLET_BALANCE.labels(asset=asset, state="pending").set(balance.pending)
        if not self._is_read:
            return  # what looks empty may be full
        spendable = self.coins.certain()
        if spendable >= self._spending.reserve:
            self._alarms.clear(AlarmKind.WALLET_LOW)
        else:
            self._alarms.raise_(AlarmKind.WALLET_LOW, spendable=spendable, reserve=self._spending.reserve)


def _may_overtake(order: UnitOrder, doubtful: Iterable[Entry]) -> bool:
    """Whether the order goes ahead though nobody knows what became of these. Two units for one end are never made."""
    return order.urgency is Urgency.DEFENCE and all(_purpose(entry) != order.purpose for entry in doubtful)


def _purpose(entry: Entry) -> Purpose:
    return Purpose(entry.purpose, entry.aa_address, entry.period, entry.reference)


def _spent(unit: Mapping[str, JsonValue]) -> frozenset[Outpoint]:
    return frozenset(
        Outpoint(str(spent.get("unit")), int(str(spent.get("message_index"))), int(str(spent.get("output_index"))))
        for payload in payments(unit)
        for spent in objects(payload.get("inputs"))
    )
