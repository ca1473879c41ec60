"""Whatever a peer, the order on the ledger and lost units do: a period ends with at least what is ours, and no more.

The ledger is the agent of the local ledger, version 1.2 (1.1 lets a closer rob the other side: shown elsewhere). Units
are executed in any order; the peer deposits, signs, closes with any claim, and tries to prove frauds. We accept by the
rules, and send what `trigger_due` says, one unit for each purpose at a time.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devnet import agent
from shared.agent.responses import read_response
from shared.agent.triggers import trigger_data
from shared.channels.acceptance import Accepted, accept
from shared.channels.closing import FraudProof, order_close
from shared.channels.depositing import check_deposit
from shared.channels.errors import ChannelError
from shared.channels.ledger import Closed, Meaning, apply, undo
from shared.channels.model import Allowance, Channel, PackageTerms, Status
from shared.channels.paying import create_payment, spendable
from shared.channels.settling import payout, trigger_due
from shared.obyte.history import ProvenUnit
from tests.unit.channels.builders import AGENT, ME, PEER, new_channel

TIMEOUT_S = 1_000
FEE = 10_000
deposits = st.integers(10_001, 100_000)
amounts = st.one_of(st.integers(1, 200), st.integers(1, 40_000))


@dataclass
class Unit:
    """A unit on its way to the agent."""

    hash: str
    author: str
    amount: int
    data: dict[str, Any] | None = field(default=None, repr=False)
    meaning: Meaning | None = None
    period: int = 0


class Settlement(RuleBasedStateMachine):
    """One channel from our side, we are A; and everything the other side can think of."""

    @initialize()
    def begin(self) -> None:
        self.params = agent.ChannelParams(AGENT, ME, PEER, "base", TIMEOUT_S, version="1.2")
        self.channel: Channel = replace(new_channel(), timeout_s=TIMEOUT_S, version="1.2")
        self.state = agent.AgentState()
        self.agent_bytes = 0
        self.now_s = 1_000_000
        self.count = 0
        self.on_their_way: list[Unit] = []
        self.signed_by_peer: dict[int, list[int]] = {}
        self.signed_by_us: dict[int, list[int]] = {}
        self.credited: dict[int, int] = {}
        self.late: list[PackageTerms] = []
        self.is_awake = True
        self._send(PEER, 100_000)
        self._execute(self.on_their_way.pop())

    # --- payments

    @rule(amount=amounts, extra=st.integers(0, 3_000), arrives=st.booleans())
    def the_peer_signs(self, amount: int, extra: int, *, arrives: bool) -> None:
        period = self.channel.current_period
        signed = self.signed_by_peer.setdefault(period, [0])
        terms = PackageTerms(AGENT, period, amount, max(signed) + amount + extra, PEER)
        signed.append(terms.amount_spent)
        if not arrives:
            self.late.append(terms)
            return
        self._receive(terms)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_package_arrives(self, data: st.DataObject) -> None:
        self._receive(self.late.pop(data.draw(st.integers(0, len(self.late) - 1))))

    @precondition(lambda self: spendable(self.channel) > 0)
    @rule(amount=amounts)
    def we_pay(self, amount: int) -> None:
        amount = min(amount, spendable(self.channel))
        try:
            order = create_payment(self.channel, amount)
        except ChannelError:
            return
        self.channel = order.channel
        self.signed_by_us.setdefault(order.period, [0]).append(order.amount_spent)

    # --- units

    @rule(amount=deposits, at_once=st.booleans())
    def the_peer_deposits(self, amount: int, *, at_once: bool) -> None:
        self._send(PEER, amount)
        self._execute_all(at_once=at_once)

    @rule(amount=deposits, at_once=st.booleans())
    def we_deposit(self, amount: int, *, at_once: bool) -> None:
        try:
            check_deposit(self.channel, amount)
        except ChannelError:
            return
        self._send(ME, amount, meaning=Meaning.DEPOSIT)
        self._execute_all(at_once=at_once)

    @precondition(lambda self: self.channel.status is Status.OPEN)
    @rule(at_once=st.booleans())
    def we_order_the_closing(self, *, at_once: bool) -> None:
        try:
            self.channel, _ = order_close(self.channel)
        except ChannelError:
            return
        self._look()
        self._execute_all(at_once=at_once)

    @rule(hides=st.integers(-20_000, 50_000), shows=st.booleans(), at_once=st.booleans())
    def the_peer_closes(self, hides: int, *, shows: bool, at_once: bool) -> None:
        period = self.channel.current_period
        claims = max(0, max(self.signed_by_peer.get(period, [0])) - hides)
        data: dict[str, Any] = {"close": 1, "period": period, "transferredFromMe": claims}
        ours = max(self.signed_by_us.get(period, [0]))
        if shows and ours:
            data["sentByPeer"] = self._package(ME, period, ours)
        self._send(PEER, FEE, data)
        self._execute_all(at_once=at_once)

    @precondition(lambda self: self.channel.is_closing)
    @rule()
    def the_peer_confirms(self) -> None:
        self._send(PEER, FEE, {"confirm": 1, "period": self.channel.period})

    @precondition(lambda self: self.channel.status is Status.CLOSING_BY_ME and self.channel.spent_by_me > 0)
    @rule()
    def the_peer_claims_that_we_lied(self) -> None:
        period = self.channel.period
        best = self._package(ME, period, max(self.signed_by_us.get(period, [0])))
        self._execute(self._sent(PEER, FEE, {"fraud_proof": 1, "period": period, "sentByPeer": best}))

    @precondition(lambda self: self.channel.is_closing)
    @rule(is_awake=st.booleans())
    def the_vault_stops_or_starts(self, *, is_awake: bool) -> None:
        self.is_awake = is_awake
        self._look()

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data())
    def the_ledger_executes_one(self, data: st.DataObject) -> None:
        self._execute(self.on_their_way.pop(data.draw(st.integers(0, len(self.on_their_way) - 1))))

    @precondition(lambda self: self.channel.is_closing)
    @rule(seconds=st.integers(1, 600))
    def time_passes(self, seconds: int) -> None:
        """A closing is answered long before its timeout ends, whatever else is on its way."""
        self.is_awake = True
        self._look()
        while self.channel.status is Status.CLOSING_BY_PEER:
            unit = next(unit for unit in self.on_their_way if unit.author == ME)
            self.on_their_way.remove(unit)
            self._execute(unit)
        self.now_s += seconds
        self._look()

    # --- what must always hold

    @invariant()
    def our_books_are_the_agents(self) -> None:
        if not self.channel.is_closing and self.channel.status is Status.OPEN:
            assert self.channel.deposited_by_me == (self.state.balance_a or 0)
            assert self.channel.deposited_by_peer == (self.state.balance_b or 0)

    @invariant()
    def what_is_closed_is_never_signed_again(self) -> None:
        signed = self.signed_by_us.get(self.channel.current_period, [0])
        assert self.channel.spent_by_me == max(signed)

    # --- helpers

    def _look(self) -> None:
        """Send what is due now, unless it is on its way."""
        due = trigger_due(self.channel, ledger_time_s=self.now_s) if self.is_awake else None
        if due is None or any((unit.meaning, unit.period) == (due.meaning, due.period) for unit in self.on_their_way):
            return
        if self.channel.status is Status.CLOSING_BY_PEER:
            assert isinstance(due, FraudProof) == _hides_something(self.channel)
        self._send(ME, FEE, trigger_data(due), meaning=due.meaning, period=due.period)

    def _send(
        self,
        author: str,
        amount: int,
        data: dict[str, Any] | None = None,
        *,
        meaning: Meaning | None = None,
        period: int = 0,
    ) -> None:
        self.on_their_way.append(self._sent(author, amount, data, meaning=meaning, period=period))

    def _sent(
        self,
        author: str,
        amount: int,
        data: dict[str, Any] | None = None,
        *,
        meaning: Meaning | None = None,
        period: int = 0,
    ) -> Unit:
        self.count += 1
        unit_hash = b64encode(sha256(str(self.count).encode()).digest()).decode()
        return Unit(unit_hash, author, amount, data, meaning, period)

    def _execute_all(self, *, at_once: bool) -> None:
        while at_once and self.on_their_way:
            self._execute(self.on_their_way.pop(0))

    def _receive(self, terms: PackageTerms) -> None:
        text = json.dumps(self._package(PEER, terms.period, terms.amount_spent))
        outcome = accept(self.channel, terms, text, Allowance(now_s=self.now_s))
        if isinstance(outcome, Accepted):
            self.channel = outcome.channel
            self.credited[terms.period] = self.credited.get(terms.period, 0) + terms.payment_amount

    def _execute(self, unit: Unit) -> None:
        event = agent.Trigger(unit.author, unit.hash, {"base": unit.amount}, unit.data, self.now_s)
        self.agent_bytes += unit.amount
        response = agent.trigger(self.state, self.params, event, _verify)
        outputs = self._pay_out(response)
        if response.bounced:
            self._bounced(unit, response)
            return
        if unit.data is not None and "fraud_proof" in unit.data:
            assert unit.author == ME, "nobody can prove that we lied"
        before, agent_before = self.channel, self.state
        self.state = response.state
        seen = read_response(self._proven(response, outputs), before)
        assert seen is not None
        self.channel = apply(before, seen.event)
        if isinstance(seen.event, Closed):
            self._check_end(before, agent_before, seen.event, unit)
        self._look()

    def _bounced(self, unit: Unit, response: agent.Response) -> None:
        assert not (unit.author == ME and "too early" in str(response.error)), "confirmed before the timeout had passed"
        if unit.meaning is not None and unit.meaning is not Meaning.DEPOSIT:
            self.channel = undo(self.channel, unit.meaning, period=unit.period)
        self._look()

    def _check_end(self, before: Channel, told: agent.AgentState, end: Closed, unit: Unit) -> None:
        """The period has ended: did we get what was ours, and nothing else?"""
        credited = self.credited.get(before.period, 0)
        signed = max(self.signed_by_us.get(before.period, [0]))
        due = max(0, before.deposited_by_me - signed + credited)
        assert payout(before) == due
        assert end.received >= due
        if end.by_fraud_proof:
            assert _hides_something(before)
            return
        assert not _hides_something(before), "a closing that hides something was confirmed"
        # By the agent's own sums, without the fees that the richer party keeps.
        shown, claimed = told.spent_by_a or 0, told.spent_by_b or 0
        given = (unit.data or {}).get("additionalTransferredFromMe", 0) if unit.author == ME else 0
        share = max(0, (told.balance_a or 0) - shown + claimed - given)
        hidden = max(0, signed - shown)
        if before.status is Status.CLOSING_BY_ME:
            assert hidden == 0, "we admit all that we have signed"
        assert due <= share <= due + hidden

    def _pay_out(self, response: agent.Response) -> list[dict[str, Any]]:
        outputs = []
        for message in response.messages:
            if isinstance(message, agent.Payment):
                for output in sorted(message.outputs, key=lambda output: output.amount is None):
                    amount = self.agent_bytes if output.amount is None else output.amount
                    self.agent_bytes -= amount
                    outputs.append({"address": output.address, "amount": amount})
        assert self.agent_bytes >= 0
        return outputs

    def _proven(self, response: agent.Response, outputs: list[dict[str, Any]]) -> ProvenUnit:
        [payload] = [message.payload for message in response.messages if isinstance(message, agent.Data)]
        self.count += 1
        unit = {
            "unit": b64encode(sha256(str(self.count).encode()).digest()).decode(),
            "authors": [{"address": AGENT}],
            "timestamp": self.now_s,
            "messages": [
                {"app": "data", "payload": payload},
                {"app": "payment", "payload": {"inputs": [], "outputs": outputs}},
            ],
        }
        return ProvenUnit(unit, is_stable=True, mci_hint=self.count)

    @staticmethod
    def _package(signer: str, period: int, amount_spent: int) -> dict[str, Any]:
        message = {"aa_address": AGENT, "period": period, "amount_spent": amount_spent, "payment_amount": 1}
        return {"signed_message": message, "authors": [{"address": signer}]}


def _hides_something(channel: Channel) -> bool:
    return channel.status is Status.CLOSING_BY_PEER and (channel.claimed_by_peer or 0) < channel.spent_by_peer


def _verify(package: Any, signer: str) -> bool:
    return bool(package["authors"][0]["address"] == signer)


Settlement.TestCase.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
TestSettlement = Settlement.TestCase
