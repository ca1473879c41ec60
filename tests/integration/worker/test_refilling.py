"""Auto refill on a ledger: one deposit for one need, none without money or when it is off."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import worker.depositing
import worker.refilling
from shared.channels.model import Status
from shared.store import deposits, refills
from shared.store.deposits import DepositState
from tests.integration.worker.support import eventually

if TYPE_CHECKING:
    import pytest

    from shared.store.deposits import Deposit
    from tests.integration.worker.support import Peer, World


async def made(world: World, peer: Peer) -> list[Deposit]:
    async with world.database.connection() as conn:
        return await deposits.of(conn, peer.channel)


async def refilled(world: World, peer: Peer, amount: int = 50_000, threshold: int = 20_000) -> None:
    command = await world.done("auto_refill", peer.channel, amount=amount, threshold=threshold)
    assert command.error is None


async def test_a_channel_is_refilled_once_while_the_deposit_is_on_its_way(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        world.devnet.pause()
        await refilled(world, peer)

        async def is_made() -> bool:
            return len(await made(world, peer)) == 1

        await eventually(is_made, "a refill")
        await world.done("auto_refill", peer.channel, amount=50_000, threshold=20_000)  # and some rounds later
        await world.done("publish_agent", version="0.9")
        assert len(await made(world, peer)) == 1
        world.devnet.resume()
        channel = await world.until(peer, lambda channel: channel.deposited_by_me > 0, "refilled")
        assert channel.deposited_by_me == 50_000
        await world.done("publish_agent", version="0.9")
        assert [deposit.amount for deposit in await made(world, peer)] == [50_000]
    events: list[Any] = [record.msg for record in caplog.records if "channel_refilled" in str(record.msg)]
    assert [(event["aa_address"], event["amount"]) for event in events] == [(peer.channel, 50_000)]


async def test_what_the_threshold_needs_is_reached_by_one_refill_after_the_other(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await refilled(world, peer, amount=20_000, threshold=50_000)
        await world.until(peer, lambda channel: channel.deposited_by_me >= 50_000, "refilled")
        await world.done("publish_agent", version="0.9")
    assert [deposit.amount for deposit in await made(world, peer)] == [20_000] * 3


async def test_a_sweep_keeps_auto_refill_which_opens_the_next_period_and_a_close_ends_it(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await refilled(world, peer)
        await world.until(peer, lambda channel: channel.deposited_by_me == 50_000, "refilled")
        await world.done("sweep", peer.channel)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peer.timeout_s)
        again = await world.until(
            peer, lambda channel: (channel.period, channel.deposited_by_me) == (2, 50_000), "open again"
        )
        assert again.status is Status.OPEN

        closing = await world.done("close", peer.channel)
        assert closing.error is None
        async with world.database.connection() as conn:
            assert await refills.of(conn, peer.channel) is None
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peer.timeout_s)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed for good")
        await world.done("publish_agent", version="0.9")
    assert len(await made(world, peer)) == 2


async def test_closing_a_closed_channel_only_switches_auto_refill_off(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await refilled(world, peer)  # waits for the channel's agent
        first = await world.done("close", peer.channel)
        second = await world.done("close", peer.channel)
    assert (first.error, first.result) == (None, {"unit": None, "auto_refill": "off"})
    assert (second.error or "").startswith("not_closable: ")


async def test_a_refill_that_bounces_is_settled_before_the_next_one_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.depositing, "check_deposit", lambda *_, **__: None)
    monkeypatch.setattr(worker.refilling, "refill_due", lambda *_, **__: 10_000)
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await refilled(world, peer)

        async def have_bounced() -> bool:
            states = [deposit.state for deposit in await made(world, peer)]
            assert states.count(DepositState.PENDING) <= 1
            return states.count(DepositState.BOUNCED) >= 2

        await eventually(have_bounced, "two refills that bounced")
        await world.done("auto_refill", peer.channel, off=True)


async def test_a_peer_who_has_robbed_the_channel_is_not_given_another_deposit(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors |= {"channel_robbed", "robbed"}
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await refilled(world, peer)
        await world.until(peer, lambda channel: channel.deposited_by_me == 50_000, "refilled")
        # Agent 1.1 lets the party that closes prove a fraud against itself, and gives it everything.
        peer.close(admits=0)
        peer.trigger({"fraud_proof": 1, "period": 1, "sentByPeer": peer.package(1)})
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "robbed")
        await world.done("publish_agent", version="0.9")  # some rounds later
    async with world.database.connection() as conn:
        assert await refills.of(conn, peer.channel) is None
    assert len(await made(world, peer)) == 1


async def test_terms_that_make_no_sense_are_refused(world: World) -> None:
    orders: list[dict[str, Any]] = [
        {"amount": 50_000},
        {"off": True, "amount": 1},
        {"amount": 10_000, "threshold": 1},
    ]
    async with world.running():
        peer = await world.peer()
        for terms in orders:
            command = await world.done("auto_refill", peer.channel, **terms)
            assert (command.error or "").split(":")[0] in {"bad_command", "invalid_amount"}
