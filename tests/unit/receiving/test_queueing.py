from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.receiving.queueing import PAYERS_SHARE, FairQueue

HOT = ("hot", "x")
QUIET = ("quiet", "y")


def test_each_payers_packages_are_taken_in_their_order() -> None:
    queue = FairQueue[int](100)
    for number in range(10):
        assert queue.add(HOT, number)
    assert queue.take(4) == [0, 1, 2, 3]
    assert queue.take(100) == [4, 5, 6, 7, 8, 9]
    assert len(queue) == 0


def test_who_sends_one_waits_for_one_of_each_other_payer_at_most() -> None:
    queue = FairQueue[str](100)
    for _ in range(20):
        queue.add(HOT, "hot")
    queue.add(QUIET, "quiet")
    assert queue.take(2) == ["hot", "quiet"]


def test_whoever_was_taken_comes_behind_the_others() -> None:
    queue = FairQueue[str](100)
    for _ in range(3):
        queue.add(HOT, "hot")
    for name in "abc":
        queue.add((name, name), name)
    assert queue.take(2) == ["hot", "a"]
    assert queue.take(2) == ["b", "c"]
    assert queue.take(9) == ["hot", "hot"]


def test_one_payer_has_a_part_of_the_room_and_the_others_the_rest() -> None:
    queue = FairQueue[int](40)
    assert [queue.add(HOT, n) for n in range(11)] == [True] * (40 // PAYERS_SHARE) + [False]
    assert [queue.add((str(n), ""), n) for n in range(31)] == [True] * 30 + [False]
    assert len(queue) == 40


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6))), st.integers(1, 30))
def test_nothing_is_lost_or_taken_twice(steps: list[tuple[int, int]], most: int) -> None:
    queue = FairQueue[tuple[int, int]](most)
    added, taken = [], []
    for number, (payer, size) in enumerate(steps):
        if queue.add((str(payer), ""), (payer, number)):
            added.append((payer, number))
        taken += (some := queue.take(size))
        assert len(some) <= size
        assert len(queue) == len(added) - len(taken) <= most
    taken += queue.take(most)
    assert sorted(taken) == sorted(added)
    for payer in {payer for payer, _ in added}:
        assert [each for each in taken if each[0] == payer] == [each for each in added if each[0] == payer]
