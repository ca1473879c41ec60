"""What a BTP connection tells its owner. Bodies stay out of reprs: they hold tokens, claims and packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from shared.interledger.btp.frames import Entries, Error
    from shared.interledger.btp.login import Login


class CloseCode(IntEnum):
    """Why a WebSocket is closed, as its close frame says it."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    REFUSED = 1008
    TOO_LARGE = 1009
    REPLACED = 4001


@dataclass(frozen=True, slots=True)
class Send:
    """Send this as one binary message."""

    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket, after everything that was to be sent before. Nothing comes after this."""

    code: CloseCode
    reason: str


@dataclass(frozen=True, slots=True)
class LoginRequested:
    """A stranger says who it is: answer with `accept` or `reject`."""

    login: Login


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The peer has accepted our credentials: the connection is open."""


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """The peer has refused our credentials, with a code and a text, or said nothing in time (code "")."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class DataRequested:
    """The peer sent an ILP packet: answer with `respond_data`, or `refuse`."""

    request_id: int
    data: bytes = field(repr=False)
    entries: Entries = field(repr=False)


@dataclass(frozen=True, slots=True)
class MessageRequested:
    """The peer asked something that the owner said it reads; `name` is that of the first entry."""

    request_id: int
    name: str
    entries: Entries = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """The peer says it pays `amount` more: credit what the claim proves, commit, then `respond` (BTP-18, BTP-21)."""

    request_id: int
    amount: int
    entries: Entries = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer did what we asked."""

    request_id: int
    entries: Entries = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer did not do what we asked."""

    request_id: int
    error: Error


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody knows whether the peer did what we asked. `reason` is `timed_out` or `closed`."""

    request_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame that changes nothing; `reason` is a stable word for counters and debug logs."""

    reason: str


Event: TypeAlias = (
    Send
    | Close
    | LoginRequested
    | LoggedIn
    | LoginRefused
    | DataRequested
    | MessageRequested
    | TransferRequested
    | Answered
    | Refused
    | Failed
    | Ignored
)
