"""A peer who fills the agent of a channel in an asset with tiny coins, so that it cannot pay for its last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.channels.model import Status
from shared.obyte.composing import Output
from tests.integration.worker.support import eventually

if TYPE_CHECKING:
    from tests.integration.worker.support import Peer, World

COINS_OF_A_UNIT = 120
DEPOSIT = 100_000


async def starved_channel(world: World) -> Peer:
    """Return the peer of an open channel whose agent owns more coins than its bytes can spend."""
    asset = world.devnet.ledger.treasury.issue(10**9)
    peer = await world.peer(asset=asset)
    world.fund(peer, 10**6, asset)
    for _ in range(3):
        peer.post([Output(peer.channel, 1 + number, asset) for number in range(COINS_OF_A_UNIT)])
        await world.devnet.stabilise()
    await world.open(peer, DEPOSIT)
    return peer


def answers(world: World, peer: Peer) -> list[str]:
    told = [response.full["response"] for response in world.devnet.ledger.state.responses_by_agent[peer.channel]]
    return [str(answer.get("error", "ok")) for answer in told if isinstance(answer, dict)]


@pytest.mark.parametrize("admits", [0, 60_000], ids=["fraud proof", "confirmation"])
async def test_the_agent_is_brought_the_bytes_it_needs(world: World, admits: int) -> None:
    async with world.running():
        peer = await starved_channel(world)
        await world.pay(peer, 60_000)
        before = world.own.balance(peer.asset)
        peer.close(admits=admits)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")

        async def paid() -> bool:
            return world.own.balance(peer.asset) > before

        await eventually(paid, "the payout")
    assert sum("not enough funds for" in answer for answer in answers(world, peer)) == 1
    assert world.own.balance(peer.asset) - before >= (60_000 if admits else DEPOSIT)
