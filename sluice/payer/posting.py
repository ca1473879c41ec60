"""Bringing units to the ledger: composed, journaled, posted; after a crash the same unit again, never a second one.

composed ──post──> posted ──the agent answers──> done
    │ lost answer: posted again, the same bytes, by the next connection if need be
    │ no longer fits (parents, last ball, fee): replaced by one that spends the same coins, so only one can hold
    └ refused for good, or void: failed, and what it meant is undone
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from shared.obyte.coins import BASE, Coin, Policy
from shared.obyte.composing import Joint, Output, compose
from shared.obyte.errors import CompositionError, HubError
from shared.obyte.hub_errors import JointRefusedError
from sluice.payer import store as payer_store
from sluice.payer.errors import LedgerError
from sluice.payer.store import JournalEntry

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Sequence

    from shared.obyte.hub_client import HubClient
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue
    from sluice.payer.book import ChannelBook
    from sluice.payer.store import PayerStore, Purpose, StoredChannel
    from sluice.payer.wallet import PayerWallet

logger = structlog.get_logger(__name__)

MAX_REPLACEMENTS = 3


@dataclass(slots=True)
class UnitOrder:
    """What a unit is to do: pay these outputs and carry these messages, for one channel."""

    purpose: Purpose
    aa_address: str
    period: int
    payments: Sequence[Output]
    messages: Sequence[dict[str, JsonValue]] = field(default=(), repr=False)
    deposit: int = 0
    policy: Policy = "own"
    is_withdrawn: bool = False
    """Set while it is not journaled yet, it stops the order."""

    @property
    def max_aa_responses(self) -> int | None:
        """One answer is all a channel's agent gives, and all we pay for; an agent still unknown allows no number."""
        return None if self.purpose == "open" else 1


