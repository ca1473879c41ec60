from __future__ import annotations

import pytest
from moneysocket_support import dice

from shared.moneysocket.beacons import WebSocketLocation
from shared.moneysocket.errors import BeaconError
from shared.moneysocket.redialling import Redialler, RedialState

A, B = WebSocketLocation("a.example"), WebSocketLocation("b.example")


def longest(count: int) -> bytes:
    return b"\xff" * count


def test_all_locations_are_dialled_at_once_before_there_is_a_pause() -> None:
    redialler = Redialler([A, B], 100, random=longest)
    assert redialler.tick(100) == A
    assert redialler.tick(100) is None
    redialler.failed(101)
    assert redialler.tick(101) == B
    redialler.failed(102)
    assert redialler.next_timer_s == pytest.approx(103)
    assert redialler.tick(102.9) is None
    assert redialler.tick(103) == A


def test_pauses_double_up_to_a_longest_one() -> None:
    redialler, now_s, pauses = Redialler([A], 0, random=longest), 0.0, []
    for _ in range(200):
        assert redialler.tick(now_s) == A
        redialler.failed(now_s)
        assert redialler.next_timer_s is not None
        pauses.append(round(redialler.next_timer_s - now_s))
        now_s = redialler.next_timer_s
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[-1] == 60


def test_those_who_were_cut_off_together_do_not_come_back_together() -> None:
    pauses = set()
    for number in range(20):
        redialler = Redialler([A], 0, random=dice(number))
        redialler.tick(0)
        redialler.failed(0)
        pauses.add(redialler.next_timer_s)
    assert len(pauses) == 20
    assert all(pause is not None and 0.5 <= pause <= 1 for pause in pauses)


def test_a_connection_that_stood_is_dialled_again_soon_and_at_the_same_place() -> None:
    redialler = Redialler([A, B], 0, random=longest)
    redialler.tick(0)
    redialler.failed(0)
    assert redialler.tick(0) == B
    redialler.announced()
    assert (redialler.state, redialler.next_timer_s) == (RedialState.CONNECTED, None)
    redialler.lost(500, "rendezvous_ended")
    assert redialler.next_timer_s == pytest.approx(501)
    assert redialler.tick(501) == B


def test_a_connection_that_stood_makes_pauses_short_again() -> None:
    redialler, now_s = Redialler([A, B], 0, random=longest), 0.0
    for _ in range(9):
        now_s = redialler.next_timer_s or 0
        redialler.tick(now_s)
        redialler.failed(now_s)
    redialler.tick(now_s)
    redialler.announced()
    redialler.lost(now_s)
    assert redialler.next_timer_s == pytest.approx(now_s + 1)
    assert redialler.tick(now_s + 1) == B
    redialler.failed(now_s + 1)
    assert redialler.tick(now_s + 1) == A


@pytest.mark.parametrize("code", ["same_role", "asked_to"])
def test_what_would_end_the_same_way_is_not_dialled_again(code: str) -> None:
    redialler = Redialler([A], 0)
    redialler.tick(0)
    redialler.lost(1, code)
    assert (redialler.state, redialler.next_timer_s, redialler.tick(1000)) == (RedialState.STOPPED, None, None)
    redialler.failed(1001)
    redialler.announced()
    assert redialler.state is RedialState.STOPPED


def test_a_beacon_without_a_location_cannot_be_dialled() -> None:
    with pytest.raises(BeaconError):
        Redialler([], 0)
