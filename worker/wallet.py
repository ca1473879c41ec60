"""The only place where units are made and signed.

    compose ── journal (signed, under the lease) ── post ── the ledger tells what became of it
                        │                            │
         a crash from here on posts the same unit again, never a second one for the same purpose

One unit at a time: while nobody knows whether the last one arrived, the next would conflict with it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from shared.agent.responses import objects, payments
from shared.logs import get_logger
from shared.obyte.coins import CoinSet, Outpoint
from shared.obyte.composing import Joint, Output, compose
from shared.obyte.errors import CompositionError, HubError
from shared.obyte.hub_errors import HubAnswerError, HubClosedError, HubTimeoutError, JointRefusedError
from shared.store import journal, wallet_units
from shared.store.errors import UnfinishedUnitError
from shared.store.journal import UnitState
from shared.store.wallet_units import Sequence as Verdict
from worker.errors import PostingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from shared.obyte.coins import Policy
    from shared.obyte.history import ProvenUnit
    from shared.obyte.hub_client import HubClient
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue
    from shared.store.database import Connection
    from worker.guard import Guard
    from worker.hub_session import HubSession

logger = get_logger(__name__)

MAX_COMPOSITIONS = 3
"""How often one order is composed anew at once when its parents or fees no longer fit."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a unit is for: at most one unit is on its way for each purpose."""

    meaning: str
    aa_address: str | None = None
    """The channel's agent; None when the unit is for no channel."""
    period: int | None = None
    reference: str = ""
    """Tells apart what may be wanted several times in a period, as the command that asked for it."""


class Urgency(StrEnum):
    """How much a unit may cost, and what may wait for it."""

    ROUTINE = "routine"
    """Deposits, withdrawals: can wait, and leave the reserve alone."""
    SETTLING = "settling"
    """Closings and their confirmation: what the reserve is for."""
    DEFENCE = "defence"
    """Money is lost if it comes late: a fraud proof, a confirmation whose deadline is near."""


@dataclass(frozen=True, slots=True)
class UnitOrder:
    """A unit to be made. `is_wanted` is asked once more in the transaction that journals it."""

    purpose: Purpose
    payments: tuple[Output, ...]
    messages: tuple[Mapping[str, JsonValue], ...] = field(repr=False)
    is_wanted: Callable[[Connection], Awaitable[bool]] = field(repr=False)
    max_aa_responses: int | None = 1
    policy: Policy = "own"
    """Which unconfirmed coins it may spend."""
    urgency: Urgency = Urgency.ROUTINE
    at_stake: int = 0
    """Bytes that are lost if the unit does not arrive in time."""
    on_journaled: Callable[[Connection, str], Awaitable[None]] | None = field(default=None, repr=False)
    """Called with the unit's hash in the transaction that journals it, to record what it stands for."""


