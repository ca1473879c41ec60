from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.model import Status
from shared.store import commands
from shared.store.commands import CommandState
from worker.commands.closing import SweepKind
from worker.commands.depositing import DepositKind

if TYPE_CHECKING:
    import pytest

    from tests.integration.worker.support import World


async def test_an_unknown_command_fails_with_its_name(world: World) -> None:
    async with world.running():
        async with world.database.transaction() as conn:
            queued = await commands.insert(conn, "dance", {}, idempotency_key="1")
        command = await world.until_done(queued.id)
    assert command.state is CommandState.FAILED
    assert command.error == "unknown_command: this worker knows no command 'dance'"


async def test_a_close_without_a_channel_fails(world: World) -> None:
    async with world.running():
        async with world.database.transaction() as conn:
            queued = await commands.insert(conn, "close", {}, idempotency_key="1")
        command = await world.until_done(queued.id)
    assert command.error == "bad_command: close needs aa_address"


async def test_a_channel_that_is_not_open_cannot_be_closed(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        command = await world.until_done(await world.order_close(peer))
    assert command.error is not None
    assert command.error.startswith("not_closable: ")


async def test_a_second_order_to_close_fails_and_sends_nothing(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 10)
        first = await world.until_done(await world.order_close(peer, "1"))
        second = await world.until_done(await world.order_close(peer, "2"))
        assert first.error is None
        assert second.error is not None
        assert second.error.startswith("not_closable: ")
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    assert len(world.triggers(peer, "close")) == 1


async def test_a_peer_who_was_first_makes_the_order_fail_and_is_answered(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 10)
        for _ in range(3):
            world.devnet.faults.refuse("post_joint", "some rule")
        peer.close(admits=10)
        command = await world.until_done(await world.order_close(peer))
        await world.until(peer, lambda channel: channel.period == 1 and channel.status is Status.CLOSED, "closed")
    assert command.error is not None
    assert command.error.split(":")[0] in {"not_closable", "peer_was_first", "not_closed"}
    assert len(world.triggers(peer, "confirm")) == 1


async def test_a_unit_that_the_hub_denies_and_keeps_is_not_made_twice(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        world.devnet.faults.deny("post_joint", "unknown parents")
        command = await world.until_done(await world.order_close(peer))
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    assert command.error is None
    assert [entry.unit for entry in await world.journal(peer)] == [command.result["unit"]]


async def test_many_channels_are_closed_one_unit_after_the_other(world: World) -> None:
    world.fund(world.own, 50_000_000)
    async with world.running():
        peers = [await world.peer(number) for number in range(1, 9)]
        for peer in peers:
            await world.open(peer)
        for peer in peers:
            await world.pay(peer, 100)
        ordered = [await world.order_close(peer, peer.channel) for peer in peers]
        done = [await world.until_done(command_id) for command_id in ordered]
        assert [command.error for command in done] == [None] * len(peers)
        for peer in peers:
            await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peers[0].timeout_s)
        for peer in peers:
            await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
    for peer in peers:
        assert len(world.triggers(peer, "close")) == len(world.triggers(peer, "confirm")) == 1


async def test_a_period_that_the_peer_closes_empty_is_ended_and_the_next_one_works(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        peer.close(admits=0)
        await world.until(peer, lambda channel: (channel.period, channel.status) == (1, Status.CLOSED), "closed")
        peer.close(admits=0, period=2)  # nobody has deposited anything in period 2
        await world.until(peer, lambda channel: (channel.period, channel.status) == (2, Status.CLOSED), "closed again")
        peer.deposit(60_000)
        channel = await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
    assert (channel.period, channel.deposited_by_peer) == (3, 60_000)


async def test_an_order_that_breaks_something_fails_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, expected_errors: set[str]
) -> None:
    async def stumble(*_: object) -> None:
        raise KeyError("nobody has thought of this")

    expected_errors.add("command_broken")
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        monkeypatch.setattr(SweepKind, "start", stumble)
        early = await world.done("sweep", peer.channel)
        monkeypatch.setattr(DepositKind, "follow", stumble)
        late = await world.done("deposit", peer.channel, amount=50_000)
        closing = await world.done("close", peer.channel)
    assert early.error == late.error == "unexpected: the worker's log tells what went wrong"
    assert closing.error is None


async def test_a_period_that_was_meant_is_the_only_one_that_is_closed(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        other = await world.done("sweep", peer.channel, period=2)
        this = await world.done("sweep", peer.channel, period=1)
    assert (other.error or "").startswith("wrong_period: ")
    assert this.error is None
