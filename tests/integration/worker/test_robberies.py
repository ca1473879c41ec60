"""Whoever has robbed a channel of agent 1.1 is served no more, and all thieves together get no more than the limit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.channels.exposure import ExposureRules
from shared.channels.model import ExposureLimits, Status
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt, Refusal
from shared.receiving.verification import verify_payment_package
from shared.store import alarms, assets, channels, exposure, robberies
from shared.store.alarms import AlarmKind
from shared.store.commands import CommandState
from tests.integration.worker.support import eventually

if TYPE_CHECKING:
    from shared.store.commands import Command
    from shared.store.robberies import Robbery
    from tests.integration.worker.support import Peer, World

LIMITS = ExposureLimits(max_by_channel=60_000, sweep_above=50_000, max_own_deposit=20_000, max_total=1_000_000)


@pytest.fixture(autouse=True)
def _limits(world: World, expected_errors: set[str]) -> None:
    world.exposure = ExposureRules({"base": LIMITS})
    expected_errors |= {"channel_robbed", "robbed"}


async def offer(world: World, peer: Peer, amount: int, *, period: int = 1) -> Receipt | Refusal:
    acceptor = Acceptor(world.database, AcceptanceRules({}, world.exposure, 60), world.bus)
    try:
        outcome = await acceptor.submit(verify_payment_package(peer.package(amount, period=period), DEVNET))
    finally:
        await acceptor.close()
    if isinstance(outcome, Refusal):
        peer.spent -= amount
    return outcome


async def rob(world: World, peer: Peer, *, period: int = 1) -> None:
    """Close with nothing admitted and prove that a fraud, both in one go; wait until the worker has seen it."""
    events = len(await world.events(peer))
    world.devnet.pause()
    peer.close(admits=0, period=period)
    peer.trigger({"fraud_proof": 1, "period": period, "sentByPeer": peer.package(1, period=period)})
    world.devnet.resume()

    async def is_over() -> bool:
        return len(await world.events(peer)) >= events + 2

    await eventually(is_over, "the end of the robbery")
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1


async def reopen(world: World, peer: Peer, period: int) -> None:
    peer.spent = 0
    peer.deposit(500_000)
    await world.until(peer, lambda found: (found.period, found.status) == (period, Status.OPEN), f"period {period}")


async def recorded(world: World) -> list[Robbery]:
    async with world.database.connection() as conn:
        return await robberies.unforgiven(conn)


async def forgive(world: World, peer: Peer) -> None:
    async with world.database.transaction() as conn:
        assert await robberies.forgive(conn, peer.address)


async def alarmed(world: World, kind: AlarmKind = AlarmKind.ROBBED) -> set[str]:
    async with world.database.connection() as conn:
        return {alarm.subject for alarm in await alarms.active(conn) if alarm.kind is kind}


async def until_alarmed(world: World, *peers: Peer) -> None:
    async def look() -> bool:
        return await alarmed(world) == {peer.channel for peer in peers}

    await eventually(look, f"{len(peers)} alarms")


async def until_measured(world: World, *, is_stopped: bool) -> None:
    async def look() -> bool:
        async with world.database.connection() as conn:
            found = (await assets.exposures(conn, ["base"]))["base"]
        return (found.at_risk, found.is_stopped) == (0, is_stopped)

    await eventually(look, "a measurement")


async def sweep(world: World, peer: Peer) -> Command:
    async with world.database.connection() as conn:
        [row] = await conn.fetch("SELECT id FROM commands WHERE kind = 'sweep' AND aa_address = $1", peer.channel)
    return await world.command(row["id"])


async def test_a_thief_is_served_in_no_later_period_until_a_person_forgives_him(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 25_000)
        await rob(world, peer)
        [robbery] = await recorded(world)
        assert (robbery.aa_address, robbery.period, robbery.asset, robbery.amount) == (peer.channel, 1, "base", 25_000)
        await until_alarmed(world, peer)
        for period in (2, 3):
            await reopen(world, peer, period)
            refused = await offer(world, peer, 1, period=period)
            assert isinstance(refused, Refusal)
            assert refused.code == "peer_blocked"
            await rob(world, peer, period=period)  # nothing but his own
        assert [(found.period, found.amount) for found in await recorded(world)] == [(3, 25_000)]
        assert await alarmed(world) == {peer.channel}

        await forgive(world, peer)
        await until_alarmed(world)
        await reopen(world, peer, 4)
        assert isinstance(await offer(world, peer, 1, period=4), Receipt)


async def test_the_alarm_outlives_the_worker_that_raised_it(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 25_000)
        await rob(world, peer)
        await until_alarmed(world, peer)
    async with world.running():
        await eventually(world.is_awake, "a heartbeat")
        await world.done("publish_agent", version="0.9")  # some rounds later
        assert await alarmed(world) == {peer.channel}


async def test_all_channels_of_the_thief_are_blocked_and_he_gets_no_new_one_that_can_be_robbed(world: World) -> None:
    world.fund(world.own)
    async with world.running():
        thief, honest = await world.peer(1), await world.peer(2)
        other = replace(thief, salt="other", spent=0, last_package={})
        await world.add_channel(other)
        for peer in (thief, other, honest):
            await world.open(peer)
            await world.pay(peer, 10_000)
        await rob(world, thief)
        assert isinstance(await offer(world, honest, 1), Receipt)
        refused = await offer(world, other, 1)
        assert isinstance(refused, Refusal)
        assert refused.code == "peer_blocked"

        deposit = await world.done("deposit", other.channel, amount=15_000)
        assert (deposit.error or "").startswith("exposure_limit: ")
        opened = await world.done("open", peer=thief.address, initial_amount=15_000, version="1.1")
        assert (opened.error or "").startswith("exposure_limit: ")
        late = replace(thief, salt="late")
        await world.add_channel(late)
        async with world.database.connection() as conn:
            assert await channels.find(conn, [late.channel]) == {}


async def test_thieves_with_many_addresses_get_no_more_than_the_total_before_somebody_looks(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors.add("exposure_limit")
    world.fund(world.own, 10_000_000)
    world.exposure = ExposureRules({"base": replace(LIMITS, max_total=100_000)})
    stolen, thieves = 0, []
    async with world.running():
        for number in range(1, 6):
            peer = await world.peer(number)
            await world.open(peer)
            await eventually(world.is_awake, "a heartbeat")
            # What he can get: a sweep because the total is near does not come, his closing is faster.
            if isinstance(await offer(world, peer, 40_000), Refusal):
                break
            await rob(world, peer)
            thieves.append(peer)
            stolen += 40_000

            await until_measured(world, is_stopped=stolen >= 100_000)
        # Nobody measures between one's first and last payment here, so one payment more than the limit fits in.
        assert stolen == 120_000
        assert sum(robbery.amount for robbery in await recorded(world)) == stolen
        assert await alarmed(world, AlarmKind.EXPOSURE_LIMIT) == {"base"}

        await forgive(world, thieves[0])
        await forgive(world, thieves[1])

        async def is_taken() -> bool:
            return isinstance(await offer(world, peer, 10_000), Receipt)

        await eventually(is_taken, "payments again")
        assert await alarmed(world, AlarmKind.EXPOSURE_LIMIT) == set()


async def test_an_order_to_close_that_a_robbery_overtakes_fails_and_says_so(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 25_000)
    # The worker went away when it had taken the order on, and the thief was faster than the next one.
    async with world.database.transaction() as conn:
        [command_id] = await exposure.order_sweeps(conn, [(peer.channel, 1)])
        await conn.execute(
            "UPDATE commands SET state = 'running', progress = '{\"period\": 1}', lease_term = 1, attempts = 1"
        )
        channel = await channels.lock_one(conn, peer.channel)
        assert channel is not None
        await channels.save_transition(conn, replace(channel, period_closed_by_me=1))
    peer.close(admits=0)
    peer.trigger({"fraud_proof": 1, "period": 1, "sentByPeer": peer.package(1)})
    async with world.running():
        await eventually(lambda: recorded(world), "the robbery")
        done = await world.until_done(command_id)
    assert done.state is CommandState.FAILED
    assert (done.error or "").startswith("robbed: the peer closed period 1 first")


async def test_an_order_to_close_that_seemed_done_is_corrected_by_the_robbery(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 25_000)
        world.devnet.pause()
        confession = peer.package(1)
        async with world.database.transaction() as conn:
            [command_id] = await exposure.order_sweeps(conn, [(peer.channel, 1)])
            await conn.execute(
                "UPDATE commands SET state = 'succeeded', progress = '{\"period\": 1}', finished_at = now()"
                " WHERE id = $1",
                command_id,
            )
        peer.close(admits=0)
        peer.trigger({"fraud_proof": 1, "period": 1, "sentByPeer": confession})
        world.devnet.resume()
        await eventually(lambda: recorded(world), "the robbery")
        done = await sweep(world, peer)
    assert done.state is CommandState.FAILED
    assert (done.error or "").startswith("robbed: the peer closed period 1 first")
    assert "25000 of it ours" in (done.error or "")


async def test_payments_and_a_robbery_at_the_same_moment_wait_for_each_other(world: World) -> None:
    """Fronts lock channels by address, so the worker does, too: no deadlock, and nothing credited after the record."""
    async with world.running():
        thief = await world.peer()
        others = [replace(thief, salt=f"s{number}", spent=0, last_package={}) for number in range(4)]
        for other in others:
            await world.add_channel(other)
        for peer in (thief, *others):
            await world.open(peer)
        await eventually(world.is_awake, "a heartbeat")

        async def pay_on(peer: Peer) -> str:
            while isinstance(outcome := await offer(world, peer, 1), Receipt):
                pass
            return outcome.code

        paying = [asyncio.create_task(pay_on(other)) for other in others]
        await rob(world, thief)
        async with asyncio.timeout(20):
            assert set(await asyncio.gather(*paying)) == {"peer_blocked"}
