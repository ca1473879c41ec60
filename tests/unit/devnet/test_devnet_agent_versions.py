"""Base agents are on the ledger as on a real network, and what 1.1 lets be stolen 1.2 refuses: with units and fees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from devnet.private_commands import publish_agent
from devnet.queries import get_definition
from devnet.request_fields import QueryError
from devnet.state import RejectedError
from shared.obyte.agents import AGENT_VERSIONS, CHANNELS_BASE_AA, base_definition, publication_message
from shared.obyte.composing import Output
from tests.devnet_support import Actor, Hub, TestChannel, history
from tests.vectors.obyte_vectors import cases

if TYPE_CHECKING:
    from devnet.ledger import Ledger


@pytest.fixture(params=AGENT_VERSIONS)
def version(request: pytest.FixtureRequest, ledger: Ledger) -> str:
    ledger.treasury.publish("1.2")
    ledger.settle()
    return str(request.param)


def test_version_1_1_is_on_the_ledger_from_the_beginning(ledger: Ledger) -> None:
    (case,) = cases("aa_addresses", "base_aa_definition")
    assert get_definition(ledger, CHANNELS_BASE_AA["1.1"]) == case["definition"]
    assert get_definition(ledger, CHANNELS_BASE_AA["1.2"]) is None


def test_anyone_can_publish_our_agent_and_its_unit_proves_it(ledger: Ledger, alice: Actor) -> None:
    unit = ledger.post(alice.compose([], [publication_message("1.2")]))
    ledger.settle()
    assert get_definition(ledger, CHANNELS_BASE_AA["1.2"]) == base_definition("1.2")
    (proven,) = (found for found in history(ledger, alice.address).units if found.unit_hash == unit.hash)
    assert proven.is_stable


def test_publishing_it_twice_changes_nothing(ledger: Ledger, alice: Actor) -> None:
    first = ledger.treasury.publish("1.2")
    ledger.settle()
    ledger.post(alice.compose([], [publication_message("1.2")]))
    ledger.settle()
    assert ledger.state.agents[CHANNELS_BASE_AA["1.2"]].definition_unit == first.hash


def test_no_channel_of_an_agent_that_is_not_stable_on_the_ledger(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    channel = TestChannel(ledger, alice, bob, version="1.2")
    with pytest.raises(RejectedError, match=r"^base AA not found$"):
        channel.open()
    ledger.treasury.publish("1.2")
    with pytest.raises(RejectedError, match=r"^base AA not found$"):
        channel.open()
    ledger.settle()
    channel.open()
    assert channel.responses()[0]["open"] == 1


def test_the_ledger_publishes_it_when_asked_to(ledger: Ledger) -> None:
    publish_agent(Hub(ledger), {"version": "1.2"})
    assert get_definition(ledger, CHANNELS_BASE_AA["1.2"]) == base_definition("1.2")
    with pytest.raises(QueryError):
        publish_agent(Hub(ledger), {"version": "1.1"})


def test_a_base_agent_itself_returns_what_it_is_sent(ledger: Ledger, alice: Actor) -> None:
    alice.trigger(CHANNELS_BASE_AA["1.1"], amount=50_000)
    ledger.settle()
    (response,) = ledger.state.responses_by_agent[CHANNELS_BASE_AA["1.1"]]
    unit: Any = response.full["objResponseUnit"]
    assert response.full["bounced"]
    assert Output(alice.address, 40_000) in [
        Output(output["address"], output["amount"]) for output in unit["messages"][0]["payload"]["outputs"]
    ]


def test_a_channel_lives_the_same_life_with_both(ledger: Ledger, alice: Actor, bob: Actor, version: str) -> None:
    channel = TestChannel(ledger, alice, bob, version=version)
    channel.open(200_000)
    alice.trigger(channel.address, {"close": 1, "period": 1, "sentByPeer": channel.signed(bob, 5_000)})
    ledger.settle()
    bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    opened, closing, closed = channel.responses()
    assert opened[bob.address] == 200_000
    assert closing[bob.address] == 5_000
    assert closed == {"closed": 1, "period": 1, "event_id": 3}
    last: Any = ledger.state.responses_by_agent[channel.address][-1].full["objResponseUnit"]
    assert {"address": alice.address, "amount": 15_000} in last["messages"][0]["payload"]["outputs"]


def _stolen(ledger: Ledger, channel: TestChannel, thief: Actor, proof: dict[str, Any]) -> bool:
    """Whether the thief gets the channel's money with a fraud proof, posted at once after the closing."""
    channel.b.trigger(channel.address, {"close": 1, "period": 1})
    before = thief.balance()
    thief.trigger(channel.address, {"fraud_proof": 1, "period": 1, "sentByPeer": proof})
    ledger.settle()
    return thief.balance() > before + 100_000


