"""The life of a ledger plugin as a table: which step leads where, and what is told about it.

    at            CONNECT      READY        REFUSED      LOST           DISCONNECT   FAIL
    ------------  -----------  -----------  -----------  -------------  -----------  --------
    NEW           CONNECTING                                                         FAILED
    CONNECTING                 CONNECTED    NEW                         NEW          FAILED
    CONNECTED                                            RECONNECTING   NEW          FAILED
    RECONNECTING               CONNECTED                                NEW          FAILED
    FAILED

A step that leads nowhere changes nothing. `connect` is told on every entry to CONNECTED, `disconnect` on every exit
from it, so the two alternate (LPI-17); `error` on the entry to FAILED, which nothing leaves (LPI-13).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Literal, TypeAlias

EventName: TypeAlias = Literal["connect", "disconnect", "error"]
EVENTS: Final[tuple[EventName, ...]] = ("connect", "disconnect", "error")


class State(Enum):
    """Where a plugin is in its life."""

    NEW = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    RECONNECTING = auto()
    FAILED = auto()


class Step(Enum):
    """What happens to a plugin."""

    CONNECT = auto()
    READY = auto()
    REFUSED = auto()
    LOST = auto()
    DISCONNECT = auto()
    FAIL = auto()


_TABLE: Final = {
    (State.NEW, Step.CONNECT): State.CONNECTING,
    (State.NEW, Step.FAIL): State.FAILED,
    (State.CONNECTING, Step.READY): State.CONNECTED,
    (State.CONNECTING, Step.REFUSED): State.NEW,
    (State.CONNECTING, Step.DISCONNECT): State.NEW,
    (State.CONNECTING, Step.FAIL): State.FAILED,
    (State.CONNECTED, Step.LOST): State.RECONNECTING,
    (State.CONNECTED, Step.DISCONNECT): State.NEW,
    (State.CONNECTED, Step.FAIL): State.FAILED,
    (State.RECONNECTING, Step.READY): State.CONNECTED,
    (State.RECONNECTING, Step.DISCONNECT): State.NEW,
    (State.RECONNECTING, Step.FAIL): State.FAILED,
}


class Life:
    """Where one plugin is."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.NEW

    def take(self, step: Step) -> tuple[EventName, ...]:
        """Go where the step leads, and return what is to be told, in order."""
        before, after = self.state, _TABLE.get((self.state, step))
        if after is None:
            return ()
        self.state = after
        told: list[EventName] = []
        if before is State.CONNECTED:
            told.append("disconnect")
        if after is State.CONNECTED:
            told.append("connect")
        if after is State.FAILED:
            told.append("error")
        return tuple(told)
