"""The rules about money hold whatever the peer, the ledger and the order of events do."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.channels.acceptance import Accepted, accept, usable_unconfirmed
from shared.channels.closing import Confirm, FraudProof, next_trigger, order_close
from shared.channels.ledger import Closed, Closing, LedgerEvent, Opened, apply
from shared.channels.model import Allowance, Channel, PackageTerms, PeerUnit, Status, UnconfirmedLimits
from shared.channels.paying import create_payment, spendable
from tests.unit.channels.builders import ME, PEER, new_channel

LIMITS = UnconfirmedLimits(max_by_asset=40_000, max_by_channel=30_000, min_age_s=5)

amounts = st.integers(min_value=1, max_value=60_000)
small = st.integers(min_value=0, max_value=500)


class ChannelLife(RuleBasedStateMachine):
    """A peer who signs what he likes and sends it in any order, and a ledger that follows the agent's rules."""

    packages = Bundle("packages")

    @initialize()
    def begin(self) -> None:
        self.channel: Channel = new_channel()
        self.events: list[LedgerEvent] = []
        self.now_s = 1_000.0
        self.units: list[PeerUnit] = []
        self.elsewhere = 0
        self.signed: dict[int, int] = {}
        self.receipts: dict[tuple[str, int, int, int], int] = {}
        self.balance_of_peer = 0
        self.balance_of_me = 0

    # --- the peer

    @rule(target=packages, payment=amounts, extra=small, signer=st.sampled_from([PEER] * 9 + [ME]))
    def peer_signs_the_next(self, payment: int, extra: int, signer: str) -> PackageTerms:
        period = self.channel.current_period
        spent = self.signed.get(period, 0) + payment + extra
        return self._signed(PackageTerms(self.channel.aa_address, period, payment, spent, signer))

    @rule(target=packages, payment=amounts, spent=amounts, period=st.integers(min_value=1, max_value=4))
    def peer_signs_anything(self, payment: int, spent: int, period: int) -> PackageTerms:
        return self._signed(PackageTerms(self.channel.aa_address, period, payment, spent, PEER))

    def _signed(self, terms: PackageTerms) -> PackageTerms:
        if terms.signer == PEER:
            self.signed[terms.period] = max(self.signed.get(terms.period, 0), terms.amount_spent)
        return terms

    @rule(terms=packages)
    def a_package_arrives(self, terms: PackageTerms) -> None:
        if terms.key in self.receipts:
            return  # the door answers with the first receipt and asks no rule
        before, allowance = self.channel, self._allowance()
        outcome = accept(before, terms, f"signed:{terms.amount_spent}", allowance)
        if not isinstance(outcome, Accepted):
            assert outcome.channel == before
            return
        self.channel = outcome.channel
        self.receipts[terms.key] = terms.payment_amount
        covered = before.deposited_by_peer + before.spent_by_me + usable_unconfirmed(allowance)
        assert max(before.spent_by_peer, terms.amount_spent) <= max(before.spent_by_peer, covered)
        assert terms.signer == PEER
        assert before.status in (Status.OPEN, Status.CLOSED)

    @precondition(lambda self: not self.channel.is_closing and len(self.units) < 4)
    @rule(amount=st.integers(min_value=10_001, max_value=50_000))
    def a_deposit_is_on_its_way(self, amount: int) -> None:
        first = not self.channel.definition_confirmed
        self.units.append(PeerUnit(f"u{self.now_s}", self.now_s, amount, publishes_definition=first))

    # --- ourselves

    @rule(amount=amounts)
    def we_pay(self, amount: int) -> None:
        if self.channel.status is Status.OPEN and self.channel.period_closed_by_me != self.channel.period:
            amount = min(amount, spendable(self.channel))
            if amount > 0:
                self.channel = create_payment(self.channel, amount).channel

    @precondition(lambda self: self.channel.status is Status.OPEN)
    @rule()
    def we_close(self) -> None:
        if self.channel.period_closed_by_me == self.channel.period:
            return
        self.channel, close = order_close(self.channel)
        self._check_claim_covers_receipts(close.claim)
        assert close.transferred_from_me >= self.channel.spent_by_me
        self._happens(self._closing(by_me=True, spent_by_peer=self.channel.spent_by_peer))

    # --- the ledger

    @precondition(lambda self: self.units and not self.channel.is_closing)
    @rule()
    def a_deposit_becomes_stable(self) -> None:
        unit = self.units.pop(0)
        self.balance_of_peer += unit.amount
        self._happens(
            Opened(
                len(self.events) + 1, self.channel.current_period, self.balance_of_peer, self.balance_of_me, unit.unit
            )
        )

    @precondition(lambda self: self.channel.status is Status.OPEN)
    @rule(amount=st.integers(min_value=10_001, max_value=50_000))
    def our_deposit_becomes_stable(self, amount: int) -> None:
        self.balance_of_me += amount
        self._happens(self._opened(self.channel.period, "ours"))

    @precondition(
        lambda self: self.channel.status is Status.OPEN or (self.channel.period and not self.channel.is_closing)
    )
    @rule(claims=st.integers(min_value=0, max_value=70_000))
    def the_peer_closes(self, claims: int) -> None:
        self._happens(self._closing(by_me=False, spent_by_peer=claims))

    @precondition(lambda self: self.channel.is_closing)
    @rule()
    def the_closing_ends(self) -> None:
        trigger = next_trigger(self.channel, ledger_time_s=10**9)
        if isinstance(trigger, FraudProof):
            self._check_claim_covers_receipts(trigger.claim)
        else:
            assert isinstance(trigger, Confirm)
            if self.channel.status is Status.CLOSING_BY_PEER:
                claimed = self.channel.claimed_by_peer or 0
                assert claimed - trigger.additional_from_me == self._credited(self.channel.period)
        self.balance_of_peer = self.balance_of_me = 0
        self.units.clear()
        self._happens(Closed(len(self.events) + 1, self.channel.period, by_fraud_proof=False, received=0))

    @rule(seconds=st.integers(min_value=1, max_value=10))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(used=st.integers(min_value=0, max_value=50_000))
    def other_channels_use_unconfirmed_funds(self, used: int) -> None:
        self.elsewhere = used

    @rule(data=st.data())
    def history_is_read_again(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(min_value=0, max_value=len(self.events)))
        again = self.channel
        for event in self.events[start:]:
            again = apply(again, event)
        assert again == self.channel

    # --- what must always hold

    @invariant()
    def every_unit_signed_is_either_paid_or_credit(self) -> None:
        assert self._credited(self.channel.current_period) + self.channel.credit == self.channel.spent_by_peer

    @invariant()
    def credit_never_exceeds_what_the_peer_has_signed(self) -> None:
        assert self.channel.spent_by_peer <= self.signed.get(self.channel.current_period, 0)

    @invariant()
    def the_claim_proves_exactly_what_is_recorded(self) -> None:
        spent = self.channel.spent_by_peer
        assert self.channel.claim == (f"signed:{spent}" if spent else None)

    @invariant()
    def no_amount_is_negative(self) -> None:
        channel = self.channel
        assert min(channel.credit, channel.spent_by_peer, channel.spent_by_me, channel.deposited_by_peer) >= 0

    # --- helpers

    def _allowance(self) -> Allowance:
        return Allowance(tuple(self.units), LIMITS, self.elsewhere, self.now_s)

    def _credited(self, period: int) -> int:
        return sum(amount for key, amount in self.receipts.items() if key[1] == period)

    def _opened(self, period: int, unit: str) -> Opened:
        return Opened(len(self.events) + 1, period, self.balance_of_peer, self.balance_of_me, unit)

    def _closing(self, *, by_me: bool, spent_by_peer: int) -> Closing:
        return Closing(len(self.events) + 1, self.channel.current_period, by_me, spent_by_peer, 0, 5_000, "t")

    def _happens(self, event: LedgerEvent) -> None:
        self.events.append(event)
        self.channel = apply(self.channel, event)

    def _check_claim_covers_receipts(self, claim: str | None) -> None:
        period = self.channel.period
        best_receipt = max((key[2] for key in self.receipts if key[1] == period), default=0)
        assert best_receipt <= (int(claim.removeprefix("signed:")) if claim else 0)


ChannelLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestChannelLife = ChannelLife.TestCase


def test_the_machine_reaches_an_accepted_payment() -> None:
    """Guards the test above against proving nothing."""
    life = ChannelLife()
    life.begin()
    life.a_deposit_is_on_its_way(50_000)
    life.a_deposit_becomes_stable()
    life.a_package_arrives(life.peer_signs_the_next(100, 5, PEER))
    assert life.channel == replace(life.channel, spent_by_peer=105, credit=5, claim="signed:105")
