# ruff: noqa: PT012 - a transaction is a block

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from shared.channels.model import Status
from shared.obyte.coins import CoinSet
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.store import channels
from shared.store import lease as leases
from shared.store.database import Database, Limits, Role
from shared.store.errors import DatabaseUnavailableError, LeaseLostError
from tests.integration.worker.support import BOUND_S, FAST, eventually
from worker.errors import ConfigurationError
from worker.guard import Guard
from worker.metrics import STAND_BY_UNFIT
from worker.stand_by_pace import StandByPace
from worker.wallet.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.worker.support import World
    from worker.runtime import Runtime

PATIENT = replace(FAST, stand_by=StandByPace(ask_s=BOUND_S, hubs_s=BOUND_S))
"""A stand-by that asks so seldom does nothing in time but what it is told to."""
CURIOUS = replace(FAST, stand_by=StandByPace(ask_s=0.05, hubs_s=0.2))


@asynccontextmanager
async def standing_by(runtime: Runtime) -> AsyncIterator[Runtime]:
    """A worker that does not get the lease before the block begins."""
    task = asyncio.create_task(runtime.run())
    await asyncio.sleep(0.1)
    assert not runtime.holding.is_set()
    yield runtime
    runtime.stop()
    await asyncio.wait_for(task, BOUND_S)


async def is_unfit() -> bool:
    return next(iter(STAND_BY_UNFIT.collect())).samples[0].value == 1


async def is_fit() -> bool:
    return not await is_unfit()


async def test_one_worker_holds_and_the_other_takes_over_when_it_stops(world: World) -> None:
    peer = await world.peer()
    standing_by = world.runtime(ttl_s=1.0)
    async with world.running(ttl_s=1.0) as first:
        task = asyncio.create_task(standing_by.run())
        await world.open(peer)
        assert first.holding.is_set()
        assert not standing_by.holding.is_set()
    # The first was stopped in the ordinary way: no lease has to expire, only the next poll to come.
    await asyncio.wait_for(standing_by.holding.wait(), 5.0)
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


async def test_a_holder_that_lost_its_lease_posts_nothing_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[Any] = []

    async def post(_client: HubClient, joint: Any) -> None:
        posted.append(joint)

    peer = await world.peer()
    async with world.running(ttl_s=30) as runtime:
        await world.open(peer)
        assert runtime._vault is not None
        guard, client = runtime._vault._guard, HubClient(world.devnet.url, world.devnet.ledger.network)
        monkeypatch.setattr(HubClient, "post_joint", post)
        await world.expire_lease()
        with pytest.raises(LeaseLostError):
            await Delivery(guard, CoinSet(frozenset({world.own.address}))).deliver(client, "unit", {"unit": {}})
    assert posted == []


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


async def test_a_stand_by_hears_of_a_lease_that_is_given_up(world: World) -> None:
    async with world.running(ttl_s=60) as first, standing_by(world.runtime(ttl_s=60, pace=PATIENT)) as second:
        first.stop()
        await asyncio.wait_for(second.holding.wait(), BOUND_S / 2)


async def test_a_stand_by_asks_when_the_lease_of_a_killed_worker_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def release_nothing(*_: Any) -> bool:
        return False

    killed = asyncio.create_task((first := world.runtime(ttl_s=1.0)).run())
    await asyncio.wait_for(first.holding.wait(), BOUND_S)
    async with standing_by(world.runtime(ttl_s=1.0, pace=PATIENT)) as second:
        monkeypatch.setattr(leases, "release", release_nothing)
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
        monkeypatch.undo()
        await asyncio.wait_for(second.holding.wait(), BOUND_S / 2)


async def test_a_stand_by_of_another_wallet_says_so_before_it_is_needed(world: World) -> None:
    async with world.running() as first:
        await world.open(await world.peer())
        with pytest.raises(ConfigurationError) as refusal:
            await asyncio.wait_for(world.runtime(key=KeyPair(bytes([9]) * 32)).run(), BOUND_S)
        assert refusal.value.code == "another_wallet"
        assert first.holding.is_set()


async def test_a_worker_that_cannot_use_the_schema_leaves_the_lease_to_others(world: World) -> None:
    owner = await asyncpg.connect(world.database_url)
    before = await owner.fetchval("SELECT version_num FROM schema_revisions WHERE version_num LIKE '%_pre'")
    await owner.execute("UPDATE schema_revisions SET version_num = '0001_pre' WHERE version_num LIKE '%_pre'")
    async with standing_by(world.runtime(pace=CURIOUS)) as early:
        await eventually(is_unfit, "its saying so")
        assert await owner.fetchval("SELECT count(*) FROM lease") == 0
        await owner.execute("UPDATE schema_revisions SET version_num = $1 WHERE version_num LIKE '%_pre'", before)
        await asyncio.wait_for(early.holding.wait(), BOUND_S)
        assert await is_fit()
    await owner.close()


async def test_a_stand_by_that_no_hub_answers_says_so(world: World, free_port: int) -> None:
    nobody = f"ws://127.0.0.1:{free_port}"
    async with world.running():
        async with standing_by(world.runtime(pace=CURIOUS, hub_url=nobody)):
            await eventually(is_unfit, "its saying so")
        async with standing_by(world.runtime(pace=CURIOUS, hub_url=f"{nobody},{world.devnet.url}")):
            await asyncio.sleep(0.5)
            assert await is_fit()


async def test_the_lease_is_given_up_before_a_hub_has_said_goodbye(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    goodbye, close = asyncio.Event(), HubClient.close

    async def close_slowly(client: HubClient) -> None:
        await goodbye.wait()
        await close(client)

    async with world.running(ttl_s=60) as first:
        await world.open(await world.peer())
        monkeypatch.setattr(HubClient, "close", close_slowly)
        first.stop()
        async with world.running(ttl_s=60) as second:
            assert not goodbye.is_set()
            assert second.holding.is_set()
            goodbye.set()


async def test_a_holder_that_froze_in_a_transaction_is_not_waited_for(world: World) -> None:
    peer = await world.peer()
    database = await Database.connect(
        world.database_url, role=Role.WORKER, limits=Limits(idle_in_transaction_s=2 * BOUND_S)
    )
    async with database.transaction() as conn:
        taken = await leases.acquire(conn, "wallet", "frozen", 0.2)
    assert taken is not None
    with pytest.raises(DatabaseUnavailableError):
        async with Guard(database, taken).transaction() as conn:
            await asyncio.sleep(0.2)
            async with world.running():
                await world.open(peer)
            await channels.mark_watched(conn, [])
    await database.close()
