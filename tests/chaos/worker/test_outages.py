"""Redis, the hub or the database goes away under a running worker, and comes back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from shared.bus import Bus
from shared.channels.model import Status
from shared.obyte.composing import Output, Parents, compose
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.store import instance
from tests.integration.worker.support import Cable, eventually, hide_unit

if TYPE_CHECKING:
    from tests.integration.worker.support import World

pytestmark = pytest.mark.chaos

NOBODY = "redis://127.0.0.1:1/0"


async def heartbeat_age_s(world: World) -> float:
    async with world.database.connection() as conn:
        known = await instance.read(conn)
    assert known is not None
    assert known.watcher_age_s is not None
    return known.watcher_age_s


async def test_without_redis_new_channels_and_commands_are_found_by_polling(world: World) -> None:
    deaf = Bus(NOBODY)
    async with world.running(bus=deaf):
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 100)
        command = await world.until_done(await world.order_close(peer))
        assert command.error is None
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    await deaf.close()


async def test_without_the_hub_the_heartbeat_stops_and_nothing_is_missed_when_it_is_back(world: World) -> None:
    cable = Cable(world.devnet)
    await cable.mend()
    async with world.running(hub_url=cable.url):
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 60_000)
        await cable.cut()
        peer.close(admits=10)
        await world.devnet.stabilise()

        async def is_old() -> bool:
            return await heartbeat_age_s(world) > 0.8

        await eventually(is_old, "an old heartbeat")
        assert (await world.channel(peer)).status is Status.OPEN

        await cable.mend()
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")

        async def is_young() -> bool:
            return await heartbeat_age_s(world) < 0.8

        await eventually(is_young, "a new heartbeat")
    await cable.cut()
    assert (await world.events(peer))[-1].payload["fraud_proof"] == 1


async def test_the_heartbeat_goes_on_while_nothing_happens(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await eventually(world.is_awake, "a heartbeat")
        first = await heartbeat_age_s(world)
        started = time.monotonic()

        async def is_newer() -> bool:
            return await heartbeat_age_s(world) < first + time.monotonic() - started - 0.1

        await eventually(is_newer, "a second heartbeat")


async def test_a_worker_that_loses_its_database_connections_goes_on(world: World, database_url: str) -> None:
    admin = await asyncpg.connect(database_url)
    async with world.running(ttl_s=1.0):
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 900)
        for _ in range(5):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.1)
        await admin.close()

        async def is_open() -> bool:
            try:
                return (await world.channel(peer)).status is Status.OPEN
            except Exception:  # noqa: BLE001 - our own connections were cut as well
                return False

        await eventually(is_open, "a connection of our own")
        await world.until_done(await world.order_close(peer))
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    assert len(world.triggers(peer, "close")) == 1


async def test_a_hub_that_serves_an_altered_history_is_left_and_nothing_is_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await world.peer()
    honest = HubClient.get_history
    lies = []

    async def lie(client: HubClient, **params: object) -> object:
        answer = await honest(client, **params)  # type: ignore[arg-type]
        for joint in answer.get("joints", []) if isinstance(answer, dict) else []:
            for message in joint["unit"].get("messages", []):
                if message["app"] == "data" and "open" in message["payload"] and len(lies) < 3:
                    lies.append(message["payload"])
                    message["payload"][peer.address] *= 10
        return answer

    monkeypatch.setattr(HubClient, "get_history", lie)
    async with world.running():
        await world.open(peer, 200_000)
        assert (await world.channel(peer)).deposited_by_peer == 200_000
    assert len(lies) == 3


class Impostor:
    """Signs with its own key what it says somebody else has written."""

    def __init__(self, victim: KeyPair) -> None:
        self.address = victim.address
        self.definition = victim.definition
        self.sign = KeyPair(bytes([66]) * 32).sign


async def test_a_deposit_that_the_hub_invents_counts_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await world.peer()
    honest = HubClient.get_history
    forged = []

    async def invent(client: HubClient, **params: Any) -> Any:
        answer = await honest(client, **params)
        if isinstance(answer, dict) and "joints" in answer and peer.channel in params["addresses"]:
            offer, coins = peer.prospect(peer.channel)
            parents = Parents(offer.timestamp_s, offer.parents, str(offer.last_ball.ball), offer.last_ball.hash, 0, 0)
            impostor: Any = Impostor(peer.key)
            joint = compose(
                network=DEVNET,
                key=impostor,
                coins=coins,
                parents=parents,
                payments=[Output(peer.channel, 777_000)],
                include_definition=bool(len(forged) % 2),
            )
            answer["joints"].insert(0, joint.as_json())
            forged.append(joint.unit_hash)
        return answer

    async with world.running():
        await world.open(peer)
        monkeypatch.setattr(HubClient, "get_history", invent)
        real = peer.deposit(30_000)
        await world.until(peer, lambda channel: channel.deposited_by_peer == 1_030_000, "deposited")
        assert real
        assert len(forged) > 1
        assert await world.units_of_peer(peer) == ()


async def test_a_hub_that_hides_an_event_is_not_followed_until_it_tells_all(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await world.peer()
    peer.deposit(300_000, publish=True)
    await world.devnet.stabilise()
    peer.deposit(40_000)
    await world.devnet.stabilise()
    first, _ = [record.hash for record in world.devnet.ledger.state.dag.records.values() if record.is_agent]
    hide_unit(monkeypatch, first)
    async with world.running():

        async def is_told_off() -> bool:
            return any("hub_withholds" in str(record.msg) for record in caplog.records)

        await eventually(is_told_off, "a warning")
        assert (await world.channel(peer)).last_event_id == 0
        async with world.database.connection() as conn:
            known = await instance.read(conn)
        assert known is not None
        assert known.watcher_age_s is None
        monkeypatch.undo()
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")


async def test_a_hub_that_answers_nothing_is_not_taken_for_a_quiet_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say_nothing(_client: HubClient, **_: Any) -> Any:
        return {}

    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await eventually(world.is_awake, "a heartbeat")
        monkeypatch.setattr(HubClient, "get_history", say_nothing)

        async def is_old() -> bool:
            return await heartbeat_age_s(world) > 0.8

        await eventually(is_old, "an old heartbeat")
        monkeypatch.undo()
        await world.pay(peer, 5)
