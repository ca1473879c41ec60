from __future__ import annotations

import uuid

import pytest

from shared.moneysocket.errors import FrameError
from shared.moneysocket.replay import ReplayGuard

NOW = 1_700_000_000.0


def name(number: int) -> str:
    return str(uuid.UUID(int=number))


def verdict(guard: ReplayGuard, number: int, timestamp: float = NOW, now_s: float = NOW) -> str:
    try:
        guard.admit(name(number), timestamp, now_s)
    except FrameError as error:
        return error.code
    return "taken"


def test_a_uuid_is_taken_once_however_it_is_written() -> None:
    guard = ReplayGuard()
    guard.admit(name(5).upper(), NOW, NOW)
    assert verdict(guard, 5) == "replayed"


def test_what_is_forgotten_stays_refused_because_of_its_age() -> None:
    guard = ReplayGuard(capacity=10)
    for number in range(100):
        assert verdict(guard, number, NOW + number) == "taken"
    refusals = {verdict(guard, number, NOW + number, NOW + 100) for number in range(90)}
    assert refusals == {"too_old"}
    assert {verdict(guard, number, NOW + number, NOW + 100) for number in range(90, 100)} == {"replayed"}


def test_messages_may_overtake_each_other() -> None:
    guard = ReplayGuard(capacity=10)
    assert verdict(guard, 1, NOW + 5) == "taken"
    assert verdict(guard, 2, NOW) == "taken"


@pytest.mark.parametrize("timestamp", [NOW + 86_401, NOW - 86_401, float("inf"), float("nan"), 10**400])
def test_a_timestamp_far_from_our_clock_is_refused(timestamp: float) -> None:
    assert verdict(ReplayGuard(), 1, timestamp) == "wrong_time"


@pytest.mark.parametrize("off_s", [-40_000, 40_000])
def test_a_clock_that_is_hours_off_does_no_harm(off_s: float) -> None:
    guard = ReplayGuard(capacity=4)
    for number in range(100, 150):
        guard.sent(name(number))
        assert verdict(guard, number + 1000, NOW + number + off_s, NOW + number) == "taken"


def test_a_guard_outlives_its_process_by_one_number() -> None:
    first = ReplayGuard()
    for number in range(5):
        assert verdict(first, number, NOW + number) == "taken"
    second = ReplayGuard(forgotten_until=first.latest)
    assert [verdict(second, number, NOW + number) for number in range(6)] == ["too_old"] * 5 + ["taken"]


def test_our_own_messages_are_known_up_to_a_number() -> None:
    guard = ReplayGuard(capacity=2)
    for number in (1, 1, 2, 3):
        guard.sent(name(number))
    assert [verdict(guard, number) for number in (1, 2, 3)] == ["taken", "reflected", "reflected"]
