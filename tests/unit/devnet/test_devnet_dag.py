"""Best parents, the main chain and stability when units arrive beside each other (Obyte, ocore `storage.js`)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from devnet.dag import Dag, UnitRecord
from devnet.ledger import Ledger
from shared.obyte.composing import Output
from tests.devnet_support import Actor, history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.devnet.conftest import Clock


class Sketch:
    """A graph of units that consist of nothing but their place."""

    def __init__(self) -> None:
        self.dag = Dag()
        self.dag.add(UnitRecord("genesis", {}, (), (), 0, None, 0, 1, timestamp_s=0, last_ball_mci=0, is_provider=True))

    def grow(self, name: str, *parents: str, is_provider: bool = False) -> str:
        place = self.dag.place_on(parents, is_provider=is_provider)
        record = UnitRecord(
            name,
            {},
            (),
            parents,
            place.level,
            place.best_parent,
            place.witnessed_level,
            place.provider_count,
            timestamp_s=0,
            last_ball_mci=0,
            is_provider=is_provider,
        )
        self.dag.add(record)
        return name

    def best_of(self, *parents: str) -> str:
        return self.dag.best_of(parents).hash


@pytest.fixture
def sketch() -> Sketch:
    return Sketch()


def test_best_parent_stands_on_the_highest_provider_unit(sketch: Sketch) -> None:
    sketch.grow("p1", "genesis", is_provider=True)
    sketch.grow("above", sketch.grow("tall", sketch.grow("wide", "p1")))
    sketch.grow("a", "genesis")
    assert sketch.best_of("a", "above") == "above"


def test_authorship_of_a_provider_unit_counts_only_for_what_stands_on_it(sketch: Sketch) -> None:
    sketch.grow("late", sketch.grow("x", "genesis"), is_provider=True)
    sketch.grow("near", "genesis")
    assert sketch.best_of("late", "near") == "near"
    assert sketch.best_of(sketch.grow("child", "late"), "near") == "child"


def test_provider_unit_breaks_a_tie_and_after_it_the_hash(sketch: Sketch) -> None:
    sketch.grow("a", "genesis")
    sketch.grow("b", "genesis")
    sketch.grow("z", "genesis", is_provider=True)
    assert sketch.best_of("b", "a", "z") == "z"
    assert sketch.best_of("b", "a") == "a"


def test_witnessed_level_never_falls(sketch: Sketch) -> None:
    randomness = random.Random(7)
    names = ["genesis"]
    newest_provider_unit = "genesis"
    for number in range(300):
        is_provider = randomness.random() < 0.3
        parents = set(randomness.sample(names[-8:], min(len(names), 2)))
        if is_provider:
            parents.add(newest_provider_unit)
        names.append(sketch.grow(f"u{number:03}", *parents, is_provider=is_provider))
        if is_provider:
            newest_provider_unit = names[-1]
        record = sketch.dag.records[names[-1]]
        assert record.witnessed_level >= max(parent.witnessed_level for parent in sketch.dag.parents_of(record))


def test_unit_on_a_stale_parent_does_not_divert_the_provider(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    late = bob.compose([Output(bob.address, 1)])
    alice.pay(alice.address, 1)
    provider_unit = ledger.advance()
    stale = ledger.post(late)
    assert ledger.state.dag.best_of([provider_unit.hash, stale.hash]) is stale
    above = ledger.advance()
    assert chain(ledger.state.dag, above)[1] is provider_unit
    ledger.settle()
    assert stale.is_stable
    assert not stale.is_on_main_chain
    assert provider_unit.is_on_main_chain


def test_what_others_build_on_a_stale_unit_comes_in_too(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    late = bob.compose([Output(bob.address, 1)])
    alice.pay(alice.address, 1)
    provider_unit = ledger.advance()
    stale = ledger.post(late)
    both = carol.pay(carol.address, 1)
    assert set(both.parents) == {provider_unit.hash, stale.hash}
    assert both.best_parent == stale.hash
    on_top = alice.pay(alice.address, 1)
    assert on_top.last_ball_mci >= both.last_ball_mci
    ledger.settle()
    assert both.is_stable
    assert on_top.is_stable
    assert provider_unit.is_on_main_chain
    assert history(ledger, carol.address).units[0].is_stable


@pytest.mark.parametrize("seed", range(6))
def test_best_chain_from_any_end_leads_through_all_that_is_stable(ledger: Ledger, seed: int) -> None:
    dag = ledger.state.dag
    for _ in post_beside_each_other(ledger, seed):
        best_end = chain(dag, dag.best_of(dag.tips))
        stable = dag.main_chain[: ledger.state.last_stable_mci + 1]
        assert best_end[::-1][: len(stable)] == stable
        newest = [record for record in chain(dag, dag.main_chain[-1]) if record.is_provider][::-1]
        assert newest == ledger.state.live_units_by_author[ledger.provider_address]
    assert len(dag.main_chain) < len(dag.records) - 20


def test_load_of_a_stale_branch_is_all_that_lies_below_it(clock: Clock) -> None:
    ledger = Ledger(seed=b"load", clock=clock, tps_interval=5)
    alice = Actor(ledger, 1)
    alice.fund()
    last_ball = ledger.state.last_stable()
    first = alice.pay(alice.address, 1)
    late = alice.compose([Output(alice.address, 1)])
    ledger.advance()
    branch = ledger.post(late)
    for _ in range(4):
        ledger.advance()
    assert branch.mci is not None
    assert branch.mci > branch.seen_mci == first.mci
    indexes = slice((last_ball.mci or 0) + 1, branch.seen_mci + 1)
    below = [record for known in ledger.state.dag.by_mci[indexes] for record in known]
    assert first in below
    assert branch not in below
    price = ledger.state.votes.at(0).careful_fee_per_unit(len(below) + 2)
    fee = ledger.state.fees.required([branch.hash], last_ball, last_ball.timestamp_s + 1, 0, 10)
    assert fee == price


def test_provider_unit_is_charged_the_load_below_its_best_parent(clock: Clock) -> None:
    ledger = Ledger(seed=b"load", clock=clock, tps_interval=5)
    people = [Actor(ledger, number) for number in (1, 2)]
    for actor in people:
        actor.fund()
    joints = [actor.compose([Output(actor.address, 1)]) for actor in people]
    branches = [ledger.post(joint) for joint in joints]
    above = ledger.advance()
    assert above.parents == tuple(sorted(branch.hash for branch in branches))
    ledger.settle()
    assert above.actual_tps_fee == charged(ledger, above)
    assert above.actual_tps_fee < ledger.state.votes.at(0).fee_per_unit(len(load_below(ledger, above)) + 1)


@pytest.mark.parametrize("seed", range(4))
def test_charge_is_for_what_best_parents_and_others_lead_to(clock: Clock, seed: int) -> None:
    ledger = Ledger(seed=b"load", clock=clock, tps_interval=20)
    for _ in post_beside_each_other(ledger, seed):
        clock.now_s += 1
    stable = [record for record in ledger.state.dag.records.values() if record.is_stable and record.mci]
    assert [record.actual_tps_fee for record in stable] == [charged(ledger, record) for record in stable]
    assert any(record.actual_tps_fee for record in stable)


def charged(ledger: Ledger, record: UnitRecord) -> int:
    """What a unit without responses pays in the end, counted unit by unit."""
    main_chain_unit = ledger.state.dag.main_chain[record.mci or 0]
    last_ball = ledger.state.dag.main_chain[main_chain_unit.last_ball_mci]
    elapsed_s = main_chain_unit.timestamp_s - last_ball.timestamp_s or 1
    return ledger.state.votes.at(0).fee_per_unit(len(load_below(ledger, record)) / elapsed_s)


def load_below(ledger: Ledger, charged_unit: UnitRecord) -> set[str]:
    """Units met on the way from the main chain unit of an index down to its last ball.

    From the unit that is charged, the way goes on to its best parent only.
    """
    dag = ledger.state.dag
    stack = [dag.main_chain[charged_unit.mci or 0]]
    last_ball_mci = stack[0].last_ball_mci
    met: set[str] = set()
    while stack:
        record = stack.pop()
        if record.hash in met or (record.mci or 0) <= last_ball_mci:
            continue
        met.add(record.hash)
        only_best = record is charged_unit and record.best_parent is not None
        stack += [dag.records[str(record.best_parent)]] if only_best else list(dag.parents_of(record))
    return met


def chain(dag: Dag, record: UnitRecord) -> list[UnitRecord]:
    """Best parents of a unit down to genesis, itself first."""
    found = [record]
    while found[-1].best_parent is not None:
        found.append(dag.records[found[-1].best_parent])
    return found


def post_beside_each_other(ledger: Ledger, seed: int) -> Iterator[None]:
    """Let people compose on what they see and post late; yield whenever the provider has posted."""
    randomness = random.Random(seed)
    people = [Actor(ledger, number) for number in range(20, 26)]
    for actor in people:
        actor.fund(100_000_000)
    held: dict[str, dict[str, Any]] = {}
    for _ in range(80):
        actor = randomness.choice(people)
        if actor.address not in held:
            held[actor.address] = actor.compose([Output(actor.address, 1)])
        for address in list(held):
            if randomness.random() < 0.25:
                ledger.post(held.pop(address))
        if randomness.random() < 0.4:
            ledger.advance()
            yield
    for joint in held.values():
        ledger.post(joint)
    ledger.settle()
    yield
