"""The worker is cut off at one point and another one goes on: nothing is lost and nothing is sent twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Channel, Status
from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubTimeoutError
from shared.store import commands, journal, lease
from tests.integration.worker.support import BOUND_S, Crash
from worker.wallet import Wallet

if TYPE_CHECKING:
    from tests.integration.worker.support import Peer, World

pytestmark = pytest.mark.chaos

TTL_S = 0.5


async def _release_nothing(*_: Any) -> bool:
    """What a killed process does about its lease."""
    return False


def is_closed(channel: Channel) -> bool:
    return channel.period == 1 and channel.status is Status.CLOSED


POINTS = {
    "before composing": (Wallet, "_compose", None),
    "before the journal": (journal, "compose", None),
    "after the journal, before posting": (HubClient, "post_joint", None),
    "after posting, before the hub's answer": (HubClient, "post_joint", HubClient.post_joint),
    "after the answer, before it is noted": (journal, "posted", None),
    "after it is noted": (journal, "posted", journal.posted),
}


async def cut_off(world: World, monkeypatch: pytest.MonkeyPatch, point: tuple[Any, str, Any], peer: Peer) -> Crash:
    """Run a worker with the peer's open, paid channel up to the point where it is killed; tells when it got there."""
    place, name, after = point
    crash = Crash(after)
    async with world.running(ttl_s=TTL_S):
        await world.open(peer)
        await world.pay(peer, 40_000)
    monkeypatch.setattr(place, name, crash)
    monkeypatch.setattr(lease, "release", _release_nothing)
    return crash


@pytest.mark.parametrize("point", POINTS)
async def test_b08_a_closing_cut_off_anywhere_is_sent_once(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    peer = await world.peer()
    crash = await cut_off(world, monkeypatch, POINTS[point], peer)
    killed = asyncio.create_task(world.runtime(ttl_s=TTL_S).run())
    command_id = await world.order_close(peer)
    await asyncio.wait_for(crash.reached.wait(), BOUND_S)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    monkeypatch.undo()

    # Ordered is ordered, whether or not anybody is there to send it.
    assert (await world.channel(peer)).period_closed_by_me == 1
    with pytest.raises(AssertionError, match="period_closed_by_me"):
        await world.pay(peer, 1)

    async with world.running(ttl_s=TTL_S):
        command = await world.until_done(command_id)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peer.timeout_s)
        await world.until(peer, is_closed, "closed")
    assert command.error is None
    assert world.triggers(peer, "close") == [command.result["unit"]]
    assert len(world.triggers(peer, "confirm")) == 1
    assert (await world.events(peer))[1].payload[peer.address] == 40_000


@pytest.mark.parametrize("point", POINTS)
async def test_b08_a_fraud_proof_cut_off_anywhere_is_sent_once(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    peer = await world.peer()
    crash = await cut_off(world, monkeypatch, POINTS[point], peer)
    killed = asyncio.create_task(world.runtime(ttl_s=TTL_S).run())
    peer.close(admits=1)
    await asyncio.wait_for(crash.reached.wait(), BOUND_S)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    monkeypatch.undo()

    async with world.running(ttl_s=TTL_S):
        await world.until(peer, is_closed, "closed")
    assert len(world.triggers(peer, "fraud_proof")) == 1
    assert world.triggers(peer, "confirm") == []
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1


async def test_b08_a_command_cut_off_before_its_answer_is_answered_by_the_next_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await world.peer()
    crash = await cut_off(world, monkeypatch, (commands, "finish", None), peer)
    killed = asyncio.create_task(world.runtime(ttl_s=TTL_S).run())
    command_id = await world.order_close(peer)
    await asyncio.wait_for(crash.reached.wait(), BOUND_S)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    monkeypatch.undo()
    async with world.running(ttl_s=TTL_S):
        command = await world.until_done(command_id)
    assert (command.error, command.attempts) == (None, 2)
    assert world.triggers(peer, "close") == [command.result["unit"]]


async def test_b08_a_unit_that_the_hub_has_lost_is_posted_again_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub said yes and forgot: the journal says posted, the history does not tell of it."""

    async def swallow(_client: HubClient, joint: Any) -> None:
        swallowed.append(joint["unit"]["unit"])

    swallowed: list[str] = []
    peer = await world.peer()
    async with world.running():
        await world.open(peer)
        monkeypatch.setattr(HubClient, "post_joint", swallow)
        command = await world.until_done(await world.order_close(peer))
        monkeypatch.undo()
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    assert set(swallowed) == {command.result["unit"]}
    assert world.triggers(peer, "close") == [command.result["unit"]]


async def test_b08_while_one_unit_is_in_doubt_no_other_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[str] = []
    post = HubClient.post_joint

    async def lose_the_first(client: HubClient, joint: Any) -> None:
        if not lost:
            lost.append(joint["unit"]["unit"])
            raise HubTimeoutError("post_joint", 0)
        await post(client, joint)

    # Our definition is on the ledger and known, so that no unit is refused for telling it again.
    world.own.post([Output(world.own.address, 1_000)])
    await world.devnet.stabilise()
    one, two = await world.peer(1), await world.peer(2)
    async with world.running():
        await world.open(one)
        await world.open(two)
    await world.order_close(one, "1")
    await world.order_close(two, "2")
    monkeypatch.setattr(HubClient, "post_joint", lose_the_first)
    async with world.running():
        for peer in (one, two):
            await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    for peer in (one, two):
        [entry] = await world.journal(peer)
        assert (entry.state, entry.error) == ("stable", None)
    assert lost[0] in world.triggers(one, "close") + world.triggers(two, "close")
