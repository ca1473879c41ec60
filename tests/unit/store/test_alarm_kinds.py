"""That `docs/operations/alarms.md` has every alarm is held by the tests of the documentation."""

from __future__ import annotations

import pytest

from shared.store.alarms import AlarmKind


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_alarm_has_advice_of_one_sentence(kind: AlarmKind) -> None:
    assert kind.advice.endswith(".")
    assert "\n" not in kind.advice
