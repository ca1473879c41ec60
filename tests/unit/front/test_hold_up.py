"""Whoever is refused all the time, before any database was asked, waits for the answers; nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from front import limits
from front.limits import LONGEST_HOLD_UP_S, MOST_HELD_UP, REFUSED_UNHEARD, AddressLimits
from shared.limits.limiter import Limiter
from shared.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "sleep", clock.sleep)
    return clock


@pytest.fixture
def addresses(clock: Clock) -> AddressLimits:
    return AddressLimits.of(Settings(), Limiter(clock=clock))


async def test_a_few_are_answered_at_once(addresses: AddressLimits, clock: Clock) -> None:
    for _ in range(REFUSED_UNHEARD):
        await addresses.hold_up("1.2.3.4")
    assert clock.slept_s == []


async def test_many_wait_longer_and_longer_to_a_bound(addresses: AddressLimits, clock: Clock) -> None:
    for _ in range(5 * REFUSED_UNHEARD):
        await addresses.hold_up("1.2.3.4")
    assert clock.slept_s == sorted(clock.slept_s)
    assert clock.slept_s[0] <= 1 / REFUSED_UNHEARD + 1e-9
    assert clock.slept_s[-1] == LONGEST_HOLD_UP_S


async def test_others_do_not_wait_and_time_heals(addresses: AddressLimits, clock: Clock) -> None:
    for _ in range(2 * REFUSED_UNHEARD):
        await addresses.hold_up("1.2.3.4")
    clock.slept_s.clear()
    await addresses.hold_up("1.2.3.5")
    clock.now_s += 3
    await addresses.hold_up("1.2.3.4")
    assert clock.slept_s == []


async def test_so_many_wait_at_once_and_more_do_not(addresses: AddressLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    over = asyncio.Event()

    async def until_over(_seconds: float) -> None:
        await over.wait()

    monkeypatch.setattr(limits, "sleep", until_over)
    asked = [asyncio.create_task(addresses.hold_up("1.2.3.4")) for _ in range(REFUSED_UNHEARD + MOST_HELD_UP + 3)]
    async with asyncio.timeout(5):
        await asyncio.wait(asked[-3:])
    assert sum(not each.done() for each in asked) == MOST_HELD_UP
    over.set()
    await asyncio.gather(*asked)
