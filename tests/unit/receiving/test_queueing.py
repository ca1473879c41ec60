from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from shared.receiving import queueing
from shared.receiving.queueing import PAYERS_SHARE, PAYERS_TURNS, STRANGERS_SHARE, FairQueue, Payer

if TYPE_CHECKING:
    import pytest

HOT = ("hot", "x")
QUIET = ("quiet", "y")


def queue_of(most: int, *known: Payer) -> FairQueue[Any]:
    queue = FairQueue[Any](most)
    for payer in known:
        queue.remember(payer)
    return queue


def test_each_payers_packages_are_taken_in_their_order() -> None:
    queue = queue_of(100, HOT)
    for number in range(10):
        assert queue.add(HOT, number)
    assert queue.take(4) == [0, 1, 2, 3]
    assert queue.take(100) == [4, 5, 6, 7, 8, 9]
    assert len(queue) == 0


def test_who_sends_one_waits_for_one_of_each_other_payer_at_most() -> None:
    queue = queue_of(100, HOT, QUIET)
    for _ in range(20):
        queue.add(HOT, "hot")
    queue.add(QUIET, "quiet")
    assert queue.take(2) == ["hot", "quiet"]


def test_whoever_was_taken_comes_behind_the_others() -> None:
    queue = queue_of(100, HOT, *((name, name) for name in "abc"))
    for _ in range(3):
        queue.add(HOT, "hot")
    for name in "abc":
        queue.add((name, name), name)
    assert queue.take(2) == ["hot", "a"]
    assert queue.take(2) == ["b", "c"]
    assert queue.take(9) == ["hot", "hot"]


def test_one_payer_has_a_part_of_the_room_and_the_others_the_rest() -> None:
    queue = queue_of(40, HOT, *((str(n), "") for n in range(31)))
    assert [queue.add(HOT, n) for n in range(11)] == [True] * (40 // PAYERS_SHARE) + [False]
    assert [queue.add((str(n), ""), n) for n in range(31)] == [True] * 30 + [False]
    assert len(queue) == 40


def test_while_others_wait_nobody_has_more_than_a_part_of_a_batch() -> None:
    queue = queue_of(100, HOT, QUIET)
    for _ in range(20):
        queue.add(HOT, "hot")
    queue.add(QUIET, "quiet")
    assert sorted(queue.take(40)) == [*["hot"] * (40 // PAYERS_TURNS), "quiet"]
    assert queue.take(40) == ["hot"] * 15


def test_strangers_have_half_of_a_batch_while_others_wait() -> None:
    queue = queue_of(100, QUIET)
    for number in range(30):
        queue.add((str(number), ""), "stranger")
    queue.add(QUIET, "quiet")
    assert sorted(queue.take(40)) == ["quiet", *["stranger"] * (40 // STRANGERS_SHARE)]


def test_strangers_share_one_turn_however_many_signers_they_make_up() -> None:
    queue = queue_of(100, QUIET)
    for number in range(30):
        queue.add(("somebody's channel", f"signer {number}"), "stranger")
    queue.add(QUIET, "quiet")
    assert queue.take(2) == ["stranger", "quiet"]


def test_strangers_have_a_part_of_the_room_and_who_has_paid_here_the_rest() -> None:
    queue = queue_of(40, QUIET)
    assert [queue.add((str(n), ""), n) for n in range(21)] == [True] * (40 // STRANGERS_SHARE) + [False]
    assert queue.add(QUIET, 0)


def test_so_many_are_remembered_and_who_paid_longest_ago_is_a_stranger_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "MOST_KNOWN", 2)
    queue = queue_of(100, QUIET, HOT, QUIET, ("third", ""))
    for payer in (HOT, ("a", "a")):
        queue.add(payer, "stranger")
    queue.add(QUIET, "known")
    assert queue.take(2) == ["stranger", "known"]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6))), st.integers(1, 30))
def test_nothing_is_lost_or_taken_twice(steps: list[tuple[int, int]], most: int) -> None:
    queue = queue_of(most, *((str(payer), "") for payer in range(3)))
    added, taken = [], []
    for number, (payer, size) in enumerate(steps):
        if queue.add((str(payer), ""), (payer, number)):
            added.append((payer, number))
        taken += (some := queue.take(size))
        assert len(some) <= size
        assert len(queue) == len(added) - len(taken) <= most
    while some := queue.take(most):
        taken += some
    assert len(queue) == 0
    assert sorted(taken) == sorted(added)
    for payer in {payer for payer, _ in added}:
        assert [each for each in taken if each[0] == payer] == [each for each in added if each[0] == payer]
