"""Channels that never saw a deposit: given up when nobody needs them, back when somebody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.store import channels, commands, deposits, instance, peer_units, unfunded
from shared.store.channels import Insertion
from tests.integration.store.builders import OWN, address, insert_open, new_channel, unit

if TYPE_CHECKING:
    from shared.store.database import Connection, Database

WEEK_S = 604_800.0


@pytest.fixture
async def watched(worker: Database, owner: Connection) -> Connection:
    """A channel that a worker in step with the ledger has watched for two weeks, and nothing came."""
    async with worker.transaction() as conn:
        await instance.declare(conn, network="devnet", own_address=OWN)
        await instance.heartbeat(conn)
        await channels.insert(conn, new_channel())
        await channels.mark_watched(conn, [address()])
    await owner.execute("UPDATE channels SET asked_at = now() - interval '14 days'")
    return owner


async def give_up(worker: Database) -> list[str]:
    async with worker.transaction() as conn:
        return await unfunded.give_up(conn, WEEK_S, limit=10)


async def events_of(owner: Connection) -> list[str]:
    return [row["kind"] for row in await owner.fetch("SELECT kind FROM events ORDER BY id")]


async def shown(worker: Database) -> str:
    async with worker.connection() as conn:
        return (await channels.find(conn, [address()]))[address()].shown_status


async def test_what_nobody_paid_into_is_given_up_told_and_watched_no_more(
    watched: Connection, worker: Database
) -> None:
    assert await shown(worker) == "unfunded"
    assert await give_up(worker) == [address()]
    assert await shown(worker) == "expired"
    async with worker.connection() as conn:
        assert await channels.to_watch(conn) == await channels.not_watched(conn) == []
        assert await unfunded.given_up(conn, limit=10) == await unfunded.among(conn, [address()]) == [address()]
        assert [one.shown_status for one in await channels.page(conn, status="expired")] == ["expired"]
        assert await channels.page(conn, status="closed") == await channels.page(conn, status="unfunded") == []
    assert await events_of(watched) == ["channel_created_by_peer", "channel_expired"]
    assert await give_up(worker) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE channels SET asked_at = now()",
        "UPDATE channels SET is_watched = false",
        "UPDATE channels SET role = 'B'",
        "UPDATE channels SET last_event_id = 1",
        "UPDATE channels SET auto_refill_threshold = 1, auto_refill_amount = 1",
        "UPDATE instance SET watcher_synced_at = now() - interval '1 hour'",
    ],
)
async def test_what_somebody_may_need_is_kept(watched: Connection, worker: Database, change: str) -> None:
    await watched.execute(change)
    assert await give_up(worker) == []


async def test_what_waits_for_the_ledger_or_the_worker_is_kept(watched: Connection, worker: Database) -> None:
    async with worker.transaction() as conn:
        await peer_units.add(conn, address(), unit(), amount=1, closes=False, publishes_definition=False)
    assert await give_up(worker) == []
    async with worker.transaction() as conn:
        await peer_units.remove(conn, address(), unit())
        await commands.insert(conn, "close", {}, idempotency_key="k", aa_address=address())
    assert await give_up(worker) == []
    await watched.execute("UPDATE commands SET state = 'failed', error = 'e', finished_at = now()")
    async with worker.transaction() as conn:
        await deposits.add(conn, address(), unit(1), 20_000)
    assert await give_up(worker) == []
    await watched.execute("DELETE FROM deposits")
    assert await give_up(worker) == [address()]


async def test_asking_for_it_again_brings_it_back(watched: Connection, worker: Database, front: Database) -> None:
    await give_up(worker)
    async with front.transaction() as conn:
        again = await channels.insert(conn, new_channel(), max_unopened_of_peer=1, max_unopened=1)
        assert again is Insertion.REVIVED
        assert await channels.insert(conn, new_channel(), max_unopened=1) is Insertion.EXISTING
    async with worker.connection() as conn:
        assert await channels.not_watched(conn) == [address()]
    assert await shown(worker) == "unfunded"
    assert await events_of(watched) == ["channel_created_by_peer", "channel_expired", "channel_revived"]
    assert await give_up(worker) == []


async def test_what_was_given_up_counts_for_no_limit_and_comes_back_within_them(
    watched: Connection, worker: Database, front: Database
) -> None:
    await give_up(worker)
    async with front.transaction() as conn:
        assert await channels.insert(conn, new_channel(1), max_unopened=1) is Insertion.CREATED
        assert await channels.insert(conn, new_channel(), max_unopened=1) is Insertion.TOO_MANY
        assert await channels.revive(conn, [address()], max_unopened=1) == []
        assert await channels.insert(conn, new_channel(0, timeout_s=2_000), max_unopened=9) is Insertion.CONFLICT
        assert await channels.revive(conn, [address(), address(1)]) == [address()]


async def test_anything_on_the_ledger_brings_it_back(watched: Connection, worker: Database) -> None:
    await give_up(worker)
    async with worker.transaction() as conn:
        await peer_units.add(conn, address(), unit(), amount=1, closes=False, publishes_definition=False)
        assert await channels.not_watched(conn) == [address()]
    assert (await events_of(watched))[-1] == "channel_revived"


async def test_it_is_read_from_its_beginning_though_an_older_release_has_watched_it(
    watched: Connection, worker: Database
) -> None:
    await give_up(worker)
    await watched.execute("UPDATE channels SET is_watched = true")
    async with worker.transaction() as conn:
        assert await channels.revive(conn, [address()]) == [address()]
        assert await channels.not_watched(conn) == [address()]


async def test_fronts_bring_back_and_never_give_up(watched: Connection, front: Database) -> None:
    async with front.connection() as conn:
        with pytest.raises(Exception, match="permission denied"):
            await conn.execute("UPDATE channels SET expired_at = now()")


async def test_payments_go_on_beside_it(worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, 5)
    await owner.execute("UPDATE channels SET asked_at = now() - interval '14 days'")
    assert await give_up(worker) == []
