"""Deposits that the worker makes: recorded with their units, and settled by what the ledger says, to the last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import worker.depositing
from shared.channels.exposure import ExposureRules
from shared.channels.model import ExposureLimits, Status
from shared.obyte.composing import Output
from shared.store import deposits, events
from shared.store.deposits import DepositState
from shared.store.events import EventKind
from tests.integration.worker.support import eventually, hide_unit

if TYPE_CHECKING:
    import pytest

    from tests.integration.worker.support import Peer, World


async def states(world: World, peer: Peer) -> list[tuple[int, DepositState]]:
    async with world.database.connection() as conn:
        return [(deposit.amount, deposit.state) for deposit in await deposits.of(conn, peer.channel)]


async def until_states(world: World, peer: Peer, *wanted: tuple[int, DepositState]) -> None:
    async def look() -> bool:
        return await states(world, peer) == list(wanted)

    await eventually(look, f"deposits {wanted}")


async def test_a_deposit_is_on_record_with_its_unit_and_confirmed_by_the_agent(world: World) -> None:
    world.devnet.pause()
    async with world.running():
        peer = await world.peer()
        peer.deposit(100_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        command = await world.done("deposit", peer.channel, amount=50_000)
        assert command.error is None
        assert await states(world, peer) == [(50_000, DepositState.PENDING)]
        [entry] = await world.journal(peer)
        assert (entry.unit, entry.reference) == (command.result["unit"], f"command-{command.id}")
        await world.devnet.stabilise()
        channel = await world.until(peer, lambda channel: channel.deposited_by_me > 0, "with our deposit")
    assert channel.deposited_by_me == 50_000
    assert await states(world, peer) == [(50_000, DepositState.CONFIRMED)]


async def test_a_deposit_in_an_asset_brings_the_agents_bytes(world: World) -> None:
    asset = world.devnet.ledger.treasury.issue()
    world.fund(world.own, 500, asset)
    async with world.running():
        peer = await world.peer(asset=asset)
        world.fund(peer, 1_000, asset)
        peer.deposit(1_000, publish=True)
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        command = await world.done("deposit", peer.channel, amount=200)
        channel = await world.until(peer, lambda channel: channel.deposited_by_me > 0, "with our deposit")
    assert (command.error, channel.deposited_by_me) == (None, 200)


async def test_a_deposit_that_cannot_be_made_fails_and_sends_nothing(world: World) -> None:
    amounts: list[tuple[Any, str]] = [
        (10_000, "invalid_amount"),
        (0, "bad_command"),
        ("20000", "bad_command"),
        (100_000_000, "not_enough_funds"),
    ]
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        for amount, code in amounts:
            command = await world.done("deposit", peer.channel, amount=amount)
            assert (command.error or "").split(":")[0] == code
    assert await world.journal(peer) == []
    assert await states(world, peer) == []


async def test_a_channel_takes_no_deposit_before_its_agent_is_confirmed_and_after_its_closing(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        too_early = await world.done("deposit", peer.channel, amount=50_000)
        await world.open(peer)
        await world.done("sweep", peer.channel)
        too_late = await world.done("deposit", peer.channel, amount=50_000)
    assert {(command.error or "").split(":")[0] for command in (too_early, too_late)} == {"not_depositable"}


async def test_our_money_in_a_channel_that_can_be_robbed_is_limited(world: World) -> None:
    limits = ExposureLimits(max_by_channel=10**9, sweep_above=10**9, max_own_deposit=60_000, max_total=10**9)
    world.exposure = ExposureRules({"base": limits})
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        first = await world.done("deposit", peer.channel, amount=40_000)
        second = await world.done("deposit", peer.channel, amount=40_000)
    assert first.error is None
    assert (second.error or "").startswith("exposure_limit: ")
    assert len(await world.journal(peer)) == 1


async def test_b07_a_deposit_that_bounces_counts_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.depositing, "check_deposit", lambda *_, **__: None)
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.done("deposit", peer.channel, amount=10_000)  # the agent takes it for a message without a meaning
        await until_states(world, peer, (10_000, DepositState.BOUNCED))
    async with world.database.connection() as conn:
        assert await deposits.pending_amount(conn, peer.channel) == 0


async def test_b07_a_deposit_that_comes_after_a_closing_is_sent_back_and_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        world.devnet.pause()
        closing = peer.close(admits=0)
        hide_unit(monkeypatch, closing)
        command = await world.done("deposit", peer.channel, amount=70_000)
        assert command.error is None
        monkeypatch.undo()
        await world.devnet.stabilise()
        await until_states(world, peer, (70_000, DepositState.REFUSED))
        world.devnet.resume()
    async with world.database.connection() as conn:
        told = await events.page(conn, after=0, until=2**62)
    refused = [event for event in told if event.kind == EventKind.REFUSED_DEPOSIT]
    assert [event.data["trigger_unit"] for event in refused] == [command.result["unit"]]


async def test_b07_a_deposit_that_the_hub_refuses_is_made_again_and_counted_once(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        world.devnet.faults.refuse("post_joint", "some rule")
        command = await world.done("deposit", peer.channel, amount=50_000)
        channel = await world.until(peer, lambda channel: channel.deposited_by_me > 0, "with our deposit")
        await until_states(world, peer, (50_000, DepositState.BOUNCED), (50_000, DepositState.CONFIRMED))
    assert (command.error, channel.deposited_by_me) == (None, 50_000)


async def test_a_deposit_without_money_does_not_wait_for_any(world: World, expected_errors: set[str]) -> None:
    expected_errors.add("wallet_low")
    treasury = world.devnet.ledger.treasury
    world.own.post([Output(treasury.address, world.own.balance() - 20_000)])
    await world.devnet.stabilise()
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        command = await world.done("deposit", peer.channel, amount=50_000)
        assert (command.error or "").split(":")[0] in {"not_enough_funds", "reserve_needed"}
        world.fund(world.own)

        async def is_made() -> bool:
            return (await world.done("deposit", peer.channel, amount=50_000)).error is None

        await eventually(is_made, "a deposit once the wallet has heard of the money")
        await world.until(peer, lambda channel: channel.deposited_by_me == 50_000, "with the deposit")
