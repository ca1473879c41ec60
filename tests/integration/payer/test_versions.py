"""Which version of the channels agent payer and receiver agree on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.agents import CHANNELS_BASE_AA, channel_address
from sluice.payer.errors import ChannelOpeningError
from tests.integration.payer.conftest import PAYER_ADDRESS

if TYPE_CHECKING:
    from tests.integration.payer.conftest import World

UNKNOWN = {"error": "Unknown AA version"}
"""What a JavaScript receiver says."""


@pytest.fixture
def published(world: World) -> None:
    world.devnet.ledger.treasury.publish("1.2")
    world.devnet.ledger.settle()


def offered(world: World) -> list[str]:
    requests = [json.loads(body) for body in world.receiver.bodies]
    return [request["params"]["version"] for request in requests if request["command"] == "create_channel"]


@pytest.mark.usefixtures("published")
async def test_the_repaired_agent_is_preferred_where_it_is_published(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        assert offered(world) == ["1.2"]
        assert channel.state.version == "1.2"
        await channel.pay(700)
        assert world.receiver.total == 700
    async with world.payer() as payer:
        assert payer.state(channel.aa_address).version == "1.2"


async def test_an_agent_that_is_not_on_the_network_is_not_offered(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        assert offered(world) == ["1.1"]
        assert channel.state.version == "1.1"
        with pytest.raises(ChannelOpeningError, match="no channels agent") as refused:
            await world.open_channel(payer, versions=["1.2"])
        assert refused.value.code == "agent_not_published"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "refusal",
    [
        UNKNOWN,
        {"error": "Unsupported AA version"},
        {"error": "any words", "code": "unsupported_agent_version", "agent_versions": ["1.1"]},
    ],
    ids=["unknown", "unsupported", "told"],
)
async def test_a_receiver_that_knows_only_1_1_gets_1_1(world: World, refusal: dict[str, Any]) -> None:
    world.receiver.refusals.append(refusal)
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        assert offered(world) == ["1.2", "1.1"]
        assert channel.state.version == "1.1"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "refusal",
    [
        {"error": "Channel timeout is too low, min acceptable: 2000 seconds"},
        {"error": "Unsupported AA version", "code": "unsupported_agent_version", "agent_versions": ["1.3"]},
    ],
    ids=["another reason", "none in common"],
)
async def test_there_is_nothing_to_fall_back_to(world: World, refusal: dict[str, Any]) -> None:
    world.receiver.refusals.append(refusal)
    async with world.payer() as payer:
        with pytest.raises(ChannelOpeningError, match=refusal["error"]):
            await world.open_channel(payer)
        assert offered(world) == ["1.2"]
        assert payer.channels() == ()


@pytest.mark.usefixtures("published")
async def test_a_version_that_the_caller_fixed_is_not_given_up(world: World) -> None:
    world.receiver.refusals.append(UNKNOWN)
    async with world.payer() as payer:
        with pytest.raises(ChannelOpeningError, match="Unknown AA version"):
            await world.open_channel(payer, versions=["1.2"])
        assert offered(world) == ["1.2"]


async def test_a_receiver_whose_address_is_an_agents_gets_nothing(world: World) -> None:
    agent = CHANNELS_BASE_AA["1.1"]
    aa_address = channel_address(agent, PAYER_ADDRESS, "base", 1000, "abc", "1.1")
    world.receiver.refusals.append({"response": {"address_a": agent, "aa_address": aa_address}})
    async with world.payer() as payer:
        with pytest.raises(ChannelOpeningError, match="address of an agent"):
            await world.open_channel(payer, salt="abc")
        assert payer.channels() == ()
