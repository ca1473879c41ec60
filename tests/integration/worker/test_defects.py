"""The known defects of the reference peer's watcher and settlement, each shown not to be ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import worker.settlement
from shared.agent.triggers import trigger_data
from shared.channels.model import Status
from shared.obyte.coins import CoinSet
from shared.obyte.composing import Output
from shared.obyte.history import ProvenHistory, ProvenUnit
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubRequestError
from shared.store.commands import CommandState
from shared.store.journal import UnitState
from worker.reading import LedgerReader

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from tests.integration.worker.support import World


def is_closed(channel: Channel) -> bool:
    return channel.period == 1 and channel.status is Status.CLOSED


@pytest.mark.parametrize("fault", ["refused", "answer lost", "connection lost", "no parents"])
async def test_b06_a_failed_reaction_to_a_dishonest_closing_is_made_again_and_again(world: World, fault: str) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        faults = world.devnet.faults
        match fault:
            case "refused":
                for text in ("tps_fee 1 is too low", "last ball just advanced", "unknown parents", "some other rule"):
                    faults.refuse("post_joint", text)
            case "answer lost":
                faults.lose_answer("post_joint")
            case "connection lost":
                faults.drop_connection_after("post_joint")
            case "no parents":
                for _ in range(3):
                    faults.refuse("light/get_parents_and_last_ball_and_witness_list_unit", "not now")
        peer.close(admits=0)
        await world.until(peer, is_closed, "closed")
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1
    assert len(world.triggers(peer, "fraud_proof")) == 1
    assert world.triggers(peer, "confirm") == []


async def test_b06_the_reaction_waits_for_money_and_is_still_the_right_one(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors.add("wallet_low")
    treasury = world.devnet.ledger.treasury
    world.own.post([Output(treasury.address, world.own.balance() - 5_000)])
    await world.devnet.stabilise()
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        peer.close(admits=0)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_PEER, "closing")
        world.fund(world.own, 1_000_000)
        await world.until(peer, is_closed, "closed")
    assert len(world.triggers(peer, "fraud_proof")) == 1


async def test_b07_a_closing_that_bounces_is_undone_and_can_be_ordered_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_period(trigger: Any) -> dict[str, Any]:
        return trigger_data(trigger) | {"period": 99}

    monkeypatch.setattr(worker.settlement, "trigger_data", wrong_period)
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 1_000)
        command = await world.until_done(await world.order_close(peer, "first"))
        assert command.state is CommandState.SUCCEEDED  # the hub has taken the unit
        channel = await world.until(peer, lambda channel: channel.period_closed_by_me == 0, "open again")
        assert channel.status is Status.OPEN
        [entry] = await world.journal(peer)
        assert (entry.unit, entry.state, entry.error) == (command.result["unit"], UnitState.FAILED, "wrong period")
        await world.pay(peer, 1_000)

        monkeypatch.undo()
        await world.until_done(await world.order_close(peer, "second"))
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    # The second closing carries what was paid after the first one came to nothing.
    assert (await world.events(peer))[-1].payload[peer.address] == 2_000


async def test_b07_a_confirmation_that_bounces_is_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def wrong_once(trigger: Any) -> dict[str, Any]:
        attempts.append(trigger)
        return trigger_data(trigger) | ({"period": 99} if len(attempts) == 1 else {})

    monkeypatch.setattr(worker.settlement, "trigger_data", wrong_once)
    # Our definition is on the ledger and known, so that no unit is refused for telling it again.
    world.own.post([Output(world.own.address, 1_000)])
    await world.devnet.stabilise()
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        peer.close(admits=0)
        await world.until(peer, is_closed, "closed")
    assert [entry.state for entry in await world.journal(peer)] == [UnitState.FAILED, UnitState.STABLE]


async def test_b12_a_channel_that_is_known_late_is_read_from_its_beginning(world: World) -> None:
    async with world.running():
        early, late = await world.peer(1), await world.stranger(2)
        late.deposit(300_000, publish=True)
        await world.devnet.stabilise()
        late.deposit(40_000)
        await world.devnet.stabilise()
        # By the time the late channel is known, the other one's events are far beyond the late one's.
        await world.open(early)
        early.deposit(20_000)
        await world.until(early, lambda channel: channel.last_event_id == 2, "at its second event")

        await world.add_channel(late)
        channel = await world.until(late, lambda channel: channel.last_event_id == 2, "at its second event")
        assert channel.deposited_by_peer == 340_000


async def test_b12_a_gap_in_the_events_makes_the_channel_read_from_its_beginning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await world.peer()
    peer.deposit(300_000, publish=True)
    await world.devnet.stabilise()
    peer.deposit(40_000)
    await world.devnet.stabilise()
    responses = [record for record in world.devnet.ledger.state.dag.records.values() if record.is_agent]
    start_over = LedgerReader.start_over

    def believe_too_much(reader: LedgerReader) -> None:
        start_over(reader)
        told = ProvenUnit({}, is_stable=True, mci_hint=responses[-1].mci)
        reader._bounds.read([peer.channel], ProvenHistory((told,)))

    monkeypatch.setattr(LedgerReader, "start_over", believe_too_much)
    async with world.running():
        channel = await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
    assert channel.deposited_by_peer == 340_000
    assert [event.event_id for event in await world.events(peer)] == [1, 2]


async def test_b12_a_history_too_large_for_one_answer_is_read_in_parts_and_from_the_last_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await world.peer(1), await world.peer(2)
    async with world.running():
        await world.open(one)
        await world.open(two)
    one.deposit(40_000)
    two.deposit(50_000)
    honest = HubClient.get_history
    asked = []

    async def answer_little(client: HubClient, **params: Any) -> Any:
        asked.append(len(params["addresses"]))
        is_whole = params["min_mci"] is None and set(params["addresses"]) & {one.channel, two.channel}
        if is_whole or len(params["addresses"]) > 1:
            raise HubRequestError("light/get_history", "your history is too large, consider switching to a full client")
        return await honest(client, **params)

    monkeypatch.setattr(HubClient, "get_history", answer_little)
    async with world.running():
        await world.until(one, lambda channel: channel.deposited_by_peer == 1_040_000, "at its second event")
        await world.until(two, lambda channel: channel.deposited_by_peer == 1_050_000, "at its second event")
    assert max(asked) == 2


async def test_a_definition_that_the_hub_knows_before_we_do_is_left_out_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.own.post([Output(world.own.address, 1_000)])
    await world.devnet.stabilise()
    monkeypatch.setattr(CoinSet, "definition_disclosed", lambda *_: False)  # as while a history is on its way
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        command = await world.until_done(await world.order_close(peer))
    assert command.error is None
    refused, sent = await world.journal(peer)
    assert (refused.state, sent.unit) == (UnitState.FAILED, command.result["unit"])
    assert "duplicate definition" in (refused.error or "")
