"""Whatever goes on, every light proof of every state of the ledger holds, and tells what the ledger knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.queries import get_history
from shared.obyte.history import ProvenHistory, prove_history
from tests.devnet_walk import Walk

if TYPE_CHECKING:
    from devnet.ledger import Ledger

STEPS = 60


def proven(ledger: Ledger, addresses: list[str], known_until_mci: int | None = None) -> ProvenHistory:
    request: Any = {"witnesses": [ledger.provider_address], "addresses": addresses}
    answer = get_history(ledger, request, known_until_mci)
    return prove_history(answer, [ledger.provider_address], ledger.network, now_s=ledger.now_s())


def check(walk: Walk) -> None:
    records = walk.ledger.state.dag.records
    for unit in proven(walk.ledger, walk.addresses).units:
        record = records[unit.unit_hash]
        assert unit.mci_hint == record.mci
        assert not unit.is_stable or record.is_stable
        assert unit.is_nonserial == (unit.is_stable and record.sequence == "final-bad")
        assert record.sequence != "temp-bad"


@given(seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_every_state_of_the_ledger_can_be_proven(seed: int) -> None:
    walk = Walk(seed)
    for number in range(STEPS):
        walk.step()
        if number % 5 == 0:
            check(walk)
    walk.settle()
    check(walk)
    assert all(unit.is_stable for unit in proven(walk.ledger, walk.addresses).units)
    proven(walk.ledger, walk.addresses, walk.random.randrange(len(walk.ledger.state.dag.main_chain)))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_no_money_comes_from_nowhere_and_no_conflict_stays_open(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
    walk.settle()
    state = walk.ledger.state
    assert not state.shunned
    assert not state.disputed_authors
    assert {record.sequence for record in state.dag.records.values()} <= {"good", "final-bad"}
    for channel in walk.channels:
        owned = sum(coin.amount for coin in state.outputs.unspent(channel.address))
        assert owned == state.agents[channel.address].balances["base"]
    void = {record.hash for record in state.dag.records.values() if record.sequence == "final-bad"}
    assert not void & {response.trigger_unit for told in state.responses_by_agent.values() for response in told}


@pytest.mark.parametrize("seed", [1, 2])
def test_same_seed_walks_the_same_way(seed: int) -> None:
    def walked() -> list[Any]:
        walk = Walk(seed)
        return [walk.step() for _ in range(30)] + sorted(walk.ledger.state.dag.records)

    assert walked() == walked()


def test_walks_meet_everything() -> None:
    walk = Walk(3, channels=3)
    events: list[str] = []
    walk.ledger.subscribe(lambda event: events.append(type(event).__name__))
    for _ in range(300):
        walk.step()
    walk.settle()
    state = walk.ledger.state
    sequences = [record.sequence for record in state.dag.records.values()]
    assert sequences.count("final-bad") > 5
    assert "UnitsDisputed" in events
    said = [response.full["response"] for told in state.responses_by_agent.values() for response in told]
    errors = [answer["error"] for answer in said if isinstance(answer, dict) and "error" in answer]
    assert any(isinstance(error, dict) for error in errors)
    assert any(isinstance(error, str) for error in errors)
    kinds = {next(iter(told)) for channel in walk.channels for told in channel.responses()}
    assert kinds >= {"open", "closing", "closed", "refused", "bounced"}
