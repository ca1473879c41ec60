"""Which channels agents are on the network: noticed, published by order, and chosen when a channel is opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.exposure import ExposureLimits, ExposureRules
from shared.obyte.agents import CHANNELS_BASE_AA, base_definition, channel_address
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.store import channels, commands, instance
from tests.integration.payer.support import Receiver, listening
from tests.integration.worker.support import OWN_KEY, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.commands import Command
    from tests.integration.worker.support import World

PEER = KeyPair(bytes([77]) * 32)


async def order(world: World, kind: str, key: str = "1", **params: Any) -> Command:
    async with world.database.transaction() as conn:
        queued = await commands.insert(conn, kind, params, idempotency_key=key)
    return await world.until_done(queued.id)


async def published(world: World) -> tuple[str, ...]:
    async with world.database.connection() as conn:
        here = await instance.read(conn)
    return () if here is None else here.agent_versions


async def until_noticed(world: World, *versions: str) -> None:
    async def noticed() -> bool:
        return await published(world) == (versions or ("1.1", "1.2"))

    await eventually(noticed, "the versions in the database")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver(PEER)) as somebody:
        yield somebody


def offered(receiver: Receiver) -> list[str]:
    return [json.loads(body)["params"]["version"] for body in receiver.bodies]


async def test_the_worker_notices_what_others_publish(world: World) -> None:
    async with world.running():
        await until_noticed(world, "1.1")
        world.devnet.ledger.treasury.publish("1.2")
        await until_noticed(world)


async def test_what_was_seen_once_is_not_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    async with world.running():
        await until_noticed(world)
    asked = []
    honest = HubClient.get_definition

    async def deny(client: HubClient, address: str) -> Any:
        asked.append(address)
        return None if address in CHANNELS_BASE_AA.values() else await honest(client, address)

    monkeypatch.setattr(HubClient, "get_definition", deny)
    async with world.running():
        await order(world, "dance")
        assert await published(world) == ("1.1", "1.2")
    assert not set(asked) & set(CHANNELS_BASE_AA.values())


async def test_our_agent_is_published_by_order_and_once(world: World) -> None:
    async with world.running():
        done = await order(world, "publish_agent", version="1.2")
        assert done.error is None
        assert done.result is not None
        assert done.result["agent"] == CHANNELS_BASE_AA["1.2"]
        await until_noticed(world)
        world.devnet.ledger.settle()  # a hub tells of definitions that are not stable yet
        agent = world.devnet.ledger.state.agents[CHANNELS_BASE_AA["1.2"]]
        assert (agent.definition, agent.definition_unit) == (base_definition("1.2"), done.result["unit"])
        again = await order(world, "publish_agent", "2", version="1.2")
        assert again.error == f"already_published: version 1.2 is on this network already, as {CHANNELS_BASE_AA['1.2']}"


async def test_channels_are_opened_with_the_repaired_agent_where_it_is(world: World, receiver: Receiver) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    async with world.running():
        await until_noticed(world)
        done = await order(world, "open", peer=receiver.url, initial_amount=200_000)
        assert done.error is None
        assert done.result is not None
        assert (done.result["version"], offered(receiver)) == ("1.2", ["1.2"])


async def test_a_peer_that_knows_only_1_1_gets_1_1(world: World, receiver: Receiver) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    receiver.refusals.append({"error": "Unknown AA version"})
    async with world.running():
        await until_noticed(world)
        done = await order(world, "open", peer=receiver.url, initial_amount=200_000)
        assert done.error is None
        assert done.result is not None
        assert (done.result["version"], offered(receiver)) == ("1.1", ["1.2", "1.1"])


async def test_a_version_that_is_fixed_is_not_given_up(world: World, receiver: Receiver) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    receiver.refusals.append({"error": "Unknown AA version"})
    async with world.running():
        await until_noticed(world)
        done = await order(world, "open", peer=receiver.url, initial_amount=200_000, version="1.2")
        assert done.error == "peer_refused: the peer refuses the channel: Unknown AA version"
        assert offered(receiver) == ["1.2"]


async def test_nothing_is_opened_with_an_agent_that_is_not_there(world: World, receiver: Receiver) -> None:
    async with world.running():
        done = await order(world, "open", peer=receiver.url, initial_amount=200_000, version="1.2")
        assert done.error is not None
        assert done.error.startswith("agent_not_published: ")
        assert receiver.bodies == []


async def test_the_owner_of_an_address_gets_the_version_that_everybody_knows(world: World) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    async with world.running():
        await until_noticed(world)
        done = await order(world, "open", peer=PEER.address, initial_amount=200_000)
        chosen = await order(world, "open", "2", peer=PEER.address, initial_amount=200_000, version="1.2")
    assert (done.error, chosen.error) == (None, None)
    assert [(command.result or {})["version"] for command in (done, chosen)] == ["1.1", "1.2"]


async def test_where_1_1_is_not_allowed_the_owner_of_an_address_gets_1_2(world: World) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    async with world.running(agent_versions=("1.2",)):
        await until_noticed(world)
        done = await order(world, "open", peer=PEER.address, initial_amount=200_000)
    assert (done.result or {})["version"] == "1.2"


async def test_the_limit_of_our_deposits_in_1_1_holds_for_addresses(world: World) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    world.exposure = ExposureRules({"base": ExposureLimits(10**9, 10**9, 100_000, 10**9)})
    async with world.running():
        await until_noticed(world)
        done = await order(world, "open", peer=PEER.address, initial_amount=200_000)
        chosen = await order(world, "open", "2", peer=PEER.address, initial_amount=200_000, version="1.2")
    assert done.error is not None
    assert done.error.startswith("exposure_limit: ")
    assert chosen.error is None


async def test_no_channel_is_opened_with_a_peer_that_is_an_agent(world: World, receiver: Receiver) -> None:
    """An agent can refuse its payout for as long as it likes (W3)."""
    agent = CHANNELS_BASE_AA["1.1"]
    aa_address = channel_address(agent, OWN_KEY.address, "base", 1_000, "salt", "1.1")
    receiver.refusals.append({"response": {"address_a": agent, "aa_address": aa_address}})
    async with world.running():
        await until_noticed(world, "1.1")
        by_address = await order(world, "open", peer=agent, initial_amount=200_000)
        by_url = await order(world, "open", "2", peer=receiver.url, initial_amount=200_000, salt="salt")
    assert [(command.error or "").split(":")[0] for command in (by_address, by_url)] == ["peer_is_agent"] * 2
    async with world.database.connection() as conn:
        assert await channels.page(conn) == []
