"""What time it is when our own clock is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from shared.obyte.ledger_clock import PROVIDERS_PAUSE_S, TOLERANCE_S
from tests.unit.worker.hub_fakes import Board, Time
from worker.ledger_clock import LedgerClock


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def board() -> Any:
    return Board()


@pytest.fixture
def clock(time: Time, board: Any) -> LedgerClock:
    return LedgerClock(lambda: time.own_s, lambda: time.monotonic_s, board)


def differs(board: Board) -> dict[str, Any] | None:
    return board.standing.get(("clock_differs", ""))


def test_a_clock_that_nothing_contradicts_is_believed(clock: LedgerClock, time: Time, board: Any) -> None:
    assert clock.now_s() == time.own_s
    clock.proven(time.own_s - 90)
    clock.told(time.own_s - TOLERANCE_S)
    clock.told(time.own_s + 600)  # nobody vouches for that
    assert clock.now_s() == time.own_s
    assert differs(board) is None


def test_a_late_clock_is_corrected_by_what_order_providers_have_signed(
    clock: LedgerClock, time: Time, board: Any
) -> None:
    clock.proven(time.own_s + 300)
    assert clock.now_s() == time.own_s + 300
    assert differs(board) == {"seconds": 300, "is_late": True}
    time.pass_by(50)
    assert clock.now_s() == time.own_s + 300
    clock.proven(time.own_s + 310)
    assert clock.now_s() == time.own_s + 310
    clock.proven(time.own_s + 200)  # an older proof says nothing new
    assert clock.now_s() == time.own_s + 310


def test_the_hub_says_how_late_a_late_clock_is_but_only_for_some_minutes(clock: LedgerClock, time: Time) -> None:
    clock.proven(time.own_s + 300)
    clock.told(time.own_s + 360)
    assert clock.now_s() == time.own_s + 360
    clock.told(time.own_s + 100_000)
    assert clock.now_s() == time.own_s + 300 + PROVIDERS_PAUSE_S


def test_a_clock_ahead_of_the_ledger_is_corrected_by_the_hub_but_never_below_what_is_proven(
    clock: LedgerClock, time: Time, board: Any
) -> None:
    clock.told(time.own_s - 400)
    assert clock.now_s() == time.own_s - 400
    assert differs(board) == {"seconds": 400, "is_late": False}
    clock.proven(time.own_s - 350)
    assert clock.now_s() == time.own_s - 350
    clock.told(time.own_s)
    assert clock.now_s() == time.own_s
    assert differs(board) is None


def test_a_clock_that_is_set_right_is_believed_at_once(clock: LedgerClock, time: Time, board: Any) -> None:
    clock.told(time.own_s - 400)
    time.own_s -= 400
    assert clock.now_s() == time.own_s
    clock.told(time.own_s)
    assert differs(board) is None


def test_a_machine_that_slept_does_not_live_in_the_past(clock: LedgerClock, time: Time) -> None:
    clock.proven(time.own_s - 30)
    clock.told(time.own_s)
    time.own_s += 7_200  # and its monotonic clock stood still
    assert clock.now_s() == time.own_s


def test_another_hub_has_to_speak_for_itself(clock: LedgerClock, time: Time) -> None:
    clock.told(time.own_s - 400)
    clock.another_hub()
    assert clock.now_s() == time.own_s
