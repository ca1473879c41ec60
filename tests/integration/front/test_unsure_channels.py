"""After a restore of the database: what fronts say about a channel whose latest records may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.receiving_support import Payer, administrator

if TYPE_CHECKING:
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker


async def test_nothing_is_credited_and_no_old_number_is_told_but_receipts_stay(
    front: Front, worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    first = await front.pay(payer.package(1000, 600))
    async with administrator(database_url) as connection:
        await connection.execute("UPDATE channels SET unsure_period = 1")

    refusal = await front.pay(payer.package(2000, 1000))
    assert refusal.keys() == {"error", "code"}
    assert refusal["code"] == "channel_unsure"
    assert refusal["error"].endswith("close the channel, and deposit again in 15 minutes or later")
    again = await front.pay(payer.package(1000, 600))
    assert again["receipt"] == {**first["receipt"], "duplicate": True}
    ready = await front.command("is_ready", {"aa_address": payer.channel})
    assert ready["error"].startswith("not ready, ")
    channel = await worker.read(payer)
    assert (channel.spent_by_peer, channel.credit) == (1000, 400)