class UnitPoster:
    """Composes and posts the wallet's units, one at a time: a second one must see the first among its ancestors."""

    def __init__(
        self,
        *,
        key: KeyPair,
        network: Network,
        wallet: PayerWallet,
        book: ChannelBook,
        store: PayerStore,
        clock: Callable[[], float],
        connect_timeout_s: float,
    ) -> None:
        self._key = key
        self._network = network
        self._wallet = wallet
        self._book = book
        self._store = store
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(
        self, order: UnitOrder, journal: Callable[[JournalEntry, float], Awaitable[None]] | None = None
    ) -> JournalEntry:
        """Compose a unit, journal it and post it. Returns also when the hub has not confirmed it: it will be posted.

        `journal` stores the entry where more than the entry has to be stored with it. A caller that is cancelled
        before the unit is journaled stops it; afterwards it goes its way.

        Raises LedgerError, CompositionError, HubError: nothing was posted, and nothing will be.
        """
        task = asyncio.create_task(self._send(order, journal or self._journal))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            order.is_withdrawn = True
            raise

    async def repost(self, client: HubClient) -> None:
        """Post what was journaled and that no hub has confirmed, in the order of its making. Raises HubError."""
        async with self._lock:
            await self._repost(client)

    async def close(self) -> None:
        """Stop what is under way; what is journaled is posted after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, order: UnitOrder, journal: Callable[[JournalEntry, float], Awaitable[None]]) -> JournalEntry:
        async with self._lock:
            client = await self._wallet.connected(self._connect_timeout_s)
            await self._repost(client)
            entry = self._entry(order, await self._compose(client, order))
            if order.is_withdrawn:
                raise LedgerError("withdrawn", "nobody waits for this unit any more")
            await journal(entry, self._clock())
            self._wallet.coins.apply(entry.content, is_stable=False)
            try:
                return await self._post(client, entry)
            except HubError as error:
                logger.warning("payer_unit_unconfirmed", unit=entry.unit, purpose=entry.purpose, code=error.code)
                return entry

    async def _repost(self, client: HubClient) -> None:
        for entry in await self._store.run(payer_store.units_on_their_way):
            if entry.state == "composed":
                try:
                    await self._post(client, entry)
                except LedgerError as error:
                    logger.warning("payer_unit_refused", unit=entry.unit, purpose=entry.purpose, code=error.code)

    async def _post(self, client: HubClient, entry: JournalEntry) -> JournalEntry:
        """Post until the hub has it. Raises LedgerError when it never will, HubError when nobody knows."""
        is_disclosed = False
        for _ in range(MAX_REPLACEMENTS + 1):
            try:
                await client.post_joint(entry.joint)
                return await self._posted(entry)
            except JointRefusedError as error:
                refusal = error
            if refusal.kind == "in_work":
                return entry
            if await client.get_joint(entry.unit) is not None:
                return await self._posted(entry)
            if refusal.kind != "recompose":
                break
            is_disclosed = is_disclosed or refusal.is_for_known_definition
            entry = await self._replace(client, entry, is_disclosed=is_disclosed)
        self._wallet.coins.forget(entry.unit)
        await self._wallet.give_up(entry.unit, "failed", refusal.hub_text)
        code = "double_spend" if refusal.kind == "double_spend" else "unit_refused"
        raise LedgerError(code, f"the hub does not take the unit: {refusal.hub_text}")

    async def _posted(self, entry: JournalEntry) -> JournalEntry:
        await self._store.run(lambda connection: payer_store.set_unit_state(connection, entry.unit, "posted"))
        return entry

    async def _replace(self, client: HubClient, entry: JournalEntry, *, is_disclosed: bool) -> JournalEntry:
        """Compose the same again on new parents, of the very same coins, and journal it in the place of the first."""
        order = _order_of(entry, self._key.address)
        try:
            coins = self._wallet.coins.spent_by(entry.unit)
            joint = await self._compose(client, order, coins, is_disclosed=is_disclosed)
        except CompositionError as error:
            self._wallet.coins.forget(entry.unit)
            await self._wallet.give_up(entry.unit, "failed", error.text)
            raise LedgerError("unit_refused", f"the unit no longer fits and cannot be replaced: {error}") from error
        replacement = self._entry(order, joint)
        if replacement.unit == entry.unit:  # nothing has changed, and signatures are deterministic
            return entry

        def work(connection: sqlite3.Connection) -> None:
            payer_store.set_unit_state(connection, entry.unit, "replaced", replacement.unit)
            payer_store.insert_unit(connection, replacement, self._clock())

        await self._store.run(work)
        self._wallet.coins.forget(entry.unit)
        self._wallet.coins.apply(joint.unit, is_stable=False)
        return replacement

    async def _compose(
        self, client: HubClient, order: UnitOrder, coins: Sequence[Coin] | None = None, *, is_disclosed: bool = False
    ) -> Joint:
        """Make a unit. `is_disclosed`: the ledger has our definition, whatever we have seen of it."""
        known = self._wallet.coins
        own = self._key.address
        parents = await client.get_parents(
            witnesses=self._wallet.witnesses,
            from_addresses=[own],
            output_addresses=sorted({own, *(payment.address for payment in order.payments)}),
            max_aa_responses=order.max_aa_responses,
            now_s=self._clock(),
        )
        if coins is None:
            coins = known.purse(
                (payment.asset for payment in order.payments),
                order.policy,
                network=self._network,
                last_ball_mci=parents.last_ball_mci,
                now_s=self._clock(),
            )
        return compose(
            network=self._network,
            key=self._key,
            coins=coins,
            parents=parents,
            payments=order.payments,
            messages=order.messages,
            include_definition=not (is_disclosed or known.definition_disclosed(own, parents.last_ball_mci)),
            max_aa_responses=order.max_aa_responses,
        )

    def _entry(self, order: UnitOrder, joint: Joint) -> JournalEntry:
        return JournalEntry(
            unit=joint.unit_hash,
            purpose=order.purpose,
            aa_address=order.aa_address,
            period=order.period,
            amount=order.deposit,
            joint=joint.as_json(),
        )

    async def _journal(self, entry: JournalEntry, now_s: float) -> None:
        def work(connection: sqlite3.Connection, stored: StoredChannel) -> tuple[StoredChannel, None]:
            payer_store.insert_unit(connection, entry, now_s)
            return stored, None

        await self._book.change(entry.aa_address, work)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; if nobody did, it is in the log


def _order_of(entry: JournalEntry, own_address: str) -> UnitOrder:
    """Read from a journaled unit what it was to do: everything but its change."""
    content: dict[str, Any] = entry.content
    payments, messages = [], []
    for message in content["messages"]:
        payload = message["payload"]
        if message["app"] != "payment":
            messages.append({"app": message["app"], "payload": payload})
            continue
        payments += [
            Output(output["address"], output["amount"], payload.get("asset", BASE))
            for output in payload["outputs"]
            if output["address"] != own_address
        ]
    return UnitOrder(
        purpose=entry.purpose,
        aa_address=entry.aa_address,
        period=entry.period,
        payments=payments,
        messages=messages,
        deposit=entry.amount,
    )
