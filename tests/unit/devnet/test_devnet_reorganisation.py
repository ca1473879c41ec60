"""What may still change before it is stable: the winner of a conflict, units that vanish, responses made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devnet.reorganisation import ReorganisationError
from shared.obyte.composing import Output
from tests.devnet_support import Actor, Hub, TestChannel, history

if TYPE_CHECKING:
    from devnet.dag import UnitRecord
    from devnet.ledger import Ledger


def rivals(ledger: Ledger, actor: Actor, *payees: Actor) -> list[UnitRecord]:
    """Post units that spend the same coins from the same place in the graph."""
    coins, parents = actor.coins(), actor.parents()
    joints = [actor.compose([Output(payee.address, 1_000)], coins=coins, parents=parents) for payee in payees]
    return [ledger.post(joint, with_conflicts=True) for joint in joints]


def shown(ledger: Ledger, actor: Actor) -> dict[str, tuple[bool, bool]]:
    """What a light client sees of an actor's units: whether they are stable, and void."""
    return {unit.unit_hash: (unit.is_stable, unit.is_nonserial) for unit in history(ledger, actor.address).units}


@pytest.mark.parametrize("winner", [0, 1])
def test_either_rival_can_be_made_to_win(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor, winner: int) -> None:
    records = rivals(ledger, alice, bob, carol)
    ledger.prefer(records[winner].hash)
    ledger.settle()
    assert records[winner].sequence == "good"
    assert records[1 - winner].sequence == "final-bad"
    assert not ledger.state.shunned


def test_unit_seen_first_is_taken_back_when_the_later_one_wins(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor
) -> None:
    hub = Hub(ledger)
    client = hub.connect()
    client.say("light/new_address_to_watch", bob.address)
    first, second = rivals(ledger, alice, bob, carol)
    assert [told["unit"]["unit"] for told in client.told("joint")] == [first.hash]
    assert client.told("light/sequence_became_bad") == [[first.hash]]
    ledger.prefer(second.hash)
    ledger.settle()
    assert shown(ledger, bob)[first.hash] == (True, True)
    assert second.hash in shown(ledger, carol)
    assert bob.balance() == 1_000_000_000
    assert carol.balance() == 1_000_001_000


def test_what_others_build_on_the_loser_goes_with_it(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    coins, parents = alice.coins(), alice.parents()
    first = ledger.post(alice.compose([Output(bob.address, 500_000)], coins=coins, parents=parents))
    spent = ledger.post(bob.compose([Output(carol.address, 1)], coins=[c for c in bob.coins() if c.unit == first.hash]))
    second = ledger.post(alice.compose([Output(carol.address, 7)], coins=coins, parents=parents), with_conflicts=True)
    ledger.prefer(second.hash)
    ledger.settle()
    assert [record.sequence for record in (first, spent, second)] == ["final-bad", "final-bad", "good"]


def test_what_is_decided_cannot_be_turned_round(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    alone = alice.pay(bob.address, 1)
    for unit in (alone.hash, "A" * 43 + "="):
        with pytest.raises(ReorganisationError):
            ledger.prefer(unit)
    ledger.settle()
    records = rivals(ledger, alice, bob, carol)
    ledger.advance()
    ordered = next(record for record in records if record.mci is not None)
    for record in records:
        with pytest.raises(ReorganisationError, match="decided"):
            ledger.prefer(record.hash)
    with pytest.raises(ReorganisationError, match="stays"):
        ledger.forget(ordered.hash)


def test_forgotten_unit_leaves_no_trace_and_can_be_posted_again(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor
) -> None:
    state = ledger.state
    before = [alice.balance(), bob.balance(), carol.balance(), set(state.dag.tips), set(state.dag.records)]
    joint = alice.compose([Output(bob.address, 500_000)])
    paid = ledger.post(joint)
    ledger.post(bob.compose([Output(carol.address, 1)], coins=[c for c in bob.coins() if c.unit == paid.hash]))
    ledger.forget(paid.hash)
    assert before == [alice.balance(), bob.balance(), carol.balance(), set(state.dag.tips), set(state.dag.records)]
    assert ledger.is_settled
    assert paid.hash not in shown(ledger, bob)
    again = ledger.post(joint)
    ledger.settle()
    assert shown(ledger, bob)[again.hash] == (True, False)


def test_forgotten_loser_leaves_the_winner_alone(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    first, second = rivals(ledger, alice, bob, carol)
    ledger.forget(first.hash)
    ledger.settle()
    assert second.sequence == "good"
    alice.pay(bob.address, 5)
    ledger.settle()


def test_forgotten_definition_is_unknown(ledger: Ledger, channel: TestChannel) -> None:
    client = Hub(ledger).connect()
    record = ledger.post(channel.open_unit(50_000))
    assert client.ask("light/get_definition", channel.address)
    ledger.forget(record.hash)
    assert client.ask("light/get_definition", channel.address) is None
    assert client.ask("light/get_aa_state_vars", {"address": channel.address}) == {"error": "not an AA"}


def answered(ledger: Ledger, channel: TestChannel) -> UnitRecord:
    """Deposit, and move on just until the agent has answered."""
    channel.open()
    told = len(ledger.state.agent_units)
    channel.b.trigger(channel.address, amount=60_000)
    while len(ledger.state.agent_units) == told:
        ledger.advance()
    return ledger.state.agent_units[-1]


def test_response_is_made_anew_until_it_is_final(ledger: Ledger, channel: TestChannel) -> None:
    record = answered(ledger, channel)
    client = Hub(ledger).connect()
    client.say("light/new_address_to_watch", channel.address)
    again = ledger.recreate(record.hash)
    assert again.hash != record.hash
    assert again.unit["messages"] == record.unit["messages"]
    assert client.told("light/have_updates") == [None]
    assert record.hash not in shown(ledger, channel.b)
    proven = history(ledger, channel.address)
    assert proven.aa_responses[-1].response_unit == again.hash
    ledger.settle()
    assert history(ledger, channel.address).units[0].unit_hash == again.hash
    assert history(ledger, channel.address).units[0].is_stable
    with pytest.raises(ReorganisationError):
        ledger.recreate(again.hash)


def test_agent_lives_on_a_recreated_response(ledger: Ledger, channel: TestChannel) -> None:
    ledger.recreate(answered(ledger, channel).hash)
    channel.b.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    channel.a.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    assert [next(iter(told)) for told in channel.responses()] == ["open", "open", "closing", "closed"]
    assert all(unit.is_stable for unit in history(ledger, channel.address).units)


def test_only_agents_newest_units_are_made_anew(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    with pytest.raises(ReorganisationError):
        ledger.recreate(alice.pay(bob.address, 5).hash)


def test_agents_units_do_not_vanish(ledger: Ledger, channel: TestChannel) -> None:
    with pytest.raises(ReorganisationError, match="anew"):
        ledger.forget(answered(ledger, channel).hash)
