"""A payer's whole story on a local ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.model import Status
from tests.integration.payer.support import BOUND_S

if TYPE_CHECKING:
    from tests.integration.payer.conftest import World


async def test_a_channel_from_its_opening_to_its_payout(world: World) -> None:
    async with world.payer() as payer:
        before = await payer.balance()
        channel = await payer.open_channel(world.receiver.url, 500_000, timeout_s=1000)
        assert (await channel.wait_open(BOUND_S)).deposited_by_me == 500_000
        for amount in (1_000, 2_000, 3_000):
            receipt = await channel.pay(amount, message={"order": amount})
            assert receipt.response == f"received {amount}"
        assert receipt.amount_spent == 6_000
        assert world.receiver.total == 6_000
        await channel.close()
        assert channel.state.period_closed_by_me == 1
        world.devnet.ledger.settle()
        world.confirm(channel.aa_address)
        summary = await channel.settle(BOUND_S)
        assert (summary.spent_by_me, summary.deposited_by_me) == (6_000, 500_000)
        assert channel.state.status is Status.CLOSED
        after = await payer.balance()
        assert after.total <= before.total - 6_000
        assert summary.received > 494_000
