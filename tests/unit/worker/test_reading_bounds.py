"""How far back each address is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.obyte.history import ProvenHistory, ProvenUnit
from shared.store.ledger_events import LastEvent
from worker import bounds as bounds_module
from worker.bounds import Batch, Bounds

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def bounds() -> Bounds:
    return Bounds()


def asked(bounds: Bounds, *addresses: str) -> list[tuple[tuple[str, ...], int | None]]:
    return [(batch.addresses, batch.min_mci) for batch in bounds.batches(addresses)]


def read_up_to(bounds: Bounds, addresses: Sequence[str], *mcis: int, unproven: int | None = None) -> None:
    units = [ProvenUnit({"unit": "u"}, is_stable=True, mci_hint=mci) for mci in mcis]
    if unproven is not None:
        units.append(ProvenUnit({"unit": "v"}, is_stable=False, mci_hint=unproven))
    bounds.read(addresses, ProvenHistory(tuple(units)))


def test_b12_an_address_that_was_never_read_has_no_lower_bound_whatever_others_have(bounds: Bounds) -> None:
    read_up_to(bounds, ["A"], 500)
    assert asked(bounds, "A", "B") == [(("B",), None), (("A",), 500)]


def test_b12_a_batch_is_asked_from_its_lowest_bound(bounds: Bounds) -> None:
    read_up_to(bounds, ["A"], 500)
    read_up_to(bounds, ["B"], 300)
    assert asked(bounds, "A", "B") == [(("B", "A"), 300)]


def test_what_cannot_be_proven_yet_is_asked_for_again(bounds: Bounds) -> None:
    read_up_to(bounds, ["A"], 400, 500, unproven=480)
    assert asked(bounds, "A") == [(("A",), 480)]


def test_bounds_never_go_back_and_an_empty_answer_tells_nothing(bounds: Bounds) -> None:
    read_up_to(bounds, ["A"], 500)
    read_up_to(bounds, ["A"], 200)
    read_up_to(bounds, ["B"])
    assert asked(bounds, "A", "B") == [(("B",), None), (("A",), 500)]


def test_what_a_hub_told_is_worth_nothing_in_another_connection(bounds: Bounds) -> None:
    read_up_to(bounds, ["A"], 500)
    bounds.start_over()
    assert bounds.unknown(["A"]) == ["A"]
    assert asked(bounds, "A") == [(("A",), None)]


def test_a_channel_with_events_is_asked_from_the_last_one_and_has_to_repeat_it(bounds: Bounds) -> None:
    bounds.begin_at({"A": LastEvent(7, "last of A", 700), "B": LastEvent(2, "last of B", 200)})
    batches = list(bounds.batches(["A", "B", "C"]))
    assert batches == [
        Batch(("C",), None),
        Batch(("B", "A"), 200, {"A": "last of A", "B": "last of B"}),
    ]


def test_an_event_without_an_index_bounds_nothing(bounds: Bounds) -> None:
    bounds.begin_at({"A": LastEvent(7, "last of A", 0)})
    assert asked(bounds, "A") == [(("A",), None)]


def test_what_was_read_in_this_connection_needs_not_be_repeated(bounds: Bounds) -> None:
    bounds.begin_at({"A": LastEvent(7, "last of A", 700)})
    read_up_to(bounds, ["A"], 720)
    bounds.begin_at({"A": LastEvent(7, "last of A", 700)})
    assert list(bounds.batches(["A"])) == [Batch(("A",), 720)]


def test_a_forgotten_address_is_read_from_the_beginning(bounds: Bounds) -> None:
    read_up_to(bounds, ["A", "B"], 500)
    bounds.forget("A")
    assert asked(bounds, "A", "B") == [(("A",), None), (("B",), 500)]


def test_requests_are_bounded_and_become_smaller_when_answers_are_too_large(
    bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds_module, "FIRST_BATCH", 4)
    assert [len(addresses) for addresses, _ in asked(bounds, "A", "B", "C", "D", "E")] == [4, 1]
    bounds.ask_for_less()
    assert [len(addresses) for addresses, _ in asked(bounds, "A", "B", "C")] == [1, 1, 1]
    for _ in range(20):
        bounds.ask_for_less()
    assert [len(addresses) for addresses, _ in asked(bounds, "A", "B")] == [1, 1]
