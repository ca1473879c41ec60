"""Channels on the ledger: triggers, response units, real fees, refunds, assets, and money that can be stolen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devnet.agent import BASE
from devnet.queries import get_history
from shared.obyte.agents import channel_definition
from shared.obyte.composing import Output, data_message, definition_message
from tests.devnet_support import Actor, TestChannel, history

if TYPE_CHECKING:
    from devnet.ledger import Ledger

OPEN_FEE, CLOSING_FEE = 819, 866
"""What responses cost on the real network, byte for byte."""


def agent_balance(channel: TestChannel, asset: str = BASE) -> int:
    return channel.ledger.state.agents[channel.address].balances.get(asset, 0)


def test_whole_life_pays_out_to_the_unit(ledger: Ledger, channel: TestChannel, alice: Actor, bob: Actor) -> None:
    channel.open(200_000)
    assert agent_balance(channel) == 200_000 - OPEN_FEE
    bob_before, alice_before = bob.balance(), alice.balance()

    closing = alice.trigger(channel.address, {"close": 1, "period": 1, "sentByPeer": channel.signed(bob, 5_000)})
    ledger.settle()
    confirm = bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()

    opened, closed_asked, closed = channel.responses()
    assert opened["open"] == 1
    assert opened[bob.address] == 200_000
    assert closed_asked[bob.address] == 5_000
    assert closed == {"closed": 1, "period": 1, "event_id": 3}
    alice_paid = _cost(closing) + 10_000
    assert alice.balance() - alice_before + alice_paid == 15_000
    kept = agent_balance(channel)
    closed_fee = _fees(_unit(ledger, channel, -1))
    bob_got = bob.balance() - bob_before + _cost(confirm) + 10_000
    assert bob_got == 200_000 + 20_000 - OPEN_FEE - CLOSING_FEE - closed_fee - 15_000 - kept
    assert 970 - 40 <= closed_fee <= 1_060
    assert kept == len("period1event_id3balanceB200000close_initiated_byAspentByA0spentByB5000close_start_ts1700000000")


def test_trigger_in_the_unit_that_defines_the_agent_is_executed(channel: TestChannel) -> None:
    channel.open(50_000)
    assert channel.responses()[0]["open"] == 1


def test_responses_are_one_chain_and_proven(ledger: Ledger, alice: Actor, bob: Actor, carol: Actor) -> None:
    channels = [TestChannel(ledger, alice, bob, salt=str(number)) for number in range(4)]
    for channel in channels:
        ledger.post(channel.open_unit(30_000))
    ledger.settle()
    for channel in channels:
        proven = history(ledger, channel.address)
        own = [unit for unit in proven.units if unit.unit["authors"][0]["address"] == channel.address]  # type: ignore[index,call-overload]
        assert len(own) == 1
        assert own[0].is_stable
    levels = [record.level for record in ledger.state.agent_units]
    assert levels == sorted(levels)


def test_stranger_gets_back_all_but_the_fee(ledger: Ledger, channel: TestChannel, carol: Actor) -> None:
    channel.open()
    before, kept = carol.balance(), agent_balance(channel)
    sent = carol.trigger(channel.address, amount=50_000)
    ledger.settle()
    assert channel.responses()[-1] == {"bounced": True}
    assert carol.balance() == before - _cost(sent) - 50_000 + 40_000
    assert agent_balance(channel) == kept + 10_000 - _fees(_unit(ledger, channel, -1))


def test_too_little_is_kept_without_an_answer(ledger: Ledger, channel: TestChannel, carol: Actor) -> None:
    channel.open()
    kept = agent_balance(channel)
    carol.trigger(channel.address, amount=9_999)
    ledger.settle()
    response = ledger.state.responses_by_agent[channel.address][-1]
    assert response.row["bounced"] == 1
    assert "response_unit" not in response.row
    assert agent_balance(channel) == kept + 9_999


def test_deposit_while_closing_is_refused_and_returned(ledger: Ledger, channel: TestChannel, alice: Actor) -> None:
    channel.open()
    alice.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    before = alice.balance()
    sent = alice.trigger(channel.address, amount=50_000)
    ledger.settle()
    assert channel.responses()[-1]["refused"] == 1
    assert alice.balance() == before - _cost(sent) - 50_000 + 40_000


def test_initiator_may_confirm_when_time_has_passed(ledger: Ledger, channel: TestChannel, bob: Actor) -> None:
    channel.open()
    bob.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    assert channel.responses()[-1] == {"bounced": True}
    ledger.skip_time(channel.timeout_s)
    bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    assert channel.responses()[-1]["closed"] == 1


def test_time_may_pass_for_agents_alone(ledger: Ledger, channel: TestChannel, bob: Actor) -> None:
    channel.open()
    bob.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    ledger.skip_agent_time(channel.timeout_s)
    confirm = bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    assert channel.responses()[-1]["closed"] == 1
    assert confirm.timestamp_s == int(ledger.now_s())


def test_second_agent_triggered_by_one_unit_bounces(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    one, two = TestChannel(ledger, alice, bob), TestChannel(ledger, alice, bob, salt="other")
    messages = [
        definition_message(c.address, channel_definition(alice.address, bob.address, BASE, 1000, c.salt))
        for c in (one, two)
    ]
    ledger.post(bob.compose([Output(one.address, 50_000), Output(two.address, 50_000)], messages))
    ledger.settle()
    first, second = sorted((one, two), key=lambda channel: channel.address)
    assert first.responses()[0]["open"] == 1
    assert second.responses() == [{"bounced": True}]
    assert agent_balance(second) < 10_000


def test_initiator_can_steal_with_a_proof_against_himself(ledger: Ledger, channel: TestChannel, alice: Actor) -> None:
    channel.open(500_000)
    alice.trigger(channel.address, {"close": 1, "period": 1})
    alice.trigger(channel.address, {"fraud_proof": 1, "sentByPeer": channel.signed(alice, 1)})
    before = alice.balance()
    ledger.settle()
    assert channel.responses()[-1]["fraud_proof"] == 1
    assert alice.balance() - before > 500_000


def test_stranger_can_steal_with_a_copied_proof(
    ledger: Ledger, channel: TestChannel, alice: Actor, bob: Actor, carol: Actor
) -> None:
    channel.open(500_000)
    alice.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    carol.trigger(channel.address, {"fraud_proof": 1, "sentByPeer": channel.signed(alice, 1)})
    before = carol.balance()
    ledger.settle()
    assert carol.balance() - before > 500_000


def test_asset_channel_pays_asset_and_bytes(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    asset = ledger.treasury.issue(1_000_000)
    bob.fund(1_000, asset)
    channel = TestChannel(ledger, alice, bob, asset=asset)
    channel.open(600)
    assert agent_balance(channel, asset) == 600
    alice.trigger(channel.address, {"close": 1, "period": 1, "sentByPeer": channel.signed(bob, 150)})
    ledger.settle()
    bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    assert channel.responses()[-1]["closed"] == 1
    assert alice.balance(asset) == 150
    assert bob.balance(asset) == 1_000 - 150
    assert agent_balance(channel, asset) == 0


def test_agent_books_are_what_it_owns(ledger: Ledger, channel: TestChannel, alice: Actor, carol: Actor) -> None:
    channel.open()
    carol.trigger(channel.address, amount=50)
    alice.trigger(channel.address, amount=70_000)
    carol.trigger(channel.address, amount=33_333)
    ledger.settle()
    owned = sum(output.amount for output in ledger.state.outputs.unspent(channel.address))
    assert agent_balance(channel) == owned


def test_dust_is_owned_but_never_spent(ledger: Ledger, channel: TestChannel, alice: Actor, carol: Actor) -> None:
    channel.open()
    dust = carol.trigger(channel.address, amount=88)
    ledger.settle()
    alice.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    alice.trigger(channel.address, {"fraud_proof": 1, "sentByPeer": channel.signed(alice, 1)})
    ledger.settle()
    left = {output.outpoint.unit: output.amount for output in ledger.state.outputs.unspent(channel.address)}
    assert left[dust.hash] == 88
    assert sum(left.values()) == agent_balance(channel)


def test_money_that_is_not_stable_yet_is_not_paid_out(
    ledger: Ledger, channel: TestChannel, alice: Actor, carol: Actor
) -> None:
    channel.open(100_000)
    alice.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    alice.trigger(channel.address, {"fraud_proof": 1, "sentByPeer": channel.signed(alice, 1)})
    ledger.advance()
    late = carol.trigger(channel.address, amount=700_000)
    before = alice.balance()
    ledger.advance()
    assert not late.is_stable
    assert 0 < alice.balance() - before < 200_000


def test_reopening_starts_the_next_period(ledger: Ledger, channel: TestChannel, alice: Actor, bob: Actor) -> None:
    channel.open()
    alice.trigger(channel.address, {"close": 1, "period": 1})
    ledger.settle()
    bob.trigger(channel.address, {"confirm": 1, "period": 1})
    ledger.settle()
    alice.trigger(channel.address, amount=40_000)
    ledger.settle()
    assert channel.responses()[-1]["period"] == 2
    assert [r.get("event_id") for r in channel.responses()] == [1, 2, 3, 4]


def test_first_data_message_is_what_the_agent_reads(ledger: Ledger, channel: TestChannel, alice: Actor) -> None:
    channel.open()
    messages = [data_message({"close": 1, "period": 1}), data_message({"confirm": 1})]
    ledger.post(alice.compose([Output(channel.address, 10_000)], messages))
    ledger.settle()
    assert channel.responses()[-1]["closing"] == 1


def test_history_of_an_agent_tells_triggers_responses_and_hints(
    ledger: Ledger, channel: TestChannel, alice: Actor, carol: Actor
) -> None:
    channel.open()
    carol.trigger(channel.address, amount=9_000)
    ledger.settle()
    answer: Any = get_history(ledger, {"witnesses": [ledger.provider_address], "addresses": [channel.address]})
    assert len(answer["joints"]) == 3
    assert [row["bounced"] for row in answer["aa_responses"]] == [0, 1]
    assert all(isinstance(row["response"], str) for row in answer["aa_responses"])


@pytest.mark.parametrize("units", [1, 2, 3])
def test_stable_before_provable(ledger: Ledger, channel: TestChannel, units: int) -> None:
    joint = channel.open_unit(50_000)
    unit = ledger.post(joint)
    for _ in range(units):
        ledger.advance()
    proven = {p.unit_hash: p.is_stable for p in history(ledger, channel.address).units}
    assert unit.is_stable == (units >= 2)
    assert proven[unit.hash] == (units >= 3)
    assert bool(channel.responses()) == (units >= 2)


def _unit(ledger: Ledger, channel: TestChannel, index: int) -> dict[str, Any]:
    unit: Any = ledger.state.responses_by_agent[channel.address][index].full["objResponseUnit"]
    return dict(unit)


def _fees(unit: dict[str, Any]) -> int:
    return int(unit["headers_commission"] + unit["payload_commission"])


def _cost(record: Any) -> int:
    unit = record.unit
    return _fees(unit) + int(unit["tps_fee"])
