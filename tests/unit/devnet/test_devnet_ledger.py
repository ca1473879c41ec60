"""Order, stability, balls, fees: what holds the ledger together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from devnet.events import LedgerEvent, UnitsProvable
from devnet.ledger import Ledger
from devnet.proofs import prove
from devnet.settlement import skiplist_mcis
from devnet.system_vars import MAX_FEE, SystemVars
from shared.obyte.composing import Output
from shared.obyte.hashing import ball_hash
from shared.obyte.history import prove_history
from tests.devnet_support import Actor

if TYPE_CHECKING:
    from tests.unit.devnet.conftest import Clock


def test_ledger_is_idle_when_nothing_is_pending(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    assert ledger.is_settled
    alice.pay(bob.address, 1_000)
    assert not ledger.is_settled
    ledger.settle()
    length = len(ledger.state.dag.main_chain)
    ledger.settle()
    assert len(ledger.state.dag.main_chain) == length


def test_three_provider_units_settle_a_payment(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    alice.pay(bob.address, 1_000)
    for expected in (False, False, True):
        ledger.advance()
        assert ledger.is_settled is expected


def test_seed_makes_a_ledger_reproducible(clock: Clock) -> None:
    one, same, other = (Ledger(seed=seed, clock=clock) for seed in (b"a", b"a", b"b"))
    assert one.network.genesis_unit == same.network.genesis_unit != other.network.genesis_unit
    assert one.provider_address == same.provider_address
    assert Ledger().provider_address != Ledger().provider_address


def test_balls_rest_on_parents_and_skiplists(ledger: Ledger) -> None:
    for _ in range(130):
        ledger.advance()
    dag = ledger.state.dag
    for record in dag.main_chain[: ledger.state.last_stable_mci + 1]:
        links = [dag.main_chain[mci] for mci in skiplist_mcis(record.mci or 0)]
        parents = [str(parent.ball) for parent in dag.parents_of(record)]
        assert record.ball == ball_hash(record.hash, parents, [str(link.ball) for link in links])
        assert record.skiplist_units == tuple(sorted(link.hash for link in links))
    assert list(skiplist_mcis(120)) == [110]
    assert list(skiplist_mcis(100)) == [90, 0]
    assert list(skiplist_mcis(101)) == []
    assert list(skiplist_mcis(0)) == []


def test_proofs_of_old_units_are_short(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    record = alice.pay(bob.address, 1_000)
    for _ in range(1_000):
        ledger.advance()
    answer = prove(ledger.state, [record])
    balls = answer["proofchain_balls"]
    assert isinstance(balls, list)
    assert len(balls) < 60
    (proven,) = prove_history(answer, [ledger.provider_address], ledger.network, now_s=ledger.now_s()).units
    assert proven.is_stable


def test_proof_of_a_long_branch_tells_each_ball_once(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    alice.pay(bob.address, 1)
    ledger.settle()
    parents = replace(alice.parents(), tps_fee=1_000)
    for _ in range(2):
        ledger.advance()  # the branch will be beside the main chain
    records = []
    for _ in range(30):
        joint = alice.compose([Output(bob.address, 10)], parents=parents)
        records.append(ledger.post(joint))
        parents = replace(parents, parent_units=(records[-1].hash,))
    ledger.settle()
    assert len({record.mci for record in records}) == 1
    for wanted in (records, records[::7]):
        answer = prove(ledger.state, wanted)
        balls: Any = answer["proofchain_balls"]
        assert len(balls) == len({ball["unit"] for ball in balls}) < 50
        proven = prove_history(answer, [ledger.provider_address], ledger.network, now_s=ledger.now_s()).units
        assert all(unit.is_stable for unit in proven)


def test_many_units_between_two_provider_units(ledger: Ledger, alice: Actor) -> None:
    heard: list[LedgerEvent] = []
    ledger.subscribe(heard.append)
    people = [Actor(ledger, number) for number in range(10, 60)]
    for actor in people:
        ledger.treasury.fund(actor.address, 100_000)
    ledger.settle()
    joints = [actor.compose([Output(alice.address, 1_000)]) for actor in people]  # all of the same parents
    for joint in joints:
        ledger.post(joint)
    assert len(ledger.state.dag.tips) > 16
    ledger.settle()
    assert alice.balance() == 10**9 + 50 * 1_000
    provable = [record.hash for event in heard if isinstance(event, UnitsProvable) for record in event.records]
    assert len(provable) == len(set(provable))


def test_time_does_not_go_back(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="back"):
        ledger.skip_time(-1)


def test_fees_grow_with_the_load_and_hit_a_ceiling() -> None:
    busy = SystemVars(tps_interval=1)
    fees = [busy.careful_fee_per_unit(load) for load in (0, 1, 2, 5, 10)]
    assert fees == sorted(fees)
    assert fees[:3] == [0, 172, 639]
    assert busy.fee_per_unit(1) == 17
    assert busy.careful_fee_per_unit(1_000) == MAX_FEE


def test_overpaid_fee_is_credited_and_lowers_the_next(clock: Clock) -> None:
    ledger = Ledger(seed=b"fees", clock=clock, tps_interval=5)
    alice = Actor(ledger, 1)
    alice.fund()
    first = alice.pay(alice.address, 1_000)
    clock.now_s += 30
    ledger.settle()
    paid = int(str(first.unit["tps_fee"]))
    assert first.actual_tps_fee is not None
    assert paid > first.actual_tps_fee
    assert ledger.state.fees.balance(alice.address, ledger.state.last_stable_mci) == paid - first.actual_tps_fee
    assert alice.parents().tps_fee < Actor(ledger, 2).parents().tps_fee
