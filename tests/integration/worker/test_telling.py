"""The life of channels on a ledger, as those who follow the stream of events hear of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.bus import EVENT
from shared.channels.model import Status
from shared.events.feed import Feed
from shared.events.forms import reference_frame
from tests.integration.worker.support import BOUND_S, FAST

if TYPE_CHECKING:
    from shared.events.feed import Follower
    from shared.store.events import Event
    from tests.integration.worker.support import World


async def heard(follower: Follower) -> list[Event]:
    """Everything up to now."""
    found: list[Event] = []
    while more := await follower.next(0.5):
        found += more
    return [event for event in found if event.kind not in ("alarm_raised", "alarm_cleared")]


async def test_a_channel_is_told_from_its_first_deposit_to_the_payout(world: World) -> None:
    feed = Feed(world.database, world.bus, poll_s=0.1)
    async with feed.follow() as follower:
        async with world.running():
            peer = await world.peer()
            await world.open(peer, 1_000_000)
            await world.pay(peer, 1_000, 500)
            await world.done("auto_refill", peer.channel, amount=50_000, threshold=20_000)
            await world.until(peer, lambda channel: channel.deposited_by_me > 0, "refilled")
            await world.until_done(await world.order_close(peer))
            await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
            world.devnet.skip_time(peer.timeout_s)
            await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
        told = await heard(follower)
    await feed.close()
    assert [event.kind for event in told] == [
        "channel_created_by_peer",
        "peer_deposit_became_stable",
        "payment_received",
        "payment_received",
        "command_succeeded",
        "channel_refilled",
        "my_deposit_became_stable",
        "command_succeeded",
        "channel_closing",
        "channel_closed",
    ]
    assert {event.aa_address for event in told} == {peer.channel}
    frames = [frame["data"] for event in told if (frame := reference_frame(event)) is not None]
    refill = told[5].data["unit"]
    assert frames[0] == [peer.address, peer.channel]
    assert frames[1][0] == 1_000_000
    assert frames[2][:2] == [1_000, "base"]
    assert frames[4] == [peer.channel, 50_000]
    assert frames[5] == [50_000, refill]
    # What was earned and our own deposit come back, with the agent's 10 000 bytes for the smaller party.
    assert frames[6] == [peer.channel, 1_500 + 50_000 + 10_000]


async def test_a_lie_of_the_peer_is_told_with_what_it_brought_us(world: World, expected_errors: set[str]) -> None:
    feed = Feed(world.database, world.bus, poll_s=0.1)
    async with feed.follow() as follower:
        async with world.running():
            peer = await world.peer()
            await world.open(peer, 1_000_000)
            await world.pay(peer, 40_000)
            peer.close(admits=10_000)
            await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
        told = await heard(follower)
    await feed.close()
    kinds = [event.kind for event in told if event.kind.startswith("channel_clos")]
    assert kinds == ["channel_closing", "channel_closed_with_fraud_proof"]
    closing, closed = told[-2:]
    assert (closing.data["by"], closing.data["spent_by_peer"]) == ("peer", 10_000)
    assert closed.data["received"] > 1_000_000, "a lie costs the peer everything"


async def test_followers_need_not_poll_for_alarms(world: World, expected_errors: set[str]) -> None:
    expected_errors.add("hub_away")
    await world.devnet.doors[0].stop()
    feed = Feed(world.database, world.bus, poll_s=3_600)
    pace = replace(FAST, hub=replace(FAST.hub, away_s=0.1))
    async with feed.follow() as follower, world.running(pace=pace):
        [raised] = await follower.next(BOUND_S)
        assert (raised.kind, raised.data["alarm"]) == ("alarm_raised", "hub_away")
        await world.devnet.doors[0].start()
        [cleared] = await follower.next(BOUND_S)
        assert (cleared.kind, cleared.data["alarm"]) == ("alarm_cleared", "hub_away")
    await feed.close()


async def test_followers_need_not_poll_for_refills(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        world.devnet.pause()
        with world.bus.subscribe(EVENT) as told:
            await world.done("auto_refill", peer.channel, amount=50_000, threshold=20_000)
            await asyncio.wait_for(anext(told), BOUND_S)
        world.devnet.resume()
