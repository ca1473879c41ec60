from __future__ import annotations

import asyncio

from worker.pacing import Backoff, Bell


def test_pauses_double_up_to_the_limit_and_start_again_after_success() -> None:
    backoff = Backoff(1, 8, jitter=lambda: 0)
    assert [backoff.pause_s() for _ in range(5)] == [1, 2, 4, 8, 8]
    backoff.reset()
    assert backoff.pause_s() == 1


def test_at_most_half_of_a_pause_is_left_out() -> None:
    backoff = Backoff(4, 4, jitter=lambda: 1)
    assert backoff.pause_s() == 2


async def test_a_ring_before_sleep_is_not_lost_and_many_are_one() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    await asyncio.wait_for(bell.sleep(None), 1)
    sleeper = asyncio.create_task(bell.sleep(None))
    done, _ = await asyncio.wait([sleeper], timeout=0.01)
    assert not done
    bell.ring()
    await asyncio.wait_for(sleeper, 1)


async def test_a_loop_sleeps_no_longer_than_it_said() -> None:
    await asyncio.wait_for(Bell().sleep(0.001), 1)
