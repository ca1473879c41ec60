"""What goes wrong around a settlement: it is made up for afterwards, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from devnet.lies import LIES
from shared.channels.model import Channel, Status
from shared.obyte.hub_client import HubClient
from shared.store import channels, journal, ledger_events
from shared.store.database import Database, Limits, Role
from tests.chaos.worker.test_crashes import POINTS, TTL_S, _release_nothing, is_closed
from tests.integration.worker.support import BOUND_S, Cable, Crash, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.integration.worker.support import Peer, World

pytestmark = pytest.mark.chaos


def is_closing(channel: Channel) -> bool:
    return channel.status is Status.CLOSING_BY_ME


async def sent(world: World, peer: Peer) -> dict[str, int]:
    """How many units of each kind of ours the ledger has for the channel."""
    return {kind: len(world.triggers(peer, kind)) for kind in ("close", "confirm", "fraud_proof")}


# ------------------------------------------------------------------------------------- between closing and confirming


@pytest.mark.parametrize("point", POINTS)
async def test_a_confirmation_of_our_own_closing_cut_off_anywhere_is_sent_once(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    peer = await world.peer()
    async with world.running(ttl_s=TTL_S):
        await world.open(peer)
        await world.pay(peer, 40_000)
        await world.until_done(await world.order_close(peer))
        await world.until(peer, is_closing, "closing")
        # Its unit is settled, so the points below are reached by the confirmation alone.
        await eventually(functools.partial(is_settled, world, peer), "the end of the closing unit")
    place, name, after = POINTS[point]
    crash = Crash(after)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, crash)
        patch.setattr("shared.store.lease.release", _release_nothing)
        killed = asyncio.create_task(world.runtime(ttl_s=TTL_S).run())
        world.devnet.skip_time(peer.timeout_s)
        await asyncio.wait_for(crash.reached.wait(), BOUND_S)
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
    async with world.running(ttl_s=TTL_S):
        await world.until(peer, is_closed, "closed")
    assert await sent(world, peer) == {"close": 1, "confirm": 1, "fraud_proof": 0}


async def is_settled(world: World, peer: Peer) -> bool:
    return all(entry.resolved_at is not None for entry in await world.journal(peer))


async def test_a_worker_that_was_away_from_closing_to_long_after_the_timeout_confirms_once(world: World) -> None:
    peer = await world.peer()
    async with world.running():
        await world.open(peer)
        await world.pay(peer, 40_000)
        await world.until_done(await world.order_close(peer))
    await world.devnet.stabilise()
    world.devnet.skip_time(30 * peer.timeout_s)
    async with world.running():
        await world.until(peer, is_closed, "closed")
    assert await sent(world, peer) == {"close": 1, "confirm": 1, "fraud_proof": 0}


@pytest.mark.parametrize("wrong_by_s", [-300, 300])
async def test_a_clock_that_is_wrong_by_minutes_confirms_neither_early_nor_never(world: World, wrong_by_s: int) -> None:
    ledger = world.devnet.ledger
    peer = await world.peer()
    async with world.running(clock=lambda: ledger.now_s() + wrong_by_s):
        await world.open(peer)
        await world.pay(peer, 40_000)
        await world.until_done(await world.order_close(peer))
        await world.until(peer, is_closing, "closing")
        world.devnet.skip_time(peer.timeout_s - 60)
        await world.devnet.stabilise()
        await asyncio.sleep(0.3)  # many rounds of settlement
        assert world.triggers(peer, "confirm") == []
        world.devnet.skip_time(60)
        await world.until(peer, is_closed, "closed")
    assert await sent(world, peer) == {"close": 1, "confirm": 1, "fraud_proof": 0}


# ---------------------------------------------------------------------------------------------------------- the hub


async def test_a_fraud_that_happened_while_no_hub_was_there_is_proven_after_its_timeout_too(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors |= {"hub_away", "deadline_near"}
    cable = Cable(world.devnet)
    await cable.mend()
    peer = await world.peer()
    async with world.running(hub_url=cable.url):
        await world.open(peer)
        await world.pay(peer, 60_000)
        await cable.cut()
        peer.close(admits=10)
        await world.devnet.stabilise()
        world.devnet.skip_time(2 * peer.timeout_s)
        await cable.mend()
        await world.until(peer, is_closed, "closed")
    await cable.cut()
    assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 1}


async def test_a_channel_that_was_closed_while_no_hub_was_there_is_closed_and_nothing_is_sent(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors |= {"hub_away", "deadline_near"}
    cable = Cable(world.devnet)
    await cable.mend()
    peer = await world.peer()
    async with world.running(hub_url=cable.url):
        await world.open(peer)
        await world.pay(peer, 60_000)
        await cable.cut()
        peer.close(admits=60_000)
        await world.devnet.stabilise()
        world.devnet.skip_time(2 * peer.timeout_s)
        peer.trigger({"confirm": 1, "period": 1})
        await world.devnet.stabilise()
        await cable.mend()
        closed = await world.until(peer, is_closed, "closed")
        await eventually(functools.partial(is_settled, world, peer), "the end of all units")
    await cable.cut()
    assert closed.last_event_id == 3
    assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 0}


@pytest.mark.parametrize("lie", ["forged_ball", "forged_amount", "nothing", "without_responses", "shuffled_units"])
async def test_a_hub_that_begins_to_lie_when_a_fraud_begins_does_not_save_it(world: World, lie: str) -> None:
    honest = await world.devnet.add_hub()
    peer = await world.peer()
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}"):
        await world.open(peer)
        await world.pay(peer, 60_000)
        world.devnet.faults.lie(*LIES[lie], times=None)
        peer.close(admits=10)
        await world.until(peer, is_closed, "closed")
    assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 1}


# ----------------------------------------------------------------------------------------------------- the database


class Breaker:
    """Ends the connection of whoever reaches a point, once: what the transaction has done so far is gone."""

    def __init__(self, url: str, function: Callable[..., Awaitable[Any]]) -> None:
        self._url = url
        self._function = function
        self.has_struck = False

    async def __call__(self, conn: Any, *args: Any, **named: Any) -> Any:
        result = await self._function(conn, *args, **named)
        if not self.has_struck:
            self.has_struck = True
            admin = await asyncpg.connect(self._url)
            await admin.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
            await admin.close()
        return result


@pytest.mark.parametrize(
    "point",
    [(ledger_events, "append"), (channels, "save_transition"), (journal, "compose"), (journal, "stable")],
    ids=lambda point: point[1],
)
async def test_a_database_that_is_lost_in_mid_transition_is_caught_up_with(
    world: World, monkeypatch: pytest.MonkeyPatch, point: tuple[Any, str]
) -> None:
    peer = await world.peer()
    async with world.running(ttl_s=TTL_S):
        await world.open(peer)
        await world.pay(peer, 40_000)
        place, name = point
        breaker = Breaker(world.database_url, getattr(place, name))
        monkeypatch.setattr(place, name, breaker)
        peer.close(admits=1)
        await world.until(peer, is_closed, "closed")
    assert breaker.has_struck
    assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 1}
    assert [event.kind.value for event in await world.events(peer)] == ["opened", "closing", "closed"]


@asynccontextmanager
async def without_database(admin_url: str, url: str) -> AsyncIterator[None]:
    name = urlsplit(url).path.removeprefix("/")
    admin = await asyncpg.connect(admin_url)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    try:
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


async def test_a_database_that_is_away_for_longer_than_the_lease_costs_nothing(world: World, postgres_url: str) -> None:
    peer, other = await world.peer(1), await world.peer(2)
    async with world.running(ttl_s=TTL_S):
        for funded in (peer, other):
            await world.open(funded)
            await world.pay(funded, 40_000)
        command_id = await world.order_close(other)
        async with without_database(postgres_url, world.database_url):
            peer.close(admits=1)
            await world.devnet.stabilise()
            await asyncio.sleep(2 * TTL_S)
        await world.until(peer, is_closed, "closed")
        await world.until_done(command_id)
        await world.until(other, is_closing, "closing")
    assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 1}
    assert await sent(world, other) == {"close": 1, "confirm": 0, "fraud_proof": 0}


# ------------------------------------------------------------------------------------------------------ two workers


class Freeze:
    """A point at which the first who comes is frozen until `thaw`, whatever becomes of the tasks around him."""

    def __init__(self, function: Callable[..., Awaitable[Any]], *, after: bool) -> None:
        self._function = function
        self._after = after
        self.reached = asyncio.Event()
        self.thaw = asyncio.Event()

    def __get__(self, instance: Any, _owner: Any) -> Any:
        return functools.partial(self, instance)

    async def __call__(self, *args: Any, **named: Any) -> Any:
        is_first = not self.reached.is_set()
        self.reached.set()
        if is_first and not self._after:
            await self._stay()
        result = await self._function(*args, **named)
        if is_first and self._after:
            await self._stay()
        return result

    async def _stay(self) -> None:
        while not self.thaw.is_set():
            # Who is frozen does not hear that he is to stop.
            with contextlib.suppress(asyncio.CancelledError):
                await self.thaw.wait()


FREEZING_POINTS = {
    "before the journal": (journal, "compose", False),
    "in the journal, not committed": (journal, "compose", True),
    "before posting": (HubClient, "post_joint", False),
    "after posting": (HubClient, "post_joint", True),
    "before it is noted": (journal, "posted", False),
}


@pytest.mark.parametrize("point", FREEZING_POINTS)
async def test_a_holder_that_wakes_up_after_its_lease_changes_nothing_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    peer = await world.peer()
    async with world.running(ttl_s=TTL_S):
        await world.open(peer)
        await world.pay(peer, 40_000)
    place, name, after = FREEZING_POINTS[point]
    freeze = Freeze(getattr(place, name), after=after)
    monkeypatch.setattr(place, name, freeze)
    # A take-over waits for a transaction under the lease; the database ends one that does nothing.
    own = await Database.connect(world.database_url, role=Role.WORKER, limits=Limits(idle_in_transaction_s=0.5))
    async with world.running(world.runtime(ttl_s=30.0, database=own)):
        peer.close(admits=1)
        await asyncio.wait_for(freeze.reached.wait(), BOUND_S)
        await world.expire_lease()
        async with world.running(ttl_s=30.0):
            await world.until(peer, is_closed, "closed")
            freeze.thaw.set()
            await asyncio.sleep(0.3)
            assert is_closed(await world.channel(peer))
    await own.close()
    assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 1}
    assert [event.kind.value for event in await world.events(peer)] == ["opened", "closing", "closed"]


async def test_of_two_workers_that_run_all_the_time_one_settles(world: World) -> None:
    peers = [await world.peer(number) for number in (1, 2, 3)]
    async with world.running(ttl_s=TTL_S) as first:
        second = asyncio.create_task((stand_by := world.runtime(ttl_s=TTL_S)).run())
        for peer in peers:
            await world.open(peer)
            await world.pay(peer, 40_000)
        for peer in peers:
            peer.close(admits=1)
            await world.expire_lease()
        for peer in peers:
            await world.until(peer, is_closed, "closed")
        assert not (first.holding.is_set() and stand_by.holding.is_set())
        stand_by.stop()
        await asyncio.wait_for(second, BOUND_S)
    for peer in peers:
        assert await sent(world, peer) == {"close": 0, "confirm": 0, "fraud_proof": 1}
