"""A stranger or the peer who sends a channel's agent so many coins that it could soon not pay out any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.model import Status
from shared.obyte.composing import Output
from shared.store import alarms
from tests.integration.worker.support import eventually

if TYPE_CHECKING:
    from tests.integration.worker.support import World


async def test_a_channel_whose_agent_is_crowded_is_closed_by_us_and_somebody_is_told(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors.add("agent_crowded")
    async with world.running():
        peer, calm = await world.peer(1), await world.peer(2)
        for _ in range(4):
            peer.post([Output(peer.channel, 1_000 + number) for number in range(120)])
            await world.devnet.stabilise()
        await world.open(calm)
        await world.open(peer)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing by us")

        async def told() -> list[str]:
            async with world.database.connection() as conn:
                return [alarm.subject for alarm in await alarms.active(conn) if alarm.kind == "agent_crowded"]

        assert await eventually(told, "an alarm") == [peer.channel]
        assert (await world.channel(calm)).status is Status.OPEN
    assert len(world.triggers(peer, "close")) == 1
