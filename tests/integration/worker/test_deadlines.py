"""A closing that cannot be answered is announced while there is time, and the alarms end with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import worker.settlement
from shared.channels.model import Channel, Status
from shared.store import alarms, channels
from shared.store.alarms import AlarmKind
from tests.integration.worker.support import eventually
from worker.closing_watch import ClosingLimits

if TYPE_CHECKING:
    import pytest

    from tests.integration.worker.support import Peer, World


def is_closed(channel: Channel) -> bool:
    return channel.period == 1 and channel.status is Status.CLOSED


async def standing(world: World, peer: Peer) -> set[AlarmKind]:
    async with world.database.connection() as conn:
        return {alarm.kind for alarm in await alarms.active(conn) if alarm.subject == peer.channel}


async def until_standing(world: World, peer: Peer, *kinds: AlarmKind) -> None:
    async def look() -> bool:
        return await standing(world, peer) == set(kinds)

    await eventually(look, f"alarms {kinds}")


async def test_a_fraud_that_cannot_be_proved_is_announced_until_it_is(world: World, expected_errors: set[str]) -> None:
    expected_errors |= {AlarmKind.DEADLINE_NEAR.value}
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        world.devnet.faults.refuse("post_joint", "some rule", times=None)
        peer.close(admits=0)
        await until_standing(world, peer, AlarmKind.FRAUD_SEEN, AlarmKind.TRIGGER_FAILING)
        world.devnet.skip_time(600)
        await until_standing(world, peer, AlarmKind.FRAUD_SEEN, AlarmKind.TRIGGER_FAILING, AlarmKind.DEADLINE_NEAR)
        world.devnet.faults.clear()
        await world.until(peer, is_closed, "closed")
        await until_standing(world, peer)
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1
    assert len(world.triggers(peer, "fraud_proof")) == 1


async def test_a_closing_that_gives_us_nothing_is_left_to_the_peer_who_ends_it(world: World) -> None:
    async with world.running(closing=ClosingLimits(confirm_from=2_000)):
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 1_999)
        peer.close(admits=1_999)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_PEER, "closing")
        await world.done("publish_agent", version="0.9")  # some rounds later
        assert await world.journal(peer) == []
        world.devnet.skip_time(peer.timeout_s)
        peer.trigger({"confirm": 1, "period": 1})
        await world.until(peer, is_closed, "closed")
    assert (await world.events(peer))[-1].kind == "closed"
    assert await world.journal(peer) == []


async def test_closings_that_are_left_to_the_peer_cost_settlement_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of them are cheap to make, and a fraud must not wait behind them."""
    locked: list[str] = []

    async def lock_one(conn: Any, aa_address: str) -> Channel | None:
        locked.append(aa_address)
        return await channels.lock_one(conn, aa_address)

    seen_by_settlement = SimpleNamespace(to_watch=channels.to_watch, find=channels.find, lock_one=lock_one)
    monkeypatch.setattr(worker.settlement, "channels", seen_by_settlement)
    async with world.running(closing=ClosingLimits(confirm_from=2_000)):
        peer = await world.peer()
        await world.open(peer)
        peer.close(admits=0)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_PEER, "closing")
        await world.done("publish_agent", version="0.9")  # some rounds later
    assert locked == []
