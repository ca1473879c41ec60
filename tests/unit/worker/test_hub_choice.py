from __future__ import annotations

from tests.unit.worker.hub_fakes import Time
from worker.hub_choice import HubChoice


def choice_of(*urls: str) -> tuple[HubChoice, Time]:
    time = Time()
    return HubChoice(urls, lambda: time.monotonic_s), time


def test_hubs_are_asked_in_their_order_until_all_have_failed() -> None:
    choice, _ = choice_of("a", "b")
    assert choice.next() == choice.next() == "a"
    choice.failed("a")
    assert choice.next() == "b"
    choice.failed("b")
    assert choice.next() is None
    assert choice.next() == "a"


def test_when_one_has_worked_all_others_may_be_tried_again() -> None:
    choice, _ = choice_of("a", "b")
    choice.failed("a")
    choice.works()
    choice.failed("b")
    assert choice.next() == "a"


def test_a_hub_set_aside_comes_last_until_its_time_is_over() -> None:
    choice, time = choice_of("a", "b", "c")
    choice.failed("a", set_aside_s=100)
    choice.works()
    assert choice.next() == "b"
    choice.failed("b")
    choice.failed("c")
    assert choice.next() == "a"
    choice.works()
    time.pass_by(100)
    assert choice.next() == "a"


def test_of_hubs_set_aside_the_one_whose_time_ends_first_comes_first() -> None:
    choice, _ = choice_of("a", "b")
    choice.failed("a", set_aside_s=200)
    choice.failed("b", set_aside_s=100)
    assert choice.next() is None
    assert choice.next() == "b"


def test_better_hubs_are_those_before_it_that_did_not_lie() -> None:
    choice, _ = choice_of("a", "b", "c")
    assert choice.better_than("c") == ("a", "b")
    choice.failed("a", set_aside_s=100)
    assert choice.better_than("c") == ("b",)
    assert choice.better_than("a") == ()
