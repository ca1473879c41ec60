"""What a check of the doctor's says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: what was found, and what to do about it where something is to be done."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""
