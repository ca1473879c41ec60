"""The wallet is killed at every step of a unit's way, whatever it is for: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Status
from shared.obyte.agents import CHANNELS_BASE_AA, publication_message
from shared.obyte.coins import BASE
from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.store import deposits, journal, lease
from shared.store.deposits import DepositState
from shared.store.journal import UnitState
from tests.chaos.worker.test_crashes import POINTS, TTL_S, _release_nothing, is_closed
from tests.integration.worker.support import BOUND_S, Crash, Party, eventually
from tests.integration.worker.wallet_support import (
    always,
    journal_of,
    make_void,
    paid_to,
    until_resolved,
    wallet_of,
)
from worker.errors import PostingError
from worker.wallet import Purpose, UnitOrder, order_withdrawal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.store.database import Connection
    from shared.store.deposits import Deposit
    from tests.integration.worker.support import Peer, World
    from worker.runtime import Runtime
    from worker.wallet import Wallet

pytestmark = pytest.mark.chaos

PAYEE = KeyPair(bytes([50]) * 32).address


@dataclass(frozen=True)
class Errand:
    """Something to be done once, and how often it was done."""

    make: Callable[[], UnitOrder]
    done: Callable[[], list[Any]]


async def withdrawing(world: World, _peer: Peer) -> Errand:
    return Errand(
        lambda: order_withdrawal(PAYEE, 70_000, reference="command-1"),
        lambda: [unit for unit, _ in paid_to(world, PAYEE)],
    )


async def publishing(world: World, _peer: Peer) -> Errand:
    async def is_wanted(conn: Connection) -> bool:
        made = await journal.of_reference(conn, "command-1")
        return all(entry.state is UnitState.FAILED for entry in made)

    def published() -> list[str]:
        return [
            record.hash
            for record in world.devnet.ledger.state.dag.records.values()
            if record.sequence == "good"
            for message in record.unit.get("messages", [])
            if message["app"] == "definition" and message["payload"]["address"] == CHANNELS_BASE_AA["1.2"]
        ]

    order = UnitOrder(
        purpose=Purpose("publish_agent", reference="command-1"),
        payments=(),
        messages=(publication_message("1.2"),),
        is_wanted=is_wanted,
        max_aa_responses=None,
    )
    return Errand(lambda: order, published)


def deposit_order(peer: Peer, amount: int, **more: Any) -> UnitOrder:
    async def record(conn: Connection, unit: str) -> None:
        await deposits.add(conn, peer.channel, unit, amount)

    async def is_wanted(conn: Connection) -> bool:
        made = await journal.of_reference(conn, "command-1")
        return all(entry.state is UnitState.FAILED for entry in made)

    fields: dict[str, Any] = {
        "purpose": Purpose("deposit", peer.channel, 1, "command-1"),
        "payments": (Output(peer.channel, amount),),
        "messages": (),
        "is_wanted": is_wanted,
        "on_journaled": record,
        "policy": "all",
        **more,
    }
    return UnitOrder(**fields)


async def depositing(world: World, peer: Peer) -> Errand:
    return Errand(
        lambda: deposit_order(peer, 30_000),
        lambda: [unit for unit, amount in paid_to(world, peer.channel) if amount > 10_000],
    )


ERRANDS: dict[str, Callable[[World, Peer], Awaitable[Errand]]] = {
    "withdraw": withdrawing,
    "publish_agent": publishing,
    "deposit": depositing,
}


async def run_until_killed(world: World, runtime: Runtime, order: UnitOrder, crash: Crash) -> None:
    """Let a worker post the order and kill it, with all that it does, when it reaches the crash."""
    working = asyncio.create_task(runtime.run())
    wallet = await wallet_of(world, runtime)
    posting = asyncio.create_task(wallet.post(order))
    await asyncio.wait_for(crash.reached.wait(), BOUND_S)
    for task in (posting, working):
        task.cancel()
    await asyncio.gather(posting, working, return_exceptions=True)


async def post_until_done(wallet: Wallet, order: UnitOrder) -> None:
    """What whoever ordered a unit does after a crash: order it again until it is not wanted any more."""

    async def is_not_wanted() -> bool:
        try:
            return await wallet.post(order) is None
        except PostingError:
            return False

    await eventually(is_not_wanted, "the end of the order")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    "meaning", [pytest.param(name, marks=[pytest.mark.slow] * (name != "withdraw")) for name in ERRANDS]
)
async def test_b08_whatever_is_cut_off_anywhere_is_done_once(
    world: World, monkeypatch: pytest.MonkeyPatch, meaning: str, point: str
) -> None:
    peer = await world.peer()
    async with world.running(ttl_s=TTL_S):
        await world.open(peer)
    errand = await ERRANDS[meaning](world, peer)
    place, name, after = POINTS[point]
    crash = Crash(after)
    with monkeypatch.context() as killing:
        killing.setattr(place, name, crash)
        killing.setattr(lease, "release", _release_nothing)
        await run_until_killed(world, world.runtime(ttl_s=TTL_S), errand.make(), crash)
    before = await journal_of(world)

    async with world.running(ttl_s=TTL_S) as runtime:
        wallet = await wallet_of(world, runtime)
        await post_until_done(wallet, errand.make())
        [unit] = errand.done()
        entry = await until_resolved(world, unit)
        if meaning == "deposit":
            await world.until(peer, lambda channel: channel.deposited_by_me == 30_000, "with our deposit")
    assert entry.state is UnitState.STABLE
    # What was journaled before the crash is what went out after it.
    assert [entry.unit for entry in before] in ([], [unit])
    assert len(errand.done()) == 1


async def test_b08_gathering_coins_is_cut_off_without_harm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    donor = Party(world.devnet, KeyPair(bytes([78]) * 32))
    world.fund(donor, 50_000_000)
    for _ in range(2):
        donor.post([Output(world.own.address, 50_000)] * 90)
        world.devnet.ledger.settle()
    before = world.own.balance()
    crash = Crash(HubClient.post_joint)
    with monkeypatch.context() as killing:
        killing.setattr(HubClient, "post_joint", crash)
        killing.setattr(lease, "release", _release_nothing)
        working = asyncio.create_task((runtime := world.runtime(ttl_s=TTL_S)).run())
        wallet = await wallet_of(world, runtime)
        tidying = asyncio.create_task(wallet.tidy())
        await asyncio.wait_for(crash.reached.wait(), BOUND_S)
        for task in (tidying, working):
            task.cancel()
        await asyncio.gather(tidying, working, return_exceptions=True)
    async with world.running(ttl_s=TTL_S) as runtime:
        wallet = await wallet_of(world, runtime)
        [entry] = await journal_of(world)
        await until_resolved(world, entry.unit)
        await wallet.tidy()
        assert len(await journal_of(world)) == 1
        assert len(wallet.coins.coins(BASE)) == 82
        assert before - wallet.coins.balance().total < 12_000


# --------------------------------------------------------------------------------- what bounces and what becomes void


async def deposits_of(world: World, peer: Peer) -> list[Deposit]:
    async with world.database.connection() as conn:
        return await deposits.of(conn, peer.channel)


async def test_b07_a_deposit_that_becomes_void_counts_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        wallet = await wallet_of(world, runtime)
        lost = make_void(world, monkeypatch, lambda _: True)
        order = deposit_order(peer, 30_000)
        assert await wallet.post(order) == lost[0]
        assert (await until_resolved(world, lost[0])).state is UnitState.FAILED
        assert [deposit.state for deposit in await deposits_of(world, peer)] == [DepositState.BOUNCED]
        unit = await wallet.post(order)
        await world.until(peer, lambda channel: channel.deposited_by_me == 30_000, "with our deposit")
        await until_resolved(world, unit)
    states = {deposit.unit: deposit.state for deposit in await deposits_of(world, peer)}
    assert states == {lost[0]: DepositState.BOUNCED, unit: DepositState.CONFIRMED}


async def test_b07_a_deposit_that_the_hub_refuses_counts_no_more(world: World) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        wallet = await wallet_of(world, runtime)
        world.devnet.faults.refuse("post_joint", "some rule")
        with pytest.raises(PostingError):
            await wallet.post(deposit_order(peer, 30_000))
        assert [deposit.state for deposit in await deposits_of(world, peer)] == [DepositState.BOUNCED]


async def test_b07_a_deposit_that_bounces_counts_no_more(world: World) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        wallet = await wallet_of(world, runtime)
        # Less than the agent's bounce fee is kept and answered with nothing but a bounce.
        unit = await wallet.post(deposit_order(peer, 9_999))
        entry = await until_resolved(world, unit)
        assert entry.state is UnitState.FAILED
        assert [deposit.state for deposit in await deposits_of(world, peer)] == [DepositState.BOUNCED]
        assert (await world.channel(peer)).deposited_by_me == 0


@pytest.mark.parametrize("meaning", ["close", "confirm", "fraud_proof"])
async def test_b07_a_trigger_that_becomes_void_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch, meaning: str
) -> None:
    peer = await world.peer()

    def has_meaning(unit: dict[str, Any]) -> bool:
        return any(message["app"] == "data" and meaning in message["payload"] for message in unit["messages"])

    async with world.running():
        await world.open(peer)
        await world.pay(peer, 40_000)
        lost = make_void(world, monkeypatch, has_meaning)
        if meaning == "close":
            await world.order_close(peer)

            async def is_void() -> bool:
                return bool(lost) and (await world.journal(peer))[0].state is UnitState.FAILED

            await eventually(is_void, "a void closing")
            # The order came to nothing with its unit: the channel is open, and can be closed by a new order.
            await world.until(peer, lambda channel: channel.period_closed_by_me == 0, "open again")
            await world.until_done(await world.order_close(peer, "again"))
            await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        else:
            peer.close(admits=40_000 if meaning == "confirm" else 1)
            await world.until(peer, is_closed, "closed")
    assert len(lost) == 1
    sent = [unit for unit in world.triggers(peer, meaning) if unit != lost[0]]
    assert len(sent) == 1
    fates = {entry.unit: entry.state for entry in await world.journal(peer)}
    assert fates == {lost[0]: UnitState.FAILED, sent[0]: UnitState.STABLE}


async def test_the_reserve_lets_a_fraud_proof_out_of_an_emptied_wallet(world: World, expected_errors: set[str]) -> None:
    """Everything that may be withdrawn is gone when the peer cheats."""
    expected_errors.add("wallet_low")
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        await world.pay(peer, 40_000)
        wallet = await wallet_of(world, runtime)
        await until_resolved(world, await wallet.post(order_withdrawal(PAYEE, None, reference="all")))
        with pytest.raises(PostingError, match="reserve"):
            await wallet.post(replace(deposit_order(peer, 10_001), is_wanted=always))
        peer.close(admits=1)
        await world.until(peer, is_closed, "closed")
    assert len(world.triggers(peer, "fraud_proof")) == 1
