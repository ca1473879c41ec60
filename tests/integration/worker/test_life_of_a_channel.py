from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.channels.model import Status

if TYPE_CHECKING:
    import pytest

    from tests.integration.worker.support import World


async def test_a_channel_lives_from_deposit_to_payout(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer, 1_000_000)
        await world.pay(peer, 1_000, 500)

        command = await world.until_done(await world.order_close(peer))
        assert command.error is None
        assert command.result == {"unit": world.triggers(peer, "close")[0]}

        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        assert world.triggers(peer, "confirm") == []
        before = world.own.balance()
        world.devnet.skip_time(peer.timeout_s)
        closed = await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")

    assert (closed.period, closed.spent_by_peer, closed.claim) == (1, 0, None)
    assert len(world.triggers(peer, "close")) == len(world.triggers(peer, "confirm")) == 1
    [confirm] = world.triggers(peer, "confirm")
    fees = world.devnet.ledger.state.dag.records[confirm].unit
    cost = 10_000 + fees["headers_commission"] + fees["payload_commission"] + fees["tps_fee"]
    # The smaller party gets what it is owed and the fixed 10 000 bytes; here that is us.
    assert world.own.balance() == before - cost + 1_500 + 10_000
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