def test_w1_the_closing_party_robs_1_1_but_not_1_2(ledger: Ledger, alice: Actor, bob: Actor, version: str) -> None:
    channel = TestChannel(ledger, alice, bob, version=version)
    channel.open(100_000)
    alice.trigger(channel.address, amount=500_000)
    ledger.settle()
    assert _stolen(ledger, channel, bob, channel.signed(bob, 1)) == (version == "1.1")
    if version == "1.2":
        _assert_that_justice_is_done(ledger, channel, alice)


def test_w2_a_stranger_robs_1_1_but_not_1_2(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor, version: str
) -> None:
    channel = TestChannel(ledger, alice, bob, version=version)
    channel.open(500_000)
    assert _stolen(ledger, channel, carol, channel.signed(bob, 400_000)) == (version == "1.1")
    if version == "1.2":
        _assert_that_justice_is_done(ledger, channel, alice)


def _assert_that_justice_is_done(ledger: Ledger, channel: TestChannel, victim: Actor) -> None:
    before = victim.balance()
    proof = channel.signed(channel.b, 450_000)
    victim.trigger(channel.address, {"fraud_proof": 1, "period": 1, "sentByPeer": proof})
    ledger.settle()
    assert channel.responses()[-1] == {
        "closed": 1,
        "fraud_proof": 1,
        "period": 1,
        "event_id": len(channel.responses()) - 1,
    }
    assert victim.balance() > before + 480_000


def test_w3_a_party_that_is_an_agent_locks_up_1_1_but_not_1_2(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor, version: str
) -> None:
    """The peer's address turns out to be that of an agent which refuses money."""
    refusing = TestChannel(ledger, alice, carol)
    hostage_taker = Actor(ledger, 9)
    hostage_taker.address = refusing.address
    channel = TestChannel(ledger, hostage_taker, bob, version=version)
    channel.open(500_000)
    refusing.open(20_000)  # only now the address is an agent's
    bob.trigger(channel.address, {"close": 1, "period": 1, "transferredFromMe": 300_000})
    ledger.settle()
    ledger.skip_time(channel.timeout_s)
    before = bob.balance()
    bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    if version == "1.1":
        assert channel.responses()[-1] == {"bounced": True}
        assert bob.balance() < before
    else:
        assert channel.responses()[-1]["closed"] == 1
        assert bob.balance() > before + 500_000


def test_w3_nothing_is_deposited_with_1_2_when_a_party_is_an_agent(
    ledger: Ledger, alice: Actor, bob: Actor, carol: Actor, version: str
) -> None:
    refusing = TestChannel(ledger, alice, carol)
    refusing.open(20_000)
    hostage_taker = Actor(ledger, 9)
    hostage_taker.address = refusing.address
    channel = TestChannel(ledger, hostage_taker, bob, version=version)
    channel.open(500_000)
    assert (channel.responses()[0] == {"bounced": True}) == (version == "1.2")


def test_w4_an_agent_with_too_many_coins_cannot_pay_out_until_they_are_gathered(
    ledger: Ledger, alice: Actor, bob: Actor, version: str
) -> None:
    channel = TestChannel(ledger, alice, bob, version=version)
    for _ in range(21):
        ledger.post(bob.compose([Output(channel.address, 1_000 + number) for number in range(120)]))
        ledger.settle()
    channel.open(500_000)
    channel.b.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    proof = {"fraud_proof": 1, "period": 1, "sentByPeer": channel.signed(bob, 300_000)}
    alice.trigger(channel.address, proof)
    ledger.settle()
    error: Any = ledger.state.responses_by_agent[channel.address][-1].full["response"]
    assert error["error"] == "unit is too deeply nested"

    alice.pay(channel.address, 1_500_000)
    ledger.settle()
    assert channel.responses()[-1]["refused"] == 1
    before = alice.balance()
    alice.trigger(channel.address, proof)
    ledger.settle()
    assert channel.responses()[-1]["fraud_proof"] == 1
    assert alice.balance() > before + 2_900_000


def test_versions_are_different_channels(channel: TestChannel) -> None:
    assert channel.address != replace(channel, version="1.2").address
