"""A peer who has robbed us is refused by every front, in what he could rob again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.store import instance, robberies
from shared.store.robberies import Robbery
from tests.receiving_support import Payer, payer_key

if TYPE_CHECKING:
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker


async def rob(worker: Worker, payer: Payer) -> None:
    """Write what the worker writes when the payer has robbed his channel."""
    robbery = Robbery(payer.channel, 1, payer.address, payer.asset, 500, "u" * 43 + "=")
    async with worker.database.transaction() as conn:
        await robberies.lock_peer(conn, payer.address)
        await robberies.record(conn, robbery)


async def forgive(worker: Worker, payer: Payer) -> None:
    async with worker.database.transaction() as conn:
        await robberies.forgive(conn, payer.address)


async def test_all_channels_of_a_robber_are_refused_until_he_is_forgiven(front: Front, worker: Worker) -> None:
    robbed, other, honest = Payer(), Payer(salt="other"), Payer(payer_key(2))
    for payer in (robbed, other, honest):
        await worker.open(payer)
    await rob(worker, robbed)
    for payer in (robbed, other):
        refused = await front.pay(payer.package(1, 1))
        assert (refused["code"], refused["error"]) == (
            "peer_blocked",
            "nothing is taken from this address in channels of version 1.1: one was robbed",
        )
        ready = await front.command("is_ready", {"aa_address": payer.channel})
        assert ready["code"] == "peer_blocked"
    assert "receipt" in await front.pay(honest.package(1, 1))

    await forgive(worker, robbed)
    for payer in (robbed, other):
        assert "receipt" in await front.pay(payer.package(1, 1))


async def test_what_he_was_credited_before_keeps_its_receipt(front: Front, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    package = payer.package(1, 1)
    first = await front.pay(package)
    await rob(worker, payer)
    assert (await front.pay(package))["receipt"] == {**first["receipt"], "duplicate": True}


async def test_a_robber_gets_new_channels_of_the_repaired_agent_only(front: Front, worker: Worker) -> None:
    robbed, late = Payer(), Payer(salt="late")
    await worker.open(robbed)
    async with worker.database.transaction() as conn:
        await instance.note_published(conn, ["1.2"])
    await rob(worker, robbed)
    refused = await front.command("create_channel", late.parameters)
    assert refused["code"] == "peer_blocked"
    refused = await front.pay(late.first_package(1, 1))
    assert refused["code"] == "peer_blocked"
    repaired = Payer(salt="repaired", version="1.2")
    assert "response" in await front.command("create_channel", repaired.parameters)
    await worker.open(repaired)
    assert "receipt" in await front.pay(repaired.package(1, 1))

    await forgive(worker, robbed)
    assert "response" in await front.command("create_channel", late.parameters)
