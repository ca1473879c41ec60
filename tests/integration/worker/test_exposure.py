"""What peers could steal through agent 1.1 is kept small: channels are closed in time, payments stop at the limits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.channels.exposure import ExposureRules, at_risk
from shared.channels.model import ExposureLimits, Status
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt, Refusal
from shared.receiving.verification import verify_payment_package
from shared.store import alarms, assets, channels, commands
from shared.store.alarms import AlarmKind
from shared.store.commands import CommandState
from tests.integration.worker.support import eventually
from tests.receiving_support import ROOMY

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from shared.store.commands import Command
    from tests.integration.worker.support import Peer, World

LIMITS = ExposureLimits(max_by_channel=100_000, sweep_above=50_000, max_own_deposit=20_000, max_total=1_000_000)


@pytest.fixture(autouse=True)
def _limits(world: World) -> None:
    world.exposure = ExposureRules({"base": LIMITS})


async def offer(world: World, peer: Peer, amount: int, rules: ExposureRules | None = None) -> Receipt | Refusal:
    """Let the peer pay, whatever is said to it; a refused package is forgotten by him."""
    await eventually(world.is_awake, "a heartbeat")
    acceptor = Acceptor(world.database, AcceptanceRules({}, rules or world.exposure, 60), world.bus)
    try:
        outcome = await acceptor.submit(verify_payment_package(peer.package(amount), DEVNET))
    finally:
        await acceptor.close()
    if isinstance(outcome, Refusal):
        peer.spent -= amount
    return outcome


async def sweeps(world: World, peer: Peer) -> list[tuple[str, CommandState]]:
    async with world.database.connection() as conn:
        rows = await conn.fetch(
            "SELECT idempotency_key, state FROM commands WHERE kind = 'sweep' AND aa_address = $1 ORDER BY id",
            peer.channel,
        )
    return [(row["idempotency_key"], CommandState(row["state"])) for row in rows]


async def until_recorded(world: World, *, at_risk: int, is_stopped: bool = False) -> None:
    async def look() -> bool:
        async with world.database.connection() as conn:
            found = (await assets.exposures(conn, ["base"]))["base"]
        return (found.at_risk, found.is_stopped) == (at_risk, is_stopped)

    await eventually(look, f"{at_risk} at risk, stopped: {is_stopped}")


async def standing(world: World) -> set[AlarmKind]:
    async with world.database.connection() as conn:
        return {alarm.kind for alarm in await alarms.active(conn)}


async def set_state(world: World, peer: Peer, **state: int) -> None:
    async with world.database.transaction() as conn:
        channel = await channels.lock_one(conn, peer.channel)
        assert channel is not None
        await channels.save_transition(conn, replace(channel, **state))


async def deposit(world: World, peer: Peer, amount: int) -> Command:
    """Order a deposit of ours and return what became of the order."""
    async with world.database.transaction() as conn:
        params, key = {"amount": amount}, f"deposit {amount}"
        command = await commands.insert(conn, "deposit", params, idempotency_key=key, aa_address=peer.channel)
    return await world.until_done(command.id)


def is_closing(channel: Channel) -> bool:
    return channel.status is Status.CLOSING_BY_ME


async def test_a_channel_is_closed_when_enough_was_earned_in_it_and_goes_on_in_the_next_period(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 40_000)
        await until_recorded(world, at_risk=40_000)
        assert await sweeps(world, peer) == []
        await world.pay(peer, 10_000)
        await world.until(peer, is_closing, "closing")
        await until_recorded(world, at_risk=0)
        world.devnet.skip_time(peer.timeout_s)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
        peer.deposit(60_000)
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open again")
        peer.spent = 0
        package = peer.package(1_000, period=2)
        acceptor = Acceptor(world.database, AcceptanceRules({}, world.exposure, 60), world.bus)
        assert isinstance(await acceptor.submit(verify_payment_package(package, DEVNET)), Receipt)
        await acceptor.close()
    assert await sweeps(world, peer) == [(f"sweep:{peer.channel}:1", CommandState.SUCCEEDED)]
    assert len(world.triggers(peer, "close")) == 1


async def test_a_payment_beyond_the_limit_of_its_channel_is_refused_with_advice(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 45_000)
        refused = await offer(world, peer, 60_000)
        assert isinstance(refused, Refusal)
        assert refused.code == "exposure_limit"
        assert "pay at most 55000" in refused.text
        assert isinstance(await offer(world, peer, 55_000), Receipt)
        await world.until(peer, is_closing, "closing")


async def test_what_no_front_has_noticed_is_found_by_measuring(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        assert isinstance(await offer(world, peer, 80_000, ROOMY), Receipt)
        await world.until(peer, is_closing, "closing")
    assert len(world.triggers(peer, "close")) == 1


async def test_a_period_is_closed_once_whoever_asks_for_it(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 60_000)
        await world.until_done(await world.order_close(peer))
        await world.until(peer, is_closing, "closing")

        async def are_done() -> bool:
            return all(state not in {"queued", "running"} for _, state in await sweeps(world, peer))

        await eventually(are_done, "the end of the sweeps")
    assert len(world.triggers(peer, "close")) == 1


async def test_a_deposit_of_ours_alone_is_no_reason_to_close(world: World) -> None:
    world.exposure = ExposureRules({"base": replace(LIMITS, sweep_above=15_000)})
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        assert (await deposit(world, peer, 20_000)).error is None
        await world.until(peer, lambda channel: channel.deposited_by_me == 20_000, "with our deposit")
        await world.pay(peer, 14_999)
        await until_recorded(world, at_risk=34_999)
        await until_recorded(world, at_risk=34_999)
        assert await sweeps(world, peer) == []


async def test_our_own_deposit_beyond_its_limit_is_refused(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        refused = await deposit(world, peer, 20_001)
        assert refused.error is not None
        assert refused.error.startswith("exposure_limit: ")
        assert await world.journal(peer) == []


async def test_a_channel_is_left_alone_while_its_peer_closes_it_or_our_books_are_old(world: World) -> None:
    world.devnet.pause()
    async with world.running():
        closing, unsure = await world.peer(1), await world.peer(2)
        for peer in (closing, unsure):
            peer.deposit(1_000_000, publish=True)
        await world.devnet.stabilise()
        for peer in (closing, unsure):
            await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
            # Below what fronts act on; the limits are lowered afterwards by what the rows say.
            await world.pay(peer, 49_999)
        closing.close(admits=0)
        await world.until_units(closing, lambda units: any(unit.closes for unit in units))
        await set_state(world, unsure, unsure_period=1)
        async with world.database.transaction() as conn:
            await conn.execute("UPDATE channels SET spent_by_peer = 80000")
        await until_recorded(world, at_risk=160_000)
        await until_recorded(world, at_risk=160_000)
        assert await sweeps(world, closing) == await sweeps(world, unsure) == []


async def test_the_greatest_channels_are_closed_while_the_total_is_near_its_limit(world: World) -> None:
    world.fund(world.own, 10_000_000)
    world.exposure = ExposureRules({"base": replace(LIMITS, max_total=100_000)})
    async with world.running():
        peers = [await world.peer(number) for number in range(1, 5)]
        for peer in peers:
            await world.open(peer)
        # All at once: nothing is foretold from a growth that was no growth.
        async with world.database.transaction() as conn:
            for peer, amount in zip(peers, (19_000, 20_000, 21_000, 22_000), strict=True):
                channel = await channels.lock_one(conn, peer.channel)
                assert channel is not None
                paid = replace(channel, spent_by_peer=amount, claim=json.dumps(peer.package(amount)))
                await channels.save_transition(conn, paid)
        # 82 000 of 100 000: without the greatest one 60 000 are left, which is 3/5.
        await world.until(peers[3], is_closing, "closing")
        await until_recorded(world, at_risk=60_000)
        assert AlarmKind.EXPOSURE_NEAR_LIMIT in await standing(world)
        assert [await sweeps(world, peer) for peer in peers[:3]] == [[], [], []]


async def test_at_the_limit_of_an_asset_every_front_refuses_until_enough_is_settled(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors.add("exposure_limit")
    world.fund(world.own, 10_000_000)
    world.exposure = ExposureRules({"base": replace(LIMITS, max_total=100_000)})
    world.devnet.pause()
    async with world.running():
        peers = [await world.peer(number) for number in range(1, 4)]
        for peer in peers:
            peer.deposit(1_000_000, publish=True)
        await world.devnet.stabilise()
        for peer in peers:
            await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
            await world.pay(peer, 40_000)
        await until_recorded(world, at_risk=120_000, is_stopped=True)
        refused = await offer(world, peers[0], 1)
        assert isinstance(refused, Refusal)
        assert refused.code in {"exposure_limit", "period_closed_by_me"}
        stranger = await world.peer(4)
        stranger.deposit(1_000_000, publish=True)
        world.devnet.resume()
        await world.until(stranger, lambda channel: channel.status is Status.OPEN, "open")
        await eventually(lambda: settled(world, peers), "two channels closed")

        async def is_taken() -> bool:
            return isinstance(await offer(world, stranger, 1), Receipt)

        async def is_calm() -> bool:
            return AlarmKind.EXPOSURE_LIMIT not in await standing(world)

        await eventually(is_taken, "payments again")
        await eventually(is_calm, "the end of the alarm")


async def settled(world: World, peers: list[Peer]) -> bool:
    return sum([is_closing(await world.channel(peer)) for peer in peers]) >= 2


async def test_a_thief_who_proves_himself_a_fraud_takes_no_more_than_the_limit(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors |= {"channel_robbed", "robbed"}
    world.devnet.pause()
    async with world.running():
        peer = await world.peer()
        peer.deposit(1_000_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        goods = 0
        while isinstance(await offer(world, peer, 7_000), Receipt):
            goods += 7_000
        channel = await world.channel(peer)
        assert goods == at_risk(channel) <= LIMITS.max_by_channel
        # Both units at once: the agent answers them one after the other, and nobody can come between.
        before = peer.balance()
        confession = peer.package(1)
        peer.close(admits=0)
        peer.trigger({"fraud_proof": 1, "period": 1, "sentByPeer": confession})
        world.devnet.resume()
        await world.until(peer, lambda channel: (channel.period, channel.status) == (1, Status.CLOSED), "closed")
        robbed = await world.channel(peer)
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1
    assert robbed.claim is None
    assert peer.balance() > before + 1_000_000 - 2 * MIN_AGENT_BYTES - 10_000
    assert goods <= LIMITS.max_by_channel


async def test_a_sweep_that_failed_is_ordered_again_after_a_pause(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        async with world.database.transaction() as conn:
            failed = await commands.insert(
                conn, "sweep", {"period": 1}, idempotency_key=f"sweep:{peer.channel}:1", aa_address=peer.channel
            )
            await conn.execute(
                "UPDATE commands SET state = 'failed', error = 'x', finished_at = now() WHERE id = $1", failed.id
            )
        await world.pay(peer, 60_000)
        await world.until(peer, is_closing, "closing")
    assert [key for key, _ in await sweeps(world, peer)] == [
        f"sweep:{peer.channel}:1",
        f"sweep:{peer.channel}:1:1",
    ]
