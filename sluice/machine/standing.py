"""The alarms that stand, as `sluice doctor` tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.store import alarms
from sluice.machine.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.store.alarms import Alarm
    from shared.store.database import Connection

_CHECK = "alarms"


async def check_alarms(conn: Connection) -> AsyncIterator[Finding]:
    """Tell every alarm that the worker has raised, with what to do about it; a critical one fails the check."""
    standing = await alarms.active(conn)
    if not standing:
        yield Finding(_CHECK, Verdict.OK, "none")
    for alarm in standing:
        verdict = Verdict.FAIL if alarm.kind.severity == "critical" else Verdict.WARN
        yield Finding(_CHECK, verdict, _told(alarm), alarm.kind.advice)


def _told(alarm: Alarm) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in sorted(alarm.facts.items()) if value is not None)
    about = f" {alarm.subject}" if alarm.subject else ""
    return f"{alarm.kind.value}{about} since {alarm.raised_at:%Y-%m-%d %H:%M:%SZ}{f': {facts}' if facts else ''}"
