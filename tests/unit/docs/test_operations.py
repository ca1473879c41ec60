"""docs/operations.md and its pages know what the source knows: every alarm, every reason, every code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.settings import Settings, variable_of
from shared.store.alarms import AlarmKind
from tests.unit.infra.test_watching import metrics

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/operations.md").read_text()
ALARMS = (ROOT / "docs/operations/alarms.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`\n\n(.*?)(?=^##|\Z)", ALARMS, re.DOTALL | re.MULTILINE))


def source(*files: str) -> str:
    return "\n".join(path.read_text() for file in files for path in sorted(ROOT.glob(file)))


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_alarm_has_its_section_with_all_that_is_asked_at_night(kind: AlarmKind) -> None:
    section = " ".join(SECTIONS[kind.value].split())
    assert section.startswith(f"**{kind.severity.capitalize()}. Means:**")
    parts = re.findall(r"\*\*(?:\w+\. )?(Means|Causes|Do|Goes away):\*\* (.+?)(?= \*\*|$)", section)
    assert [name for name, _ in parts] == ["Means", "Causes", "Do", "Goes away"]
    assert all(len(text) > 5 for _, text in parts)


def test_every_reason_of_a_front_that_is_not_ready_is_explained() -> None:
    reasons = set(re.findall(r'(?:return|reasons =) \["(\w+)"\]', source("front/doors/health.py")))
    assert len(reasons) >= 6
    assert set(SECTIONS) == reasons | {kind.value for kind in AlarmKind}


def test_every_reason_for_which_a_worker_cannot_run_is_explained() -> None:
    codes = set(re.findall(r'ConfigurationError\(\s*"(\w+)"', source("worker/*.py", "worker/*/*.py")))
    assert "wallet_unreadable" in codes
    table = ALARMS.partition("| `worker_cannot_run` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == codes


def test_every_metric_of_the_worker_is_watched() -> None:
    section = GUIDE.partition("## What to watch")[2].partition("\n## ")[0]
    assert set(re.findall(r"\bsluice_[a-z_]+", section)) == metrics()


def test_variables_and_links_are_there() -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    for text in (GUIDE, ALARMS):
        assert set(re.findall(r"\bSLUICE_[A-Z_]*[A-Z]\b", text)) - {"SLUICE_WALLET_FILE"} <= known
    explained = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[A-Z].*?) \|", GUIDE, re.MULTILINE))))
    assert set(re.findall(r"\$\{?([A-Z_]+)", GUIDE)) <= known | explained | {"PGDATA"}
    for page, text in ((ROOT / "docs/operations.md", GUIDE), (ROOT / "docs/operations/alarms.md", ALARMS)):
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([\w-]+))?\)", text):
            found = page if not target else (page.parent / target).resolve()
            assert found.exists(), target
            if anchor:
                assert anchor in anchors(found), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
