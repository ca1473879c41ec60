"""Deposits and closings of the peer that are on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.channels.model import Status
from shared.obyte.agents import CHANNELS_BASE_AA, channel_definition
from shared.obyte.composing import Output, definition_message
from tests.integration.worker.support import hide_unit

if TYPE_CHECKING:
    from tests.integration.worker.support import World


@pytest.fixture(autouse=True)
def _paused(world: World) -> None:
    """Units stay unstable until a test lets the ledger settle."""
    world.devnet.pause()


async def test_a_deposit_on_its_way_is_seen_with_its_definition_and_leaves_when_it_counts(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        unit = peer.deposit(80_000, publish=True)
        [seen] = await world.until_units(peer, bool)
        assert (seen.unit, seen.amount, seen.publishes_definition, seen.closes) == (unit, 80_000, True, False)
        assert (await world.channel(peer)).status is Status.CLOSED

        await world.devnet.stabilise()
        channel = await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        assert channel.deposited_by_peer == 80_000
        assert await world.units_of_peer(peer) == ()


async def test_small_change_with_data_or_from_strangers_is_no_deposit(world: World) -> None:
    async with world.running():
        peer, stranger = await world.peer(1), await world.peer(2)
        peer.deposit(20_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        stranger.post([Output(peer.channel, 90_000)])
        peer.post([Output(peer.channel, 9_999)])
        peer.trigger({"note": "hello"}, amount=90_000)
        counted = peer.deposit(30_000)
        [seen] = await world.until_units(peer, bool)
        assert (seen.unit, seen.amount) == (counted, 30_000)


async def test_a_deposit_that_the_agent_will_return_because_another_one_answers_first_counts_for_nothing(
    world: World,
) -> None:
    async with world.running():
        peer = await world.peer()
        definition = channel_definition(world.own.address, peer.address, peer.asset, peer.timeout_s, peer.salt)
        outputs = [Output(peer.channel, 80_000), Output(CHANNELS_BASE_AA["1.1"], 10_000)]
        peer.post(outputs, [definition_message(peer.channel, definition)])
        [seen] = await world.until_units(peer, bool)
        assert (seen.amount, seen.publishes_definition) == (0, True)
        await world.devnet.stabilise()
        peer.deposit(20_000)
        await world.devnet.stabilise()
        channel = await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        assert channel.deposited_by_peer == 20_000  # the first one was returned


async def test_a_deposit_that_conflicts_is_marked_bad_until_the_ledger_has_decided(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        before = peer.prospect()
        deposit = peer.deposit(60_000, publish=True)
        await world.until_units(peer, bool)
        peer.post([Output(peer.address, 40_000)], instead_of=before)
        [seen] = await world.until_units(peer, lambda units: any(unit.is_bad for unit in units))
        assert seen.amount == 60_000
        await world.devnet.stabilise()
        await world.until_units(peer, lambda units: not units)
        has_won = world.devnet.ledger.state.dag.records[deposit].sequence == "good"
        assert (await world.channel(peer)).deposited_by_peer == (60_000 if has_won else 0)


async def test_first_seen_times_are_our_own_and_stay(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        peer.deposit(80_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        peer.deposit(20_000)
        [first] = await world.until_units(peer, bool)
        peer.deposit(30_000)
        both = await world.until_units(peer, lambda units: len(units) == 2)
        assert both[0] == first
        assert both[1].first_seen_s > first.first_seen_s


async def test_b13_a_unit_that_cannot_be_read_yet_is_not_taken_for_one_without_data(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        peer.deposit(80_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        for _ in range(5):
            world.devnet.faults.delay_answer("light/get_history", 0.3)
        unit = peer.close(admits=0)
        [seen] = await world.until_units(peer, bool)
        assert (seen.unit, seen.amount, seen.closes) == (unit, 0, True)


async def test_b13_a_unit_whose_author_cannot_be_checked_counts_for_nothing(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        peer.deposit(80_000, publish=True)
        await world.devnet.stabilise()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
    # A new worker has to ask for the definition of the peer's address, which his second unit does not carry.
    world.devnet.faults.lose_answer("light/get_definition")
    async with world.running():
        peer.deposit(20_000)
        [seen] = await world.until_units(peer, bool)
        assert seen.amount == 20_000


async def test_a_unit_that_the_hub_no_longer_knows_is_forgotten_until_it_is_seen_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running():
        peer = await world.peer()
        unit = peer.deposit(80_000, publish=True)
        [first] = await world.until_units(peer, bool)
        hide_unit(monkeypatch, unit)
        await world.until_units(peer, lambda units: not units)
        monkeypatch.undo()
        [again] = await world.until_units(peer, bool)
    assert again.unit == first.unit
    assert again.first_seen_s > first.first_seen_s
