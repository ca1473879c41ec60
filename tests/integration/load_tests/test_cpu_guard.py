"""What a package costs, in instructions, from its bytes to the judgement: counted, not timed, and never more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from load_tests.cpu_guard import figures
from load_tests.cpu_guard.counting import BOUND_S, valgrind_program
from load_tests.cpu_guard.figures import Figures

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = Figures(package=1_000_000, reference=500_000, build={"python": "3.11.7"})


@pytest.mark.skipif(valgrind_program() is None, reason="instructions are counted by valgrind, which is not installed")
@pytest.mark.slow
@pytest.mark.timeout(BOUND_S + 40)
def test_a_package_costs_what_is_recorded() -> None:
    verdict = figures.compare(figures.measure(), figures.read())
    assert not verdict.has_grown, str(verdict)
    assert not verdict.has_fallen, str(verdict)


def test_a_tenth_more_than_recorded_is_too_much() -> None:
    assert not figures.compare(replace(RECORDED, package=1_099_999), RECORDED).has_grown
    assert figures.compare(replace(RECORDED, package=1_100_001), RECORDED).has_grown


def test_a_record_that_is_a_tenth_too_high_guards_nothing_and_has_to_be_written_anew() -> None:
    verdict = figures.compare(replace(RECORDED, package=890_000), RECORDED)
    assert verdict.has_fallen
    assert figures.RECORD in str(verdict)
    assert not figures.compare(replace(RECORDED, package=910_000), RECORDED).has_fallen


def test_with_another_python_only_the_ratio_to_the_reference_counts() -> None:
    elsewhere = Figures(package=2_000_000, reference=1_000_000, build={"python": "3.14.0"})
    assert not figures.compare(elsewhere, RECORDED).has_grown
    assert not figures.compare(replace(elsewhere, package=1_000_000), RECORDED).has_fallen
    assert not figures.compare(replace(elsewhere, package=2_280_000), RECORDED).has_grown
    assert figures.compare(replace(elsewhere, package=2_320_000), RECORDED).has_grown


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    figures.write(RECORDED, tmp_path / "recorded.json")
    assert figures.read(tmp_path / "recorded.json") == RECORDED
