"""Deposits, openings and payments are cut off at one point, and another worker goes on: each happens once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.store import commands, deposits, journal, lease, sent_payments
from tests.integration.payer.support import Receiver, listening
from tests.integration.worker.support import BOUND_S, Crash
from worker.peers.http import HttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from shared.store.commands import Command
    from tests.integration.worker.support import World

pytestmark = pytest.mark.chaos

TTL_S = 0.5

# Between any two of these lies one write, one request, or one answer.
UNIT_POINTS = {
    "before the command begins": (commands, "save_progress", None),
    "after it has begun": (commands, "save_progress", commands.save_progress),
    "before the journal": (journal, "compose", None),
    "after the journal, before posting": (HubClient, "post_joint", None),
    "after posting, before the hub's answer": (HubClient, "post_joint", HubClient.post_joint),
    "after the answer, before it is noted": (journal, "posted", None),
    "before the command ends": (commands, "finish", None),
}
ASKING_POINTS = {
    "before the peer is asked": (HttpTransport, "request", None),
    "after the peer has agreed": (HttpTransport, "request", HttpTransport.request),
}
PAYING_POINTS = {
    "before the package is on record": (sent_payments, "add", None),
    "after it was written, before the commit": (sent_payments, "add", sent_payments.add),
    "before the answer is on record": (sent_payments, "settle", None),
    "before the command ends": (commands, "finish", None),
}


ALWAYS = {"after the journal, before posting", "after the peer has agreed", "before the answer is on record"}
"""Points that the ordinary run looks at, too; `make chaos` looks at all of them."""


def points(*of: dict[str, Any]) -> list[Any]:
    names = [name for points in of for name in points]
    return [pytest.param(name, marks=() if name in ALWAYS else (pytest.mark.slow,)) for name in names]


async def _release_nothing(*_: Any) -> bool:
    return False


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver(KeyPair(bytes([42]) * 32))) as receiver:
        yield receiver


async def cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch, point: tuple[Any, str, Any], order: Callable[[], Awaitable[int]]
) -> Command:
    """Order something, kill the worker at the point, let another one go on, and return the command when it is over."""
    place, name, after = point
    crash = Crash(after)
    monkeypatch.setattr(place, name, crash)
    monkeypatch.setattr(lease, "release", _release_nothing)
    killed = asyncio.create_task(world.runtime(ttl_s=TTL_S).run())
    command_id = await order()
    await asyncio.wait_for(crash.reached.wait(), BOUND_S)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    monkeypatch.undo()
    async with world.running(ttl_s=TTL_S):
        return await world.until_done(command_id)


@pytest.mark.parametrize("point", points(UNIT_POINTS))
async def test_b08_a_deposit_cut_off_anywhere_is_made_once(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    peer = await world.peer()
    async with world.running(ttl_s=TTL_S):
        await world.open(peer)
    command = await cut_off(
        world, monkeypatch, UNIT_POINTS[point], lambda: world.order("deposit", peer.channel, amount=50_000)
    )
    async with world.running(ttl_s=TTL_S):
        channel = await world.until(peer, lambda channel: channel.deposited_by_me > 0, "with our deposit")
        await world.done("publish_agent", version="0.9")
    assert (command.error, channel.deposited_by_me) == (None, 50_000)
    assert (await world.channel(peer)).deposited_by_me == 50_000
    async with world.database.connection() as conn:
        assert [deposit.unit for deposit in await deposits.of(conn, peer.channel)] == [command.result["unit"]]


@pytest.mark.parametrize("point", points(UNIT_POINTS, ASKING_POINTS))
async def test_b08_an_opening_cut_off_anywhere_makes_one_channel_with_one_deposit(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    command = await cut_off(
        world,
        monkeypatch,
        {**UNIT_POINTS, **ASKING_POINTS}[point],
        lambda: world.order("open", peer=receiver.url, initial_amount=300_000),
    )
    assert command.error is None
    async with world.database.connection() as conn:
        [made] = await deposits.of(conn, command.result["aa_address"])
        rows = await conn.fetch("SELECT aa_address FROM channels")
    assert (made.unit, made.amount) == (command.result["unit"], 300_000)
    assert [row["aa_address"] for row in rows] == [command.result["aa_address"]]
    assert len({json.loads(body)["params"]["salt"] for body in receiver.bodies}) == 1
    paid = [
        output
        for record in world.devnet.ledger.state.dag.records.values()
        for message in record.unit["messages"]
        if message["app"] == "payment"
        for output in message["payload"]["outputs"]
        if output["address"] == made.aa_address and record.unit["authors"][0]["address"] == world.own.address
    ]
    assert [output["amount"] for output in paid] == [300_000]


@pytest.mark.parametrize("point", points(PAYING_POINTS, ASKING_POINTS))
async def test_b05_a_payment_cut_off_anywhere_is_signed_once_and_credited_once(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    async with world.running(ttl_s=TTL_S):
        opened = await world.done("open", peer=receiver.url, initial_amount=300_000)
    aa_address = opened.result["aa_address"]
    command = await cut_off(
        world,
        monkeypatch,
        {**PAYING_POINTS, **ASKING_POINTS}[point],
        lambda: world.order("pay", aa_address, amount=700),
    )
    assert (command.error, command.result["amount_spent"]) == (None, 700)
    assert receiver.total == 700
    assert len({json.dumps(package, sort_keys=True) for package in receiver.packages}) == 1
    async with world.database.connection() as conn:
        [payment] = await sent_payments.of_channel(conn, aa_address)
        spent = await conn.fetchval("SELECT spent_by_me FROM channels WHERE aa_address = $1", aa_address)
    assert (payment.command_id, spent) == (command.id, 700)


async def test_b08_a_withdrawal_cut_off_after_posting_is_paid_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    payee = world.devnet.ledger.treasury.address
    world.own.post([Output(world.own.address, 1_000)])
    await world.devnet.stabilise()
    before = world.own.balance()
    command = await cut_off(
        world,
        monkeypatch,
        UNIT_POINTS["after posting, before the hub's answer"],
        lambda: world.order("withdraw", address=payee, amount=40_000),
    )
    assert command.error is None
    assert before - world.own.balance() < 60_000
