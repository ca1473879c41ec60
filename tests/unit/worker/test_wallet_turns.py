from __future__ import annotations

import asyncio

import pytest

from worker.wallet import Urgency
from worker.wallet.turns import Turns

ROUTINE, SETTLING, DEFENCE = Urgency


class Queue:
    """Tasks that wait for turns; `done` tells in which order they had them."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.done: list[str] = []

    async def line_up(self, name: str, urgency: Urgency) -> asyncio.Task[None]:
        async def work() -> None:
            async with self.turns.turn(urgency):
                await asyncio.sleep(0)
                self.done.append(name)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        return task


async def test_the_urgent_go_first_and_equals_in_the_order_they_came() -> None:
    queue = Queue()
    async with queue.turns.turn(ROUTINE):
        tasks = [
            await queue.line_up("deposit 1", ROUTINE),
            await queue.line_up("deposit 2", ROUTINE),
            await queue.line_up("confirm", SETTLING),
            await queue.line_up("fraud proof 1", DEFENCE),
            await queue.line_up("fraud proof 2", DEFENCE),
        ]
        assert queue.turns.is_wanted_more(ROUTINE)
        assert queue.turns.is_wanted_more(SETTLING)
        assert not queue.turns.is_wanted_more(DEFENCE)
    await asyncio.gather(*tasks)
    assert queue.done == ["fraud proof 1", "fraud proof 2", "confirm", "deposit 1", "deposit 2"]


async def test_one_turn_at_a_time() -> None:
    turns = Turns()
    inside = 0

    async def work(urgency: Urgency) -> None:
        nonlocal inside
        async with turns.turn(urgency):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work(urgency) for urgency in list(Urgency) * 5))


async def test_an_error_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"):
        async with turns.turn(ROUTINE):
            raise ValueError("broken")
    async with asyncio.timeout(1), turns.turn(ROUTINE):
        pass


@pytest.mark.parametrize("has_been_called", [False, True])
async def test_who_gives_up_waiting_does_not_keep_the_turn(*, has_been_called: bool) -> None:
    queue = Queue()
    async with queue.turns.turn(ROUTINE):
        gone = await queue.line_up("gone", DEFENCE)
        stays = await queue.line_up("stays", ROUTINE)
        if not has_been_called:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
    gone.cancel()
    async with asyncio.timeout(1):
        await asyncio.gather(gone, stays, return_exceptions=True)
    assert queue.done == ["stays"]
    assert not queue.turns.is_wanted_more(ROUTINE)


async def test_who_only_looks_after_old_units_hurries_nobody() -> None:
    queue = Queue()

    async def look() -> None:
        async with queue.turns.turn(SETTLING, is_patient=True):
            queue.done.append("look")

    async with queue.turns.turn(ROUTINE):
        deposit = await queue.line_up("deposit", ROUTINE)
        looking = asyncio.create_task(look())
        await asyncio.sleep(0)
        assert not queue.turns.is_wanted_more(ROUTINE)
        confirm = await queue.line_up("confirm", SETTLING)
        assert queue.turns.is_wanted_more(ROUTINE)
    await asyncio.gather(deposit, looking, confirm)
    assert queue.done == ["look", "confirm", "deposit"]
