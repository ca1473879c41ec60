"""Auto refill keeps enough in a channel and never deposits twice for one need."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.channels.model import Status
from shared.channels.paying import create_payment, spendable
from shared.channels.refilling import AutoRefill, free_amount, refill_due
from tests.unit.channels.builders import open_channel

refill_terms = st.builds(AutoRefill, threshold=st.integers(1, 200_000), amount=st.integers(1, 200_000))
# What happens between two looks: a payment of ours or to us, or the ledger answers a deposit in one of three ways.
happenings = st.lists(
    st.tuples(st.sampled_from(["pay", "earn", "taken", "refused", "bounced", "look"]), st.integers(1, 50_000)),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(refill=refill_terms, start=st.integers(0, 300_000), life=happenings)
def test_a_refill_is_made_only_when_too_little_is_left_counting_what_is_on_its_way(
    refill: AutoRefill, start: int, life: list[tuple[str, int]]
) -> None:
    channel = open_channel(deposited_by_me=start)
    pending: list[int] = []
    made = settled = 0
    for what, amount in [*life, ("look", 0)]:
        if what == "pay" and spendable(channel, pending_deposits=sum(pending)) >= amount:
            channel = create_payment(channel, amount, pending_deposits=sum(pending)).channel
        elif what == "earn":
            channel = replace(channel, spent_by_peer=channel.spent_by_peer + amount, claim="signed")
        elif what in {"taken", "refused", "bounced"} and pending:
            deposit = pending.pop(0)
            settled += 1
            if what == "taken":
                channel = replace(channel, deposited_by_me=channel.deposited_by_me + deposit)
        elif what == "look":
            free = free_amount(channel, pending_deposits=sum(pending))
            due = refill_due(channel, refill, pending_deposits=sum(pending))
            is_possible = refill.amount > 10_000
            assert due == (refill.amount if free < refill.threshold and is_possible else 0)
            if due and not pending:  # one at a time
                pending.append(due)
                made += 1
                after = refill_due(channel, refill, pending_deposits=sum(pending))
                assert not after or free + due < refill.threshold
    assert made - settled == len(pending) <= 1


@settings(max_examples=100, deadline=None)
@given(refill=refill_terms)
def test_nothing_is_deposited_into_a_channel_that_takes_nothing(refill: AutoRefill) -> None:
    empty = open_channel()
    closing = replace(empty, status=Status.CLOSING_BY_ME, close_started_at_s=1)
    for channel in (closing, replace(empty, period_closed_by_me=1), replace(empty, definition_confirmed=False)):
        assert refill_due(channel, refill, pending_deposits=0) == 0
    assert refill_due(empty, refill, pending_deposits=0, peer_is_closing=True) == 0
    between_periods = replace(empty, status=Status.CLOSED)
    assert refill_due(between_periods, refill, pending_deposits=0) == refill_due(empty, refill, pending_deposits=0)
