from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.channels.model import Status
from shared.obyte.keys import KeyPair
from shared.store.errors import LeaseLostError
from tests.integration.worker.support import BOUND_S
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.integration.worker.support import World


async def test_one_worker_holds_and_the_other_takes_over_when_it_stops(world: World) -> None:
    peer = await world.peer()
    standing_by = world.runtime(ttl_s=1.0)
    async with world.running(ttl_s=1.0) as first:
        task = asyncio.create_task(standing_by.run())
        await world.open(peer)
        assert first.holding.is_set()
        assert not standing_by.holding.is_set()
    # The first was stopped in the ordinary way: no lease has to expire, only the next poll to come.
    await asyncio.wait_for(standing_by.holding.wait(), 1.0)
    await world.until_done(await world.order_close(peer))
    standing_by.stop()
    await asyncio.wait_for(task, BOUND_S)


async def test_a_holder_that_lost_its_lease_cannot_write_any_more_and_stands_by(world: World) -> None:
    peer = await world.peer()
    frozen = world.runtime(ttl_s=30)
    task = asyncio.create_task(frozen.run())
    await asyncio.wait_for(frozen.holding.wait(), BOUND_S)
    assert frozen._vault is not None
    guard = frozen._vault._guard
    await world.expire_lease()
    async with world.running(ttl_s=1.0) as second:
        with pytest.raises(LeaseLostError):
            async with guard.transaction():
                pass
        await world.open(peer)
        assert second.holding.is_set()
        assert not frozen.holding.is_set()
    frozen.stop()
    await asyncio.wait_for(task, BOUND_S)


async def test_a_stopped_worker_lets_the_step_in_hand_finish(world: World) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        world.devnet.faults.delay_answer("post_joint", 0.5)
        await world.order_close(peer)
        await world.until_journaled(peer)
        runtime.stop()
    [entry] = await world.journal(peer)
    assert entry.state in ("posted", "stable")


async def test_another_wallet_is_refused_with_a_clear_error(world: World) -> None:
    async with world.running():
        pass
    stranger = world.runtime(key=KeyPair(bytes([9]) * 32))
    with pytest.raises(ConfigurationError, match="this database belongs to") as refusal:
        await stranger.run()
    assert refusal.value.code == "another_wallet"


async def test_a_channel_that_changes_hands_in_mid_closing_is_settled_once(world: World) -> None:
    peer = await world.peer()
    async with world.running():
        await world.open(peer)
        await world.pay(peer, 500)
        await world.until_done(await world.order_close(peer))
    world.devnet.skip_time(peer.timeout_s + 1)
    await world.devnet.stabilise()
    async with world.running():
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peer.timeout_s)
    async with world.running():
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
    assert len(world.triggers(peer, "close")) == len(world.triggers(peer, "confirm")) == 1
