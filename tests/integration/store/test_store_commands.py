from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.store import commands, lease
from shared.store.commands import CommandState
from shared.store.errors import IdempotencyConflictError
from tests.integration.store.builders import address, insert_open

if TYPE_CHECKING:
    from shared.store.commands import Command
    from shared.store.database import Database
    from shared.store.lease import Lease

AWKWARD = {"text": "NUL \x00, half a pair \ud800, ☂", "amount": 9_000_000_000_000_000, "deep": [{"a": None}], "x": 1.5}


async def ask(front: Database, key: str, kind: str = "close", **params: Any) -> Command:
    async with front.transaction() as conn:
        return await commands.insert(conn, kind, params, idempotency_key=key)


async def take_lease(worker: Database, holder: str = "worker") -> Lease:
    async with worker.transaction() as conn:
        taken = await lease.acquire(conn, "wallet", holder, 60)
    assert taken is not None
    return taken


async def take_next(worker: Database, mine: Lease) -> Command | None:
    async with worker.transaction() as conn:
        return await commands.claim_next(conn, mine)


async def test_a_request_is_kept_as_it_was_made(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    async with front.transaction() as conn:
        asked = await commands.insert(conn, "close", AWKWARD, idempotency_key="k", aa_address=address())
    async with front.connection() as conn:
        assert await commands.get(conn, asked.id) == asked
        assert await commands.get(conn, asked.id + 1) is None
    assert (asked.kind, asked.params, asked.aa_address) == ("close", AWKWARD, address())
    assert (asked.state, asked.attempts, asked.result, asked.error) == (CommandState.QUEUED, 0, None, None)


async def test_asking_again_returns_the_same_command(front: Database) -> None:
    first = await ask(front, "key", a=1, b=2)
    assert await ask(front, "key", b=2, a=1) == first
    asked = await asyncio.gather(*(ask(front, "at once", a=1) for _ in range(5)))
    assert len({command.id for command in asked}) == 1


@pytest.mark.parametrize(("kind", "params"), [("close", {"a": 2}), ("close", {}), ("deposit", {"a": 1})])
async def test_a_key_is_for_one_request(front: Database, kind: str, params: dict[str, Any]) -> None:
    await ask(front, "key", a=1)
    with pytest.raises(IdempotencyConflictError):
        await ask(front, "key", kind, **params)


async def test_commands_are_taken_in_order_each_by_one(front: Database, worker: Database) -> None:
    asked = [await ask(front, f"key {number}") for number in range(6)]
    mine = await take_lease(worker)
    taken = await asyncio.gather(*(take_next(worker, mine) for _ in range(7)))
    assert sorted(command.id for command in taken if command) == [command.id for command in asked]
    assert all(command.state is CommandState.RUNNING and command.attempts == 1 for command in taken if command)
    assert await take_next(worker, mine) is None


async def test_the_oldest_comes_first(front: Database, worker: Database) -> None:
    first, second = await ask(front, "first"), await ask(front, "second")
    mine = await take_lease(worker)
    assert [found and found.id for found in [await take_next(worker, mine), await take_next(worker, mine)]] == [
        first.id,
        second.id,
    ]


async def test_the_row_carries_the_outcome_back(front: Database, worker: Database) -> None:
    good, bad = await ask(front, "good"), await ask(front, "bad")
    mine = await take_lease(worker)
    await take_next(worker, mine)
    await take_next(worker, mine)
    async with worker.transaction() as conn:
        assert await commands.finish(conn, good.id, mine, {"unit": "u\x00"})
        assert await commands.fail(conn, bad.id, mine, "no funds")
        assert not await commands.finish(conn, bad.id, mine)
    async with front.connection() as conn:
        done, failed = await commands.get(conn, good.id), await commands.get(conn, bad.id)
    assert done is not None
    assert failed is not None
    assert (done.state, done.result, done.error) == (CommandState.SUCCEEDED, {"unit": "u\x00"}, None)
    assert (failed.state, failed.result, failed.error) == (CommandState.FAILED, None, "no funds")
    assert done.finished_at is not None


async def test_what_an_earlier_holder_left_running_is_run_again(front: Database, worker: Database) -> None:
    asked = await ask(front, "key")
    old = await take_lease(worker)
    await take_next(worker, old)
    new = await take_lease(worker)
    async with worker.transaction() as conn:
        assert await commands.requeue_stale(conn, old) == []
        assert await commands.requeue_stale(conn, new) == [asked.id]
    again = await take_next(worker, new)
    assert again is not None
    assert (again.id, again.attempts) == (asked.id, 2)
    async with worker.transaction() as conn:
        assert not await commands.finish(conn, asked.id, old)
        assert await commands.finish(conn, asked.id, new)
