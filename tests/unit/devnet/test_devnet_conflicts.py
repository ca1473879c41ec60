"""Double spends: refused from clients, fought out when they come from elsewhere, and void in the end."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

import pytest

from devnet.events import LedgerEvent, UnitsDisputed
from devnet.parents import offer_parents
from devnet.proofs import joint_of, prove
from devnet.state import RejectedError
from shared.obyte.coins import Coin
from shared.obyte.composing import Output, Parents
from tests.devnet_support import Actor, history

if TYPE_CHECKING:
    from devnet.dag import UnitRecord
    from devnet.ledger import Ledger


def rivals(actor: Actor, *payees: Actor, amount: int = 1_000) -> list[dict[str, Any]]:
    """Units that spend the same coins from the same place in the graph."""
    coins, parents = actor.coins(), actor.parents()
    return [
        actor.compose([Output(payee.address, amount + number)], coins=coins, parents=parents)
        for number, payee in enumerate(payees)
    ]


def post_all(ledger: Ledger, joints: list[dict[str, Any]]) -> list[UnitRecord]:
    return [ledger.post(joint, with_conflicts=True) for joint in joints]


def test_client_cannot_post_a_double_spend(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    first, second = rivals(alice, bob, carol)
    ledger.post(first)
    with pytest.raises(RejectedError, match="double spend"):
        ledger.post(second)
    ledger.settle()
    assert history(ledger, carol.address).units[0].is_stable


def test_exactly_one_rival_wins_and_is_paid(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    before = bob.balance() + carol.balance()
    records = post_all(ledger, rivals(alice, bob, carol, bob))
    assert {record.sequence for record in records} == {"temp-bad"}
    ledger.settle()
    assert sorted(record.sequence for record in records) == ["final-bad", "final-bad", "good"]
    winner = next(record for record in records if record.sequence == "good")
    assert bob.balance() + carol.balance() - before == 1_000 + records.index(winner)


def test_first_to_be_ordered_wins(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    first, second = rivals(alice, bob, carol)
    early = ledger.post(first)
    ledger.advance()
    late = ledger.post(second, with_conflicts=True)
    ledger.settle()
    assert (early.sequence, late.sequence) == ("good", "final-bad")


def test_rival_of_a_stable_unit_is_void_at_once(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    first, second = rivals(alice, bob, carol)
    ledger.post(first)
    ledger.settle()
    assert ledger.post(second, with_conflicts=True).sequence == "final-bad"
    ledger.settle()
    assert carol.balance() == 1_000_000_000


def test_watchers_are_told_which_units_are_in_doubt(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    heard: list[LedgerEvent] = []
    ledger.subscribe(heard.append)
    first, _second = post_all(ledger, rivals(alice, bob, carol))
    assert [event.records for event in heard if isinstance(event, UnitsDisputed)] == [(first,)]


@pytest.mark.parametrize("is_ordered_first", [True, False])
def test_spender_of_money_in_doubt_shares_its_fate(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor, *, is_ordered_first: bool
) -> None:
    first, second = rivals(alice, bob, carol, amount=50_000)
    paid = ledger.post(first)
    if is_ordered_first:
        ledger.advance()
    coins = [coin for coin in bob.coins() if coin.unit == paid.hash]
    spender = ledger.post(bob.compose([Output(carol.address, 1_000)], coins=coins))
    ledger.post(second, with_conflicts=True)
    ledger.settle()
    assert spender.sequence == paid.sequence == ("good" if is_ordered_first else "final-bad")


def test_next_unit_must_not_leave_a_rival_outside(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    post_all(ledger, rivals(alice, bob, carol))
    alice.ledger.treasury.fund(alice.address, 1_000_000)
    with pytest.raises(RejectedError, match="double spend"):
        alice.pay(bob.address, 5)
    ledger.settle()
    alice.pay(bob.address, 5)
    ledger.settle()
    assert ledger.is_settled


def test_unit_on_one_rival_conflicts_with_the_other(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    for _ in range(2):
        alice.fund(100_000)
    one, two, third = alice.coins()
    parents = alice.parents()
    for coins, payee in (([one], bob), ([two], carol)):
        rival = ledger.post(
            alice.compose([Output(payee.address, 1_000)], coins=coins, parents=parents), with_conflicts=True
        )
    on_top = replace(parents, parent_units=(rival.hash,))
    joint = alice.compose([Output(carol.address, 5)], coins=[third], parents=on_top)
    assert ledger.post(joint, with_conflicts=True).sequence == "temp-bad"


def test_rivals_ordered_together_leave_one_winner(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    # Someone else's shorter branch takes the main chain, so both rivals fall under one index.
    dave = Actor(ledger, 4)
    dave.fund()
    other = dave.compose([Output(dave.address, 1)])
    records = post_all(ledger, rivals(alice, bob, carol))
    parents = bob.parents()
    for actor, record in zip((bob, carol), records, strict=True):
        on_top = replace(parents, parent_units=(record.hash,))
        ledger.post(actor.compose([Output(alice.address, 1)], parents=on_top), with_conflicts=True)
    ledger.post(other)
    ledger.settle()
    assert records[0].mci == records[1].mci
    winner, loser = sorted(records, key=lambda record: record.hash)
    assert (winner.sequence, loser.sequence) == ("good", "final-bad")


def test_output_of_a_void_unit_cannot_be_spent(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    first, second = rivals(alice, bob, carol, amount=500_000)
    ledger.post(first)
    ledger.advance()
    lost = ledger.post(second, with_conflicts=True)
    coins = [coin for coin in _coins_of(ledger, carol) if coin.unit == lost.hash]
    ledger.settle()
    with pytest.raises(RejectedError, match="final-bad"):
        ledger.post(carol.compose([Output(alice.address, 1)], coins=coins))


def test_others_are_not_offered_units_in_doubt_as_parents(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor
) -> None:
    records = post_all(ledger, rivals(alice, bob, carol))
    offer = offer_parents(ledger.state, ledger.now_s(), [bob.address], [carol.address])
    assert not {record.hash for record in records} & set(offer.parents)


def test_histories_leave_out_what_is_in_doubt_and_prove_what_is_void(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor
) -> None:
    records = post_all(ledger, rivals(alice, bob, carol))
    assert {unit.unit_hash for unit in history(ledger, alice.address).units}.isdisjoint(r.hash for r in records)
    ledger.settle()
    shown = {unit.unit_hash: unit for unit in history(ledger, alice.address).units}
    for record in records:
        assert shown[record.hash].is_stable
        assert shown[record.hash].is_nonserial == (record.sequence == "final-bad")


def test_long_void_units_are_stripped_and_still_proven(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    records = post_all(ledger, rivals(alice, bob, carol))
    ledger.settle()
    void = next(record for record in records if record.sequence == "final-bad")
    assert "messages" in joint_of(ledger.state, void)["unit"]  # type: ignore[operator]
    for _ in range(12):
        ledger.advance()
    unit: Any = joint_of(ledger.state, void)["unit"]
    assert "messages" not in unit
    assert "content_hash" in unit
    proven = {unit.unit_hash: unit for unit in history(ledger, alice.address).units}
    assert proven[void.hash].is_nonserial


def test_asset_cannot_be_issued_twice(ledger: Ledger) -> None:
    asset = ledger.treasury.issue(1_000)
    ledger.settle()
    with pytest.raises(RejectedError, match="conflicting"):
        ledger.treasury._issue_all(asset, 1_000)


def test_provider_units_stay_serial_under_conflicts(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    post_all(ledger, rivals(alice, *[bob, carol] * 10))
    ledger.settle()
    provider = ledger.state.live_units_by_author[ledger.provider_address]
    assert {record.sequence for record in provider} == {"good"}
    assert prove(ledger.state, provider)


def test_parents_of_the_past_cannot_outrun_the_present(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    old = alice.parents()
    for _ in range(5):
        ledger.advance()
    stale = Parents(old.timestamp_s, old.parent_units, old.last_ball, old.last_ball_unit, old.last_ball_mci, 500)
    record = ledger.post(alice.compose([Output(bob.address, 1_000)], parents=stale))
    ledger.settle()
    assert record.mci == ledger.state.dag.main_chain[record.mci or 0].mci
    assert not record.is_on_main_chain
    assert history(ledger, bob.address).units[0].is_stable


def _coins_of(ledger: Ledger, actor: Actor) -> list[Coin]:
    """All unspent coins, those in doubt too."""
    return [
        Coin(*astuple(output.outpoint), output.address, output.asset, output.amount)
        for output in ledger.state.outputs.unspent(actor.address)
    ]
