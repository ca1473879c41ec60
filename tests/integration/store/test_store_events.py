"""What is told by the rows themselves, whichever statement writes them, and what is never told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.store import alarms, commands, deposits, events, instance, lease
from shared.store.alarms import AlarmKind
from shared.store.channels import insert
from tests.integration.store.builders import address, new_channel, unit

if TYPE_CHECKING:
    from shared.store.database import Connection, Database
    from shared.store.events import Event


async def told(database: Database) -> list[Event]:
    async with database.connection() as conn:
        return await events.page(conn, after=0, until=await events.newest_id(conn))


async def test_a_channel_that_a_peer_asks_for_is_told_once(front: Database) -> None:
    for _ in range(2):
        async with front.transaction() as conn:
            await insert(conn, new_channel())
    [event] = await told(front)
    assert (event.kind, event.aa_address) == ("channel_created_by_peer", address())
    assert event.data == {
        "peer_address": new_channel().peer_address,
        "asset": "base",
        "timeout_s": 1_000,
        "version": "1.1",
    }


async def test_a_channel_that_we_ask_for_is_not(worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert(conn, new_channel(role="B"))
    assert await told(worker) == []


async def test_an_alarm_is_told_when_it_is_raised_and_cleared_not_when_it_is_renewed(worker: Database) -> None:
    async with worker.transaction() as conn:
        await alarms.clear(conn, AlarmKind.WALLET_LOW, "")
        await alarms.put(conn, AlarmKind.WALLET_LOW, "", {"left": 5})
        await alarms.put(conn, AlarmKind.WALLET_LOW, "", {"left": 4})
        await alarms.clear(conn, AlarmKind.WALLET_LOW, "")
    raised, cleared = await told(worker)
    about = {"alarm": "wallet_low", "subject": "", "severity": "critical"}
    assert (raised.kind, raised.data) == ("alarm_raised", about | {"facts": {"left": 5}})
    assert (cleared.kind, cleared.data) == ("alarm_cleared", about)


async def order(conn: Connection, key: str) -> int:
    return (await commands.insert(conn, "pay", {}, idempotency_key=key)).id


async def test_the_outcome_of_a_command_is_told_without_its_result_and_the_words_of_peers(worker: Database) -> None:
    async with worker.transaction() as conn:
        held = await lease.acquire(conn, "wallet", "me", ttl_s=60)
        assert held is not None
        good, bad = await order(conn, "1"), await order(conn, "2")
        for _ in range(2):
            assert await commands.claim_next(conn, held) is not None
        await commands.finish(conn, good, held, {"package": "the signed package"})
        await commands.fail(conn, bad, held, "peer_refused: he says the signed package", {"package": "the signed"})
    done, failed = await told(worker)
    assert (done.kind, done.data) == ("command_succeeded", {"command_id": good, "command": "pay", "code": None})
    assert (failed.kind, failed.data) == (
        "command_failed",
        {"command_id": bad, "command": "pay", "code": "peer_refused"},
    )
    assert "signed" not in json.dumps([done.data, failed.data])


async def test_commands_that_a_restore_ends_are_told_in_a_stream_of_a_new_name(worker: Database) -> None:
    async with worker.transaction() as conn:
        await instance.declare(conn, network="devnet", own_address="O" * 32)
        await order(conn, "1")
        before = await events.stream(conn)
        await instance.note_restore(conn, "a test", pulse=1, still_right=[])
        assert (await events.stream(conn)).name != before.name
    [event] = await told(worker)
    assert (event.kind, event.data["code"]) == ("command_failed", "restored_database")


async def test_a_refill_is_told_and_an_ordered_deposit_is_not(worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert(conn, new_channel(role="B"))
        await deposits.add(conn, address(), unit(1), 10)
        for _ in range(2):
            await deposits.add(conn, address(), unit(2), 20, is_refill=True)
    [event] = await told(worker)
    assert (event.kind, event.data) == ("channel_refilled", {"amount": 20, "unit": unit(2)})


async def test_what_is_forgotten_is_bounded_and_noted(worker: Database) -> None:
    async with worker.transaction() as conn:
        for number in range(5):
            await alarms.put(conn, AlarmKind.HUB_AWAY, str(number), {})
    every = await told(worker)
    async with worker.transaction() as conn:
        assert await events.forget(conn, 3_600) == 0
        assert (await events.stream(conn)).gone_id < every[0].id
        assert await events.forget(conn, -1, limit=3) == 3
        assert (await events.stream(conn)).gone_id == every[2].id
    assert await told(worker) == every[3:]
    async with worker.transaction() as conn:
        assert await events.forget(conn, -1) == 2
        assert await events.forget(conn, -1) == 0
        assert (await events.stream(conn)).gone_id == every[-1].id
