"""A channel that nobody paid into is given up by the worker, and nothing that comes later is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.model import Status
from shared.store import channels
from tests.integration.worker.support import eventually
from worker.giving_up import GivingUp, Patience

if TYPE_CHECKING:
    import pytest

    from tests.integration.worker.support import Peer, World

IMPATIENT = Patience(expiry_s=0.2, round_s=0.05)
NEVER = Patience(expiry_s=None, round_s=0.05)


async def until_shown(world: World, peer: Peer, status: str) -> None:
    async def look() -> bool:
        async with world.database.connection() as conn:
            return (await channels.find(conn, [peer.channel]))[peer.channel].shown_status == status

    await eventually(look, f"a channel that is {status}")


async def test_a_channel_is_given_up_and_comes_back_as_soon_as_the_hub_tells_of_a_deposit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: GivingUp) -> None:
        return

    monkeypatch.setattr(GivingUp, "_look_again", never)
    async with world.running(patience=IMPATIENT):
        peer = await world.peer()
        await until_shown(world, peer, "expired")
        peer.deposit(1_000_000, publish=True)
        await until_shown(world, peer, "open")
        await world.pay(peer, 1_000)
    assert (await world.channel(peer)).spent_by_peer == 1_000


async def test_a_deposit_that_came_while_nobody_watched_is_found(world: World) -> None:
    peer = await world.peer()
    async with world.running(patience=IMPATIENT):
        await until_shown(world, peer, "expired")
    peer.deposit(1_000_000, publish=True)
    world.devnet.ledger.settle()
    async with world.running(patience=NEVER):
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        await until_shown(world, peer, "open")


async def test_a_channel_in_use_is_never_given_up(world: World) -> None:
    async with world.running(patience=NEVER):
        peer = await world.peer()
        await world.open(peer)
    idle = await world.peer(2)
    async with world.running(patience=IMPATIENT):
        await until_shown(world, idle, "expired")
        await until_shown(world, peer, "open")


async def test_who_asks_for_as_many_as_there_may_be_does_not_keep_others_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: GivingUp) -> None:
        return

    monkeypatch.setattr(GivingUp, "_look_again", never)
    peers = [await world.peer(number) for number in range(1, 5)]
    for age_days, peer in zip((1, 4, 3, 2), peers, strict=True):
        async with world.database.transaction() as conn:
            await conn.execute(
                "UPDATE channels SET asked_at = now() - $2 * interval '1 day' WHERE aa_address = $1",
                peer.channel,
                age_days,
            )
    crowded = Patience(round_s=0.05, most=5, least_s=86_400 * 1.5, crowded_round_s=0.05)
    async with world.running(patience=crowded):
        for peer in peers[1:3]:
            await until_shown(world, peer, "expired")
        await until_shown(world, peers[0], "unfunded")
        await until_shown(world, peers[3], "unfunded")
        await world.peer(5)
        await world.peer(6)
        await until_shown(world, peers[3], "expired")
        await until_shown(world, peers[0], "unfunded")
