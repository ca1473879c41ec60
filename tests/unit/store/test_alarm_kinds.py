from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.store.alarms import AlarmKind

PAGE = Path(__file__).parents[3] / "docs" / "running.md"
ROW = re.compile(r"^\| `(\w+)` \| (warning|critical) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_operators_find_every_alarm_with_its_severity_and_what_to_do() -> None:
    explained = {kind: severity for kind, severity, *_ in ROW.findall(PAGE.read_text(encoding="utf-8"))}

    assert explained == {kind.value: kind.severity for kind in AlarmKind}


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_alarm_has_advice_of_one_sentence(kind: AlarmKind) -> None:
    assert kind.advice.endswith(".")
    assert "\n" not in kind.advice
