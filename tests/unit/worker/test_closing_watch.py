"""Alarms about closings come in time, say what is so, and go when it is over."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from shared.channels.model import Channel, Status
from shared.store.alarms import AlarmKind
from tests.unit.channels.builders import AGENT, open_channel
from worker.alarms import Alarms
from worker.closing_watch import ClosingLimits, ClosingWatch
from worker.metrics import CLOSING_DEADLINE, UNSETTLED

if TYPE_CHECKING:
    from worker.guard import Guard

STARTED_S = 5_000
LIMITS = ClosingLimits(warn_share=0.5, defend_share=0.7, overdue_s=600, failing_after=5, confirm_from=2_000)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alarms() -> Alarms:
    return Alarms(cast("Guard", None))  # nothing is written here


@pytest.fixture
def watch(alarms: Alarms, clock: Clock) -> ClosingWatch:
    return ClosingWatch(alarms, LIMITS, clock)


def closing_by_peer(claims: int = 50_000, signed: int = 50_000) -> Channel:
    # As settlement sees it: without the claim itself.
    channel = open_channel(spent_by_peer=signed)
    return replace(channel, status=Status.CLOSING_BY_PEER, close_started_at_s=STARTED_S, claimed_by_peer=claims)


def standing(alarms: Alarms) -> set[AlarmKind]:
    return {kind for kind in AlarmKind if alarms.subjects(kind)}


def test_a_deadline_is_announced_at_a_share_of_the_timeout_and_is_over_with_the_closing(
    watch: ClosingWatch, alarms: Alarms
) -> None:
    channel = closing_by_peer()
    watch.look([channel], now_s=STARTED_S + 499, attempts={})
    assert standing(alarms) == set()
    watch.look([channel], now_s=STARTED_S + 500, attempts={})
    assert alarms.subjects(AlarmKind.DEADLINE_NEAR) == {AGENT}
    watch.look([], now_s=STARTED_S + 501, attempts={})
    assert standing(alarms) == set()


def test_the_answer_may_cost_more_when_little_time_is_left(watch: ClosingWatch) -> None:
    assert not watch.is_near(closing_by_peer(), STARTED_S + 699)
    assert watch.is_near(closing_by_peer(), STARTED_S + 700)
    assert not watch.is_near(open_channel(), STARTED_S + 10**6)


def test_a_closing_that_is_left_to_the_peer_has_no_deadline(watch: ClosingWatch, alarms: Alarms) -> None:
    watch.look([closing_by_peer(0, 0)], now_s=STARTED_S + 999, attempts={})
    assert standing(alarms) == set()
    assert CLOSING_DEADLINE._value.get() == math.inf
    assert UNSETTLED._value.get() == 1


def test_the_metric_tells_how_long_the_first_closing_can_wait(watch: ClosingWatch) -> None:
    later = replace(closing_by_peer(), close_started_at_s=STARTED_S + 300)
    watch.look([later, closing_by_peer()], now_s=STARTED_S + 100, attempts={})
    assert CLOSING_DEADLINE._value.get() == 900


def test_a_fraud_is_announced_at_once(watch: ClosingWatch, alarms: Alarms) -> None:
    watch.look([closing_by_peer(claims=1)], now_s=STARTED_S, attempts={})
    assert standing(alarms) == {AlarmKind.FRAUD_SEEN}


def test_a_closing_of_ours_is_overdue_long_after_its_timeout(watch: ClosingWatch, alarms: Alarms) -> None:
    ours = replace(open_channel(), status=Status.CLOSING_BY_ME, close_started_at_s=STARTED_S)
    watch.look([ours], now_s=STARTED_S + 1_600, attempts={})
    assert standing(alarms) == set()
    watch.look([ours], now_s=STARTED_S + 1_601, attempts={})
    assert standing(alarms) == {AlarmKind.CLOSING_OVERDUE}


def test_a_closing_that_never_reaches_the_ledger_is_overdue_too(
    watch: ClosingWatch, alarms: Alarms, clock: Clock
) -> None:
    ordered = open_channel(period_closed_by_me=1)
    watch.look([ordered], now_s=0, attempts={})
    clock.now_s = 601
    watch.look([ordered], now_s=0, attempts={})
    assert standing(alarms) == {AlarmKind.CLOSING_OVERDUE}


def test_units_that_keep_failing_are_announced(watch: ClosingWatch, alarms: Alarms) -> None:
    watch.look([closing_by_peer()], now_s=STARTED_S, attempts={AGENT: 4})
    assert standing(alarms) == set()
    watch.look([closing_by_peer()], now_s=STARTED_S, attempts={AGENT: 5})
    assert standing(alarms) == {AlarmKind.TRIGGER_FAILING}
