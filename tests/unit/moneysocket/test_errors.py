"""Every code that is raised or reported is in the documentation of its class, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.moneysocket import errors, events

SOURCES = "\n".join(path.read_text() for path in Path(errors.__file__).parent.rglob("*.py"))
CLOSING = re.compile(
    r"(?:\.close|turn_away|\.end|CloseWanted|CloseSocket)\((?:now_s, |key, )?\"(\w+)\"|set_timer\(\"(\w+)\""
)
TIMERS_OF_DIALLERS = re.compile(r"limits\.\w+_s, \"(\w+)\"\)")


def codes_in(text: str | None) -> set[str]:
    return set(re.findall(r"`([a-z_0-9]+)`", text or ""))


@pytest.mark.parametrize(
    "kind", ["EncodingError", "BeaconError", "WadError", "MessageError", "FrameError", "ProtocolError"]
)
def test_codes_of_errors(kind: str) -> None:
    raised = set(re.findall(rf"{kind}\(\s*\"(\w+)\"", SOURCES))
    documented = codes_in(getattr(errors, kind).__doc__) - {"replay"}
    assert raised == documented


def test_codes_of_closing() -> None:
    used = {code for pair in CLOSING.findall(SOURCES) for code in pair if code} | set(
        TIMERS_OF_DIALLERS.findall(SOURCES)
    )
    assert used | {"rendezvous_ended", "silent"} == codes_in(events.CloseWanted.__doc__)
