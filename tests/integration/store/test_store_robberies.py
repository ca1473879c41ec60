from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.store import channels, commands, robberies
from shared.store.channels import Insertion
from shared.store.robberies import Robbery
from tests.integration.store.builders import PEER, address, insert_open, new_channel, unit

if TYPE_CHECKING:
    from shared.store.database import Connection, Database

STRANGER = "4WPTS6OZFCSPJMTLDVOBVCRTF3EDULQE"


def robbery(number: int = 0, **changes: object) -> Robbery:
    return replace(Robbery(address(number), 1, PEER, "base", 500, unit()), **changes)  # type: ignore[arg-type]


async def rob(worker: Database, *found: Robbery) -> None:
    async with worker.transaction() as conn:
        for one in found:
            await robberies.lock_peer(conn, one.peer_address)
            await robberies.record(conn, one)


async def flagged(conn: Connection) -> set[str]:
    rows = await conn.fetch("SELECT aa_address FROM channels WHERE peer_has_robbed")
    return {row["aa_address"] for row in rows}


@pytest.fixture
async def three_channels(worker: Database) -> None:
    """Two of the peer and one of a stranger."""
    async with worker.transaction() as conn:
        await insert_open(conn, 0)
        await insert_open(conn, 1)
        await channels.insert(conn, new_channel(2, peer_address=STRANGER))


@pytest.mark.usefixtures("three_channels")
async def test_all_channels_of_a_robber_are_flagged_until_he_is_forgiven(worker: Database, front: Database) -> None:
    await rob(worker, robbery())
    async with front.transaction() as conn:
        locked = await channels.lock(conn, [address(number) for number in range(3)])
    assert [locked[address(number)].channel.peer_has_robbed for number in range(3)] == [True, True, False]
    async with worker.transaction() as conn:
        assert await robberies.forgive(conn, PEER) == 1
        assert await robberies.forgive(conn, PEER) == 0
        assert await flagged(conn) == set()
        assert await robberies.find(conn, address(), 1) == robbery()  # what was is not forgotten


@pytest.mark.usefixtures("three_channels")
async def test_what_was_stolen_adds_up_by_asset_until_it_is_forgiven(worker: Database) -> None:
    await rob(
        worker,
        robbery(),
        robbery(),  # told twice
        robbery(period=2, amount=30, unit=unit(1)),
        robbery(1, amount=7),
        robbery(2, peer_address=STRANGER, amount=11),
    )
    async with worker.transaction() as conn:
        assert await robberies.amounts(conn) == {"base": 548}
        assert await robberies.unforgiven(conn, PEER) == [
            robbery(period=2, amount=530, unit=unit(1)),
            robbery(1, amount=7),
        ]
        await robberies.forgive(conn, PEER)
        assert await robberies.amounts(conn) == {"base": 11}
        assert [found.peer_address for found in await robberies.unforgiven(conn)] == [STRANGER]


@pytest.mark.usefixtures("three_channels")
async def test_no_channel_slips_in_while_its_peer_is_being_blocked(worker: Database, front: Database) -> None:
    async def insert(**limits: int) -> Insertion:
        async with front.transaction() as conn:
            return await channels.insert(conn, new_channel(5, salt=str(limits)), **limits)

    async with worker.transaction() as conn:
        await robberies.lock_peer(conn, PEER)
        waiting = [asyncio.create_task(insert(**limits)) for limits in ({}, {"max_unopened": 9})]
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert not done
        await robberies.record(conn, robbery())
    assert await asyncio.gather(*waiting) == [Insertion.BLOCKED, Insertion.BLOCKED]


@pytest.mark.usefixtures("three_channels")
async def test_repaired_channels_and_known_ones_are_let_in(worker: Database, front: Database) -> None:
    await rob(worker, robbery())
    async with front.transaction() as conn:
        assert await channels.insert(conn, new_channel(1)) is Insertion.EXISTING
        assert await channels.insert(conn, new_channel(5), max_unopened=9) is Insertion.BLOCKED
        assert await channels.insert(conn, new_channel(5, version="1.2"), max_unopened=9) is Insertion.CREATED


@pytest.mark.usefixtures("three_channels")
async def test_only_orders_to_close_that_period_are_corrected(worker: Database) -> None:
    orders = [("sweep", address(), 1), ("close", address(), 1), ("sweep", address(), 2), ("sweep", address(1), 1)]
    async with worker.transaction() as conn:
        for number, (kind, aa_address, period) in enumerate(orders):
            order = await commands.insert(conn, kind, {}, idempotency_key=str(number), aa_address=aa_address)
            await conn.execute(
                "UPDATE commands SET state = 'succeeded', finished_at = now(), progress = $2 WHERE id = $1",
                order.id,
                f'{{"period": {period}}}',
            )
    await rob(worker, robbery())
    async with worker.transaction() as conn:
        rows = await conn.fetch("SELECT state, error FROM commands ORDER BY id")
    assert [row["state"] for row in rows] == ["failed", "failed", "succeeded", "succeeded"]
    assert rows[0]["error"].startswith("robbed: the peer closed period 1 first")
