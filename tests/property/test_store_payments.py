"""The store keeps what the rules decide: payments, ledger events and crashes in any order, against a real Postgres."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.channels.acceptance import Accepted, accept
from shared.channels.closing import order_close
from shared.channels.ledger import Closed, Closing, LedgerEvent, Opened, apply
from shared.channels.model import Allowance, Channel, PackageTerms, PeerUnit, Status, UnconfirmedLimits
from shared.store import assets, channels, payments
from shared.store.channel_rows import NewChannel
from shared.store.database import Database, Role
from shared.store.payments import NewPayment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from shared.store.database import Connection
    from shared.store.payments import PaymentKey

OWN, PEER = "O" * 32, "P" * 32
CHANNELS = 3
LIMITS = UnconfirmedLimits(max_by_asset=40, max_by_channel=30, min_age_s=0)

numbers = itertools.count(1)
packages = st.tuples(st.integers(0, CHANNELS - 1), st.integers(1, 150), st.integers(1, 60))


class Crash(Exception):  # noqa: N818 - it is the fault that is injected
    """The process ends before the commit."""


class Receiver(RuleBasedStateMachine):
    """A few channels of one asset of their own; `model` is what the rules alone say they are."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.front = self.run(Database.connect(self.url, role=Role.FRONT, max_connections=2))
        self.worker = self.run(Database.connect(self.url, role=Role.WORKER, max_connections=2))
        example = next(numbers)
        self.asset = f"{example:043d}="
        self.addresses = [f"{example:016d}{number:016d}" for number in range(CHANNELS)]
        self.model = [Channel(address, OWN, PEER, self.asset, 1_000) for address in self.addresses]
        self.credited: dict[PaymentKey, int] = {}
        self.run(self.in_transaction(self.front, self._insert))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def in_transaction(self, database: Database, work: Callable[[Connection], Awaitable[None]]) -> None:
        async with database.transaction() as conn:
            await work(conn)

    async def _insert(self, conn: Connection) -> None:
        for number, address in enumerate(self.addresses):
            new = NewChannel(address, OWN, PEER, self.asset, 1_000, f"{address[:16]} {number}", "1.1", "A")
            await channels.insert(conn, new)

    def teardown(self) -> None:
        self.run(self.front.close())
        self.run(self.worker.close())
        self.runner.close()

    # ------------------------------------------------------------------------------------------------------- rules

    @rule(batch=st.lists(packages, min_size=1, max_size=6), crashes=st.booleans())
    def pay(self, batch: list[tuple[int, int, int]], *, crashes: bool) -> None:
        """Take a batch as a front does; some processes end just before they commit."""
        model, credited = list(self.model), dict(self.credited)

        async def take(conn: Connection) -> None:
            locked = await channels.lock(conn, self.addresses)
            await assets.lock(conn, [self.asset])
            used = (await channels.unconfirmed_used(conn, [self.asset]))[self.asset]
            terms = [
                PackageTerms(self.addresses[place], self.model[place].current_period, min(payment, spent), spent, PEER)
                for place, spent, payment in batch
            ]
            earlier = await payments.find(conn, {term.key for term in terms})
            after = {address: found.channel for address, found in locked.items()}
            new: dict[PaymentKey, NewPayment] = {}
            for term in terms:
                if term.key in earlier or term.key in new:
                    continue
                channel = after[term.aa_address]
                elsewhere = used - channel.unconfirmed_used
                unit = PeerUnit("u" * 44, 0, amount=35, publishes_definition=True)
                outcome = accept(
                    channel, term, f"signed {term.amount_spent}", Allowance((unit,), LIMITS, elsewhere, now_s=1)
                )
                if isinstance(outcome, Accepted):
                    after[term.aa_address] = outcome.channel
                    used = elsewhere + outcome.channel.unconfirmed_used
                    new[term.key] = NewPayment(term.aa_address, term.period, term.amount_spent, term.payment_amount)
            touched = {payment.aa_address for payment in new.values()}
            if touched:
                ids = await payments.record_batch(conn, [after[address] for address in touched], list(new.values()))
                credited.update(zip(new, ids, strict=True))
            for place, address in enumerate(self.addresses):
                claim = after[address].claim or self.model[place].claim
                model[place] = replace(after[address], claim=claim)
            if crashes:
                raise Crash

        try:
            self.run(self.in_transaction(self.front, take))
        except Crash:
            return
        self.model, self.credited = model, credited

    @rule(place=st.integers(0, CHANNELS - 1), deposit=st.integers(1, 100))
    def peer_deposits(self, place: int, deposit: int) -> None:
        channel = self.model[place]
        if not channel.is_closing:
            event = Opened(
                channel.last_event_id + 1,
                channel.current_period,
                channel.deposited_by_peer + deposit,
                channel.deposited_by_me,
                "u" * 44,
            )
            self._see(place, event)

    @precondition(lambda self: any(channel.status is Status.OPEN for channel in self.model))
    @rule(by_me=st.booleans(), claimed=st.integers(0, 200))
    def closing_begins(self, claimed: int, *, by_me: bool) -> None:
        place = next(place for place, channel in enumerate(self.model) if channel.status is Status.OPEN)
        channel = self.model[place]
        if by_me and channel.period_closed_by_me != channel.period:
            ordered, close = order_close(channel)
            assert close.claim == (f"signed {channel.spent_by_peer}" if channel.spent_by_peer else None)
            self._save(place, ordered)
        self._see(place, Closing(channel.last_event_id + 1, channel.period, by_me, claimed, 0, 1_700_000_000, "u" * 44))

    @precondition(lambda self: any(channel.is_closing for channel in self.model))
    @rule()
    def closing_ends(self) -> None:
        place = next(place for place, channel in enumerate(self.model) if channel.is_closing)
        channel = self.model[place]
        self._see(place, Closed(channel.last_event_id + 1, channel.period, by_fraud_proof=False, received=0))

    def _see(self, place: int, event: LedgerEvent) -> None:
        self._save(place, apply(self.model[place], event))

    def _save(self, place: int, after: Channel) -> None:
        async def save(conn: Connection) -> None:
            assert await channels.lock_one(conn, after.aa_address) == self.model[place]
            await channels.save_transition(conn, after)

        self.run(self.in_transaction(self.worker, save))
        self.model[place] = after

    # -------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def the_store_holds_what_the_rules_say(self) -> None:
        async def look(conn: Connection) -> None:
            for channel in self.model:
                assert await channels.lock_one(conn, channel.aa_address) == channel
            used = await channels.unconfirmed_used(conn, [self.asset])
            assert used == {self.asset: sum(channel.unconfirmed_used for channel in self.model)}
            assert used[self.asset] <= LIMITS.max_by_asset

        self.run(self.in_transaction(self.worker, look))

    @invariant()
    def books_balance_to_the_last_unit(self) -> None:
        async def look(conn: Connection) -> None:
            for channel in self.model:
                which = payments.Filter(aa_address=channel.aa_address, period=channel.current_period)
                paid = sum(payment.payment_amount for payment in await payments.page(conn, which, limit=1_000))
                assert paid + channel.credit == channel.spent_by_peer

        self.run(self.in_transaction(self.front, look))

    @invariant()
    def every_receipt_is_on_record_once(self) -> None:
        async def look(conn: Connection) -> None:
            which = payments.Filter(asset=self.asset)
            found = {payment.key: payment.id async for payment in payments.export(conn, which, prefetch=50)}
            assert found == self.credited

        self.run(self.in_transaction(self.front, look))


def test_the_store_keeps_what_the_rules_decide(database_url: str) -> None:
    machine = type("ReceiverOnOneDatabase", (Receiver,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
