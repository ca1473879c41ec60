"""Whatever is posted in whatever order: no money is made or lost, conflicts leave one winner, histories are proven."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from devnet.agent import BASE
from devnet.genesis import TOTAL_BYTES
from devnet.ledger import Ledger
from devnet.outputs import outputs_of
from devnet.queries import get_history
from devnet.state import RejectedError
from shared.obyte.composing import Output, Parents, data_message
from shared.obyte.errors import CompositionError
from shared.obyte.history import prove_history
from tests.devnet_support import Actor, TestChannel

ASSET_CAP = 1_000_000
FEES = ("headers_commission", "payload_commission", "oversize_fee", "tps_fee", "burn_fee")

people = st.integers(0, 2)
amounts = st.sampled_from([1, 500, 9_999, 10_000, 10_001, 50_000, 2_000_000])
triggers = st.sampled_from(
    [
        None,
        {"close": 1, "period": 1},
        {"close": 1, "period": 1, "transferredFromMe": 70_000},
        {"close": 1, "period": 2},
        {"confirm": 1, "period": 1},
        {"confirm": 1, "period": 1, "additionalTransferredFromMe": 3_000},
        {"confirm": 1, "period": 2},
        "package",
        "proof",
    ]
)


class LedgerMachine(RuleBasedStateMachine):
    """Three people, two channels, and a network that brings conflicting units."""

    @initialize()
    def start(self) -> None:
        self.now_s = 1_700_000_000.0
        self.ledger = Ledger(seed=b"property", clock=lambda: self.now_s)
        self.people = [Actor(self.ledger, number) for number in (1, 2, 3)]
        self.asset = self.ledger.treasury.issue(ASSET_CAP)
        for actor in self.people:
            actor.fund(10_000_000)
            actor.fund(10_000, self.asset)
        alice, bob, _ = self.people
        self.channels = [
            TestChannel(self.ledger, alice, bob, timeout_s=50),
            TestChannel(self.ledger, alice, bob, asset=self.asset, timeout_s=50),
        ]
        self.old: list[Parents] = []

    def try_post(self, actor: Actor, payments: list[Output], messages: Any = (), **options: Any) -> None:
        try:
            joint = actor.compose(payments, messages, **options)
            self.ledger.post(joint, with_conflicts=True)
        except (CompositionError, RejectedError):
            return

    @rule(sender=people, receiver=people, amount=amounts, in_asset=st.booleans())
    def pay(self, sender: int, receiver: int, amount: int, *, in_asset: bool) -> None:
        asset = self.asset if in_asset else BASE
        self.try_post(self.people[sender], [Output(self.people[receiver].address, amount, asset)])

    @rule(sender=people, amount=amounts)
    def double_spend(self, sender: int, amount: int) -> None:
        actor = self.people[sender]
        coins, parents = actor.coins(), actor.parents()
        for receiver in self.people:
            self.try_post(actor, [Output(receiver.address, amount)], coins=coins, parents=parents)

    @rule(sender=people)
    def remember_parents(self, sender: int) -> None:
        self.old.append(self.people[sender].parents())

    @rule(sender=people, receiver=people, amount=amounts, data=st.data())
    def pay_on_old_parents(self, sender: int, receiver: int, amount: int, data: st.DataObject) -> None:
        if self.old:
            parents = data.draw(st.sampled_from(self.old))
            self.try_post(self.people[sender], [Output(self.people[receiver].address, amount)], parents=parents)

    @rule(number=st.integers(0, 1), amount=amounts)
    def open_channel(self, number: int, amount: int) -> None:
        try:
            self.ledger.post(self.channels[number].open_unit(amount), with_conflicts=True)
        except (CompositionError, RejectedError):
            return

    @rule(
        sender=people, number=st.integers(0, 1), amount=amounts, asset_amount=st.sampled_from([0, 0, 7]), data=triggers
    )
    def trigger(self, sender: int, number: int, amount: int, asset_amount: int, data: Any) -> None:
        channel = self.channels[number]
        alice, bob, _ = self.people
        if data == "package":
            data = {"close": 1, "period": 1, "sentByPeer": channel.signed(bob if sender == 0 else alice, 40_000)}
        elif data == "proof":
            data = {"fraud_proof": 1, "sentByPeer": channel.signed(alice, 90_000)}
        payments = [Output(channel.address, amount)]
        if asset_amount:
            payments.append(Output(channel.address, asset_amount, self.asset))
        self.try_post(self.people[sender], payments, [data_message(data)] if data else [])

    @rule(seconds=st.sampled_from([0, 1, 60]))
    def advance(self, seconds: int) -> None:
        self.now_s += seconds
        self.ledger.advance()

    @rule()
    def settle(self) -> None:
        self.ledger.settle()
        self.check_books()

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.settle()
            self.check_books()

    def check_books(self) -> None:
        state = self.ledger.state
        assert {record.sequence for record in state.dag.records.values()} <= {"good", "final-bad"}
        owned = Counter[str]()
        by_agent: dict[str, Counter[str]] = {address: Counter() for address in state.agents}
        for address in state.units_by_address:
            for output in state.outputs.unspent(address):
                owned[output.asset] += output.amount
                if address in by_agent:
                    by_agent[address][output.asset] += output.amount
        good = [record for record in state.dag.records.values() if record.sequence == "good"]
        paid = sum(int(str(record.unit.get(fee, 0))) for record in good for fee in FEES)
        assert owned[BASE] + paid == TOTAL_BYTES
        assert owned[self.asset] == ASSET_CAP
        assert {address: +Counter(agent.balances) for address, agent in state.agents.items()} == by_agent

    @invariant()
    def every_output_has_at_most_one_good_spender(self) -> None:
        if not hasattr(self, "ledger"):
            return
        state = self.ledger.state
        for record in list(state.dag.records.values()):
            for output in outputs_of(record.hash, record.unit):
                spenders = [state.dag.records[unit] for unit in state.outputs.spenders(output.outpoint)]
                assert sum(spender.sequence == "good" for spender in spenders) <= 1

    @invariant()
    def light_clients_believe_every_history(self) -> None:
        if not hasattr(self, "ledger"):
            return
        addresses = [actor.address for actor in self.people] + [channel.address for channel in self.channels]
        request = {"witnesses": [self.ledger.provider_address], "addresses": addresses}
        proven = prove_history(
            get_history(self.ledger, request), [self.ledger.provider_address], self.ledger.network, now_s=self.now_s
        )
        for unit in proven.units:
            record = self.ledger.state.dag.records[unit.unit_hash]
            if unit.is_stable:
                assert record.is_stable
                assert unit.is_nonserial == (record.sequence == "final-bad")


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