class Wallet:
    """One address: its key, its coins, and its units on their way to the ledger."""

    def __init__(
        self, guard: Guard, session: HubSession, key: KeyPair, network: Network, clock: Callable[[], float]
    ) -> None:
        self._guard = guard
        self._session = session
        self._key = key
        self._network = network
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._missing: set[str] = set()
        self._contested: dict[Purpose, frozenset[Outpoint]] = {}
        self._last_ball_mci = 0
        self.coins = CoinSet(frozenset({key.address}))

    @property
    def address(self) -> str:
        """The wallet's only address."""
        return self._key.address

    async def load(self) -> None:
        """Read what is known of the coins, our own units on their way included."""
        async with self._guard.transaction() as conn:
            async for known in wallet_units.stream(conn):
                is_bad = known.sequence is not Verdict.GOOD
                self._count(known.joint["unit"], is_stable=known.is_stable, mci=known.mci, is_bad=is_bad)
            for entry in await journal.unfinished(conn):
                self.coins.apply(entry.joint["unit"], is_stable=False)

    async def learn(self, units: Iterable[ProvenUnit]) -> None:
        """Take note of units that touch the address."""
        news = [unit for unit in units if self._is_news(unit)]
        if not news:
            return
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
        for unit in news:
            self._count(unit.unit, is_stable=unit.is_stable, mci=unit.mci_hint, is_bad=unit.is_nonserial)

    async def conflicting(self, units: Iterable[str]) -> None:
        """Stop counting unstable units that lost to others. Our own on their way wait for the ledger's last word."""
        async with self._guard.transaction() as conn:
            ours = {entry.unit for entry in await journal.unfinished(conn)}
            bad = [unit for unit in units if unit in self.coins and unit not in ours]
            for unit in bad:
                await wallet_units.mark_bad(conn, unit)
        for unit in bad:
            self.coins.mark_bad(unit)

    def void(self, unit: str) -> None:
        """A unit of ours can never become final: its coins can be spent again."""
        self._missing.discard(unit)
        self.coins.mark_bad(unit)

    def heard(self, *, asked: Iterable[str], told: Iterable[str]) -> None:
        """Note which units of ours the hub knew when it was asked for them; the others have to be posted again."""
        self._missing = self._missing.union(asked).difference(told)

    async def post(self, order: UnitOrder) -> str | None:
        """Make a unit, journal it, post it and return its hash; None when it is no longer wanted.

        Raises PostingError when nothing was posted or its fate is unknown (`in_doubt`); the journal then knows.
        """
        async with self._one_at_a_time:
            client = self._connected()
            if await self._resume(client):
                raise PostingError("in_doubt", "the fate of an earlier unit is not known yet")
            is_disclosed = False
            for _ in range(MAX_COMPOSITIONS):
                joint = await self._compose(client, order, is_disclosed=is_disclosed)
                if not await self._journal(joint, order):
                    return None
                refusal = await self._deliver(client, joint.unit_hash, joint.as_json())
                if refusal is None:
                    self._contested.pop(order.purpose, None)
                    return joint.unit_hash
                await self._failed(joint.unit_hash, refusal)
                if refusal.kind != "recompose":
                    raise PostingError(refusal.kind, refusal.hub_text)
                is_disclosed = is_disclosed or refusal.is_for_known_definition
            raise PostingError("recompose", "parents or fees change faster than units can be made")

    async def resume(self) -> None:
        """Post again what may not have arrived. Raises PostingError without a connection."""
        async with self._one_at_a_time:
            await self._resume(self._connected())

    def _connected(self) -> HubClient:
        try:
            return self._session.client
        except HubClosedError as error:
            raise PostingError(error.code, str(error)) from error

    async def _resume(self, client: HubClient) -> bool:
        """Post unfinished units again; True if the fate of one is still unknown."""
        async with self._guard.reading() as conn:
            entries = await journal.unfinished(conn)
        for entry in entries:
            if entry.state is UnitState.POSTED and entry.unit not in self._missing:
                continue
            try:
                refusal = await self._deliver(client, entry.unit, entry.joint)
            except PostingError as error:
                logger.warning("unit_in_doubt", unit=entry.unit, code=error.code, reason=str(error))
                return True
            self._missing.discard(entry.unit)
            if refusal is not None:
                # Another hub may have it all the same: a unit that spends the same coins cannot become final too.
                purpose = Purpose(entry.purpose, entry.aa_address, entry.period, entry.reference)
                self._contested[purpose] = _spent(entry.joint["unit"])
                await self._failed(entry.unit, refusal)
        return False

    async def _compose(self, client: HubClient, order: UnitOrder, *, is_disclosed: bool) -> Joint:
        """Make a unit. `is_disclosed`: the ledger has our definition, whatever we have seen of it."""
        now_s = self._clock()
        payees = {payment.address for payment in order.payments} | {self.address}
        try:
            parents = await client.get_parents(
                witnesses=self._session.order_providers,
                from_addresses=[self.address],
                output_addresses=sorted(payees),
                now_s=now_s,
                max_aa_responses=order.max_aa_responses,
                last_seen_mci=self._last_ball_mci,
            )
            self._last_ball_mci = parents.last_ball_mci
            coins = self.coins.purse(
                (payment.asset for payment in order.payments),
                network=self._network,
                last_ball_mci=parents.last_ball_mci,
                now_s=now_s,
            )
            composed = partial(
                compose,
                network=self._network,
                key=self._key,
                parents=parents,
                payments=order.payments,
                messages=order.messages,
                include_definition=not (
                    is_disclosed or self.coins.definition_disclosed(self.address, parents.last_ball_mci)
                ),
                max_aa_responses=order.max_aa_responses,
            )
            contested = self._contested.get(order.purpose, frozenset())
            same = [coin for coin in coins if coin.outpoint in contested]
            try:
                return composed(coins=same or coins)
            except CompositionError as error:
                if not same or error.code != "not_enough_funds":
                    raise
            return composed(coins=coins)
        except (CompositionError, HubError) as error:
            raise PostingError(error.code, str(error)) from error

    async def _journal(self, joint: Joint, order: UnitOrder) -> bool:
        purpose = order.purpose
        try:
            async with self._guard.transaction() as conn:
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
            fees=joint.fees.total,
        )
        return True

    async def _deliver(self, client: HubClient, unit: str, joint: Mapping[str, JsonValue]) -> JointRefusedError | None:
        """Post a journaled unit; a hub that refuses it is asked whether it has it all the same.

        A unit that the hub keeps must not be replaced: both would cost, and one would do nothing. Raises PostingError
        `in_doubt`.
        """
        refusal = await self._send(client, unit, joint)
        if refusal is None:
            return None
        try:
            kept = await client.get_joint(unit)
        except HubError as error:
            raise PostingError("in_doubt", str(error)) from error
        if kept is None:
            return refusal
        await self._taken(unit)
        return None

    async def _send(self, client: HubClient, unit: str, joint: Mapping[str, JsonValue]) -> JointRefusedError | None:
        """Post a journaled unit; returns the refusal if the hub will never take it like this.

        Raises PostingError `in_doubt` when it may or may not have arrived: it stays in the journal for `_resume`.
        """
        try:
            await client.post_joint(dict(joint))
        except JointRefusedError as error:
            if error.kind != "in_work":
                return error
            raise PostingError("in_doubt", error.hub_text) from error
        except (HubTimeoutError, HubClosedError, HubAnswerError) as error:
            raise PostingError("in_doubt", str(error)) from error
        await self._taken(unit)
        return None

    async def _taken(self, unit: str) -> None:
        async with self._guard.transaction() as conn:
            await journal.posted(conn, unit)
        logger.info("unit_posted", unit=unit)

    async def _failed(self, unit: str, refusal: JointRefusedError) -> None:
        async with self._guard.transaction() as conn:
            await journal.failed(conn, unit, f"{refusal.kind}: {refusal.hub_text}")
        self.void(unit)
        logger.warning("unit_refused", unit=unit, kind=refusal.kind, reason=refusal.hub_text)

    def _count(self, unit: dict[str, JsonValue], *, is_stable: bool, mci: int | None, is_bad: bool) -> None:
        self.coins.apply(unit, is_stable=is_stable, mci=mci, sequence="bad" if is_bad else "good")

    def _is_news(self, unit: ProvenUnit) -> bool:
        if unit.unit_hash not in self.coins or unit.is_nonserial:
            return not (self.coins.is_stable(unit.unit_hash) and self.coins.is_bad(unit.unit_hash))
        return unit.is_stable and not self.coins.is_stable(unit.unit_hash)


def _spent(unit: Mapping[str, JsonValue]) -> frozenset[Outpoint]:
    return frozenset(
        Outpoint(str(spent.get("unit")), int(str(spent.get("message_index"))), int(str(spent.get("output_index"))))
        for payload in payments(unit)
        for spent in objects(payload.get("inputs"))
    )
