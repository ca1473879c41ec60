from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.channels.model import Status
from shared.obyte.agents import MIN_AGENT_BYTES

if TYPE_CHECKING:
    from tests.integration.worker.support import World


async def test_an_honest_closing_is_confirmed_at_once(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 700)
        peer.close(admits=700)
        # No time passes: only the peer would have to wait.
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
    assert len(world.triggers(peer, "confirm")) == 1
    assert world.triggers(peer, "fraud_proof") == []
    assert (await world.events(peer))[-1].payload == {"closed": 1, "period": 1, "event_id": 3}


async def test_what_the_peer_admits_beyond_his_payments_is_given_back(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 700)
        peer.package(300)  # signed, counted by him, and lost on its way to us
        peer.close(admits=1_000)
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
    [confirm] = world.triggers(peer, "confirm")
    unit = world.devnet.ledger.state.dag.records[confirm].unit
    assert unit["messages"][0]["payload"] == {"confirm": 1, "period": 1, "additionalTransferredFromMe": 300}


async def test_a_dishonest_closing_loses_everything_to_the_fraud_proof(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer, 1_000_000)
        await world.pay(peer, 50_000, 40_000)
        before = world.own.balance()
        peer.close(admits=10_000)
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
    [proof] = world.triggers(peer, "fraud_proof")
    assert world.triggers(peer, "confirm") == []
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1
    unit = world.devnet.ledger.state.dag.records[proof].unit
    cost = MIN_AGENT_BYTES + unit["headers_commission"] + unit["payload_commission"] + unit["tps_fee"]
    gained = world.own.balance() - before + cost
    # The deposit and both triggers' bytes, but for the agent's own fees of a few hundred bytes each.
    assert 1_000_000 + 2 * MIN_AGENT_BYTES - 5_000 < gained < 1_000_000 + 2 * MIN_AGENT_BYTES


async def test_payments_are_refused_from_the_moment_the_peers_closing_is_seen(world: World) -> None:
    world.devnet.pause()
    async with world.running():
        peer = await world.peer()
        peer.deposit(1_000_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        unit = peer.close(admits=0)
        await world.until_units(peer, lambda units: any(seen.unit == unit and seen.closes for seen in units))
        with pytest.raises(AssertionError, match="unconfirmed_closing"):
            await world.pay(peer, 100)


async def test_a_claim_of_more_than_all_money_is_survived(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 700)
        peer.close(admits=9_007_199_254_740_991)
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
    assert len(world.triggers(peer, "confirm")) == 1


async def test_a_closing_that_the_agent_can_only_round_is_confirmed(world: World) -> None:
    asset = world.devnet.ledger.treasury.issue()
    world.devnet.ledger.settle()
    async with world.running():
        peer = await world.peer(asset=asset)
        world.fund(peer, 2 * 10**15, asset)
        peer.deposit(2 * 10**15, publish=True)
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        peer.spent = 10**15
        await world.pay(peer, 1)
        peer.close(admits=10**15 + 1)  # honest, but the agent counts with 15 digits
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
    assert world.triggers(peer, "fraud_proof") == []
    assert world.own.balance(asset) <= 1


async def test_an_asset_channel_settles_in_its_asset(world: World) -> None:
    asset = world.devnet.ledger.treasury.issue()
    world.devnet.ledger.settle()
    async with world.running():
        peer = await world.peer(asset=asset)
        world.fund(peer, 5_000, asset)
        peer.deposit(5_000, publish=True)
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        await world.pay(peer, 1_200)
        await world.until_done(await world.order_close(peer))
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peer.timeout_s)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
    assert world.own.balance(asset) == 1_200
    assert peer.balance(asset) == 3_800
