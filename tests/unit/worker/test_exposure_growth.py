from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from shared.channels.exposure import ExposureRules
from worker.exposure import Exposure, ExposurePace, _Before

if TYPE_CHECKING:
    from worker.alarms import Alarms
    from worker.guard import Guard


@pytest.fixture
def exposure() -> Exposure:
    nobody = cast("Guard", None), cast("Alarms", None)
    return Exposure(
        *nobody, ExposureRules({}), on_order=lambda: None, monotonic=lambda: 0.0, pace=ExposurePace(round_s=2.0)
    )


def test_growth_is_foretold_for_the_interval_that_comes(exposure: Exposure) -> None:
    exposure._before = {"base": _Before(total=1_000, at_s=100.0)}
    exposure._interval_s = 8.0
    assert exposure._growth("base", 1_500, 104.0) == 1_000
    assert exposure._growth("base", 900, 104.0) == -200


def test_nothing_is_foretold_of_what_was_not_measured_before(exposure: Exposure) -> None:
    exposure._before = {"base": _Before(total=1_000, at_s=100.0)}
    assert exposure._growth("other", 1_500, 104.0) == 0
    assert exposure._growth("base", 1_500, 100.0) == 0
