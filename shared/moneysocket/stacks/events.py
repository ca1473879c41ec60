"""What connections report beyond what their sessions do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.moneysocket.events import Event

if TYPE_CHECKING:
    from shared.moneysocket.beacons import WebSocketLocation


@dataclass(frozen=True, slots=True)
class DialFailed(Event):
    """No socket could be opened there; the next location is tried, or the same after a pause."""

    location: WebSocketLocation
    text: str


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The connection has ended for good.

    Codes: `asked_to`; a reason that would be the same the next time, such as `same_role`; `broken`, when what makes
    its custom layers fails.
    """

    code: str
