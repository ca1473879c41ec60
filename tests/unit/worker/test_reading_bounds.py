"""How far back each address is asked for."""

from __future__ import annotations

from typing import Any

from shared.obyte.history import ProvenHistory, ProvenUnit
from worker import reading
from worker.reading import LedgerReader


def reader() -> LedgerReader:
    unused: Any = None
    return LedgerReader(unused, unused, unused, unused, unused, unused, unused)


def batches(made: LedgerReader, *addresses: str) -> list[tuple[list[str], int | None]]:
    return list(made._batches(addresses))


def read_up_to(made: LedgerReader, batch: list[str], *mcis: int, unproven: int | None = None) -> None:
    units = [ProvenUnit({"unit": "u"}, is_stable=True, mci_hint=mci) for mci in mcis]
    if unproven is not None:
        units.append(ProvenUnit({"unit": "v"}, is_stable=False, mci_hint=unproven))
    made._remember_bounds(batch, ProvenHistory(tuple(units)))


def test_b12_an_address_that_was_never_read_has_no_lower_bound_whatever_others_have() -> None:
    made = reader()
    read_up_to(made, ["A"], 500)
    assert batches(made, "A", "B") == [(["B"], None), (["A"], 500)]


def test_b12_a_batch_is_asked_from_its_lowest_bound() -> None:
    made = reader()
    read_up_to(made, ["A"], 500)
    read_up_to(made, ["B"], 300)
    assert batches(made, "A", "B") == [(["B", "A"], 300)]


def test_what_cannot_be_proven_yet_is_asked_for_again() -> None:
    made = reader()
    read_up_to(made, ["A"], 400, 500, unproven=480)
    assert batches(made, "A") == [(["A"], 480)]


def test_bounds_never_go_back_and_an_empty_answer_tells_nothing() -> None:
    made = reader()
    read_up_to(made, ["A"], 500)
    read_up_to(made, ["A"], 200)
    read_up_to(made, ["B"])
    assert batches(made, "A", "B") == [(["B"], None), (["A"], 500)]


def test_a_new_connection_reads_every_channel_whole() -> None:
    made = reader()
    read_up_to(made, ["A"], 500)
    made.start_over()
    assert batches(made, "A") == [(["A"], None)]


def test_requests_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "FIRST_BATCH", 2)
    made = reader()
    assert [len(batch) for batch, _ in batches(made, "A", "B", "C", "D", "E")] == [2, 2, 1]
