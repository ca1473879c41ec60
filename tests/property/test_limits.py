"""The promises of limits: never more than is allowed in any time, and never a wait for who keeps to the rate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.limits.accounts import AccountsAwayError
from shared.limits.buckets import Limit
from shared.limits.limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.limits.accounts import Use

LIMITS = st.builds(
    Limit,
    st.just("l"),
    st.one_of(st.integers(1, 50).map(float), st.floats(0.2, 50)),
    st.sampled_from([1.0, 60.0, 3_600.0]),
)
PAUSES = st.lists(st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 5_000)), min_size=1, max_size=120)


class Clock:
    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class SharedAccounts:
    """What the script in Redis does, in memory."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.drained_s: dict[str, float] = {}
        self.asked = 0
        self.is_away = False

    async def add(self, uses: Sequence[Use]) -> list[float]:
        self.asked += 1
        if self.is_away:
            raise AccountsAwayError
        for use in uses:
            drained_s = max(self.drained_s.get(use.who, 0.0), self.clock())
            self.drained_s[use.who] = drained_s + use.count * use.limit.one_s
        return [self.drained_s[use.who] - self.clock() for use in uses]


def assert_within(limit: Limit, taken_s: list[float], fronts: int = 1) -> None:
    """In no window were more let through than at once plus at the rate."""
    for first, start_s in enumerate(taken_s):
        for last in range(first, len(taken_s)):
            most = max(limit.most, 1.0) + limit.most / limit.period_s * (taken_s[last] - start_s)
            assert last - first + 1 <= fronts * most + 1e-6


@given(LIMITS, PAUSES)
def test_never_more_than_the_limit_in_any_time(limit: Limit, pauses: list[float]) -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    taken_s = []
    for pause_s in pauses:
        clock.now_s += pause_s
        if limiter.take(limit, "a") == 0:
            taken_s.append(clock.now_s)
    assert_within(limit, taken_s)


@given(LIMITS, st.lists(st.floats(1.0, 3.0), min_size=1, max_size=100))
def test_who_keeps_to_the_rate_never_waits(limit: Limit, paces: list[float]) -> None:
    clock = Clock(1_600_000.0)
    limiter = Limiter(clock=clock)
    for pace in paces:
        clock.now_s += pace * limit.one_s
        assert limiter.wait_s(limit, "a") == 0
        assert limiter.take(limit, "a") == 0
        for _ in range(200):
            limiter.take(limit, "somebody else")


@given(LIMITS, PAUSES)
def test_who_comes_back_when_he_was_told_to_is_let_in(limit: Limit, pauses: list[float]) -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    for pause_s in pauses:
        clock.now_s += pause_s
        wait_s = limiter.take(limit, "a")
        if wait_s:
            assert wait_s <= limit.full_s + limit.one_s
            clock.now_s += wait_s
            assert limiter.take(limit, "a") == 0


@given(
    limit=LIMITS,
    steps=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 2), st.booleans()), max_size=120),
    is_away=st.booleans(),
)
def test_several_processes_each_keep_to_the_limit_whatever_they_hear(
    limit: Limit, steps: list[tuple[int, float, bool]], *, is_away: bool
) -> None:
    clock = Clock()
    accounts = SharedAccounts(clock)
    accounts.is_away = is_away
    fronts = [Limiter(accounts, clock=clock) for _ in range(3)]  # type: ignore[arg-type]
    taken_s: list[list[float]] = [[], [], []]

    async def run() -> None:
        for front, pause_s, shares in steps:
            clock.now_s += pause_s
            if fronts[front].take(limit, "a") == 0:
                taken_s[front].append(clock.now_s)
            if shares:
                for limiter in fronts:
                    await limiter.share()

    asyncio.run(run())
    for taken in taken_s:
        assert_within(limit, taken)


def test_processes_that_hear_of_each_other_keep_to_one_limit_together() -> None:
    clock = Clock()
    accounts = SharedAccounts(clock)
    limit = Limit("l", 100)
    fronts = [Limiter(accounts, clock=clock) for _ in range(4)]  # type: ignore[arg-type]
    taken = 0

    async def run() -> None:
        nonlocal taken
        for _ in range(40):  # ten seconds of a flood
            clock.now_s += 0.25
            for limiter in fronts:
                taken += sum(limiter.take(limit, "a") == 0 for _ in range(1_000))
            for limiter in fronts:
                await limiter.share()

    asyncio.run(run())
    in_one_share = len(fronts) * 100  # each may fill its bucket once before it hears of the others
    assert 1_000 <= taken <= 100 + 10 * 100 + in_one_share


def test_what_is_hardly_used_is_told_to_nobody() -> None:
    clock = Clock()
    accounts = SharedAccounts(clock)
    limiter = Limiter(accounts, clock=clock)  # type: ignore[arg-type]
    for _ in range(20):
        limiter.take(Limit("l", 1_000), "a")
    asyncio.run(limiter.share())
    assert accounts.asked == 0
    for _ in range(40):
        limiter.take(Limit("l", 1_000), "a")
    asyncio.run(limiter.share())
    assert accounts.asked == 1


def test_no_limit_is_no_limit() -> None:
    limiter = Limiter(clock=Clock())
    off = Limit("l", 0)
    assert all(limiter.take(off, "a") == 0 for _ in range(10_000))
    limiter.count(off, "a")
    assert limiter.wait_s(off, "a") == 0


@pytest.mark.parametrize("pause_s", [0.0, 10.0])
def test_buckets_are_forgotten_when_there_are_too_many(pause_s: float) -> None:
    clock = Clock()
    limiter = Limiter(clock=clock, max_buckets=100)
    limit = Limit("l", 1)
    for number in range(1_000):
        limiter.take(limit, str(number))
        clock.now_s += pause_s
    assert len(limiter._buckets["l"]) <= 100
    assert limiter.wait_s(limit, "999") == (0 if pause_s else pytest.approx(1))
