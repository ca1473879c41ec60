"""One side of one BTP connection without I/O: binary messages in, events out.

A connection goes one way: FIRST (servers: nobody has said who he is) → LOGIN (it is being decided who the peer is, or
who we are) → OPEN → CLOSED. What each side does with what comes in:

    what comes            FIRST (server)              LOGIN (both)                 OPEN
    --------------------  --------------------------  ---------------------------  -----------------------------------
    text                  Close 1003                  Close 1003                   Close 1003
    no frame              Close 1002                  Close 1002                   Close 1002
    too large             Close 1009                  Close 1009                   Close 1009
    MESSAGE, a login      LoginRequested, → LOGIN     held back                    as any MESSAGE (BTP-11)
    MESSAGE               Send ERROR F00, Close 1008  held back                    see `Answering`
    TRANSFER              Send ERROR F00, Close 1008  held back                    see `Answering`
    RESPONSE, to a login  —                           LoggedIn, → OPEN             Ignored
    ERROR, to a login     —                           LoginRefused, Close 1008     Ignored
    RESPONSE              Send ERROR F00, Close 1008  Ignored                      Answered; to nothing: Ignored
    ERROR                 Send ERROR F00, Close 1008  Ignored                      Refused; to nothing: Ignored
    silence               Close 1008                  client: LoginRefused, Close  Failed, for what we asked

What is held back comes in order as soon as the login is accepted (interledger-rs does not wait for it). RESPONSE and
ERROR are never answered in OPEN, so two of these cannot talk for ever (BTP-15). Whatever ends a connection fails what
we asked over it: nobody knows what became of that. Ping and pong are the WebSocket's (BTP-2). Times are seconds of
any clock that never goes back; nothing here raises because of what a peer sent.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

from shared.interledger.btp import refusals
from shared.interledger.btp.answering import Answering
from shared.interledger.btp.asking import Asking
from shared.interledger.btp.events import (
    Answered,
    Close,
    CloseCode,
    Event,
    Ignored,
    LoggedIn,
    LoginRefused,
    LoginRequested,
    Refused,
    Send,
)
from shared.interledger.btp.frames import (
    Entries,
    Frame,
    Message,
    Response,
    Transfer,
    decode_frame,
    encode_frame,
)
from shared.interledger.btp.limits import Limits
from shared.interledger.btp.login import LoginError, login_entries, read_login
from shared.interledger.btp.subprotocols import entries_for
from shared.interledger.errors import DecodingError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from shared.interledger.btp.subprotocols import Value

Role: TypeAlias = Literal["client", "server"]


class State(Enum):
    """How far a connection has come."""

    FIRST = auto()
    LOGIN = auto()
    OPEN = auto()
    CLOSED = auto()


class BtpConnection:
    """One side of one connection.

    `utc` dates our ERROR frames. `reads` are the names of the sub-protocols that the owner decodes himself, other than
    `ilp`: their JSON is left to him, and a MESSAGE that begins with one of them is his. `request_ids` gives 32-bit
    numbers, by default those of `Asking`.
    """

    def __init__(
        self,
        role: Role,
        *,
        now_s: float,
        utc: Callable[[], datetime],
        reads: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        request_ids: Callable[[], int] | None = None,
    ) -> None:
        self.role = role
        self.state = State.FIRST
        self._utc = utc
        self._limits = limits or Limits()
        self._asking = Asking(self._limits, request_ids)
        self._login_id = 0
        self._login_until: float | None = now_s + self._limits.login_s
        self._held: list[tuple[Message | Transfer, int]] = []
        self._held_bytes = 0
        self._answering = Answering(reads, self._limits, utc)

    @property
    def owes(self) -> int:
        """How many requests of the peer wait for our answer."""
        return len(self._answering)

    @property
    def next_deadline_s(self) -> float | None:
        """When `tick` has something to say unless something comes before; None for never."""
        moments = (self._asking.next_deadline_s, self._login_until)
        return None if self.state is State.CLOSED else min((it for it in moments if it is not None), default=None)

    # What comes in

    def receive(self, message: bytes | str) -> list[Event]:
        """Take one WebSocket message; str stands for a text message, which BTP does not have (BTP-1)."""
        if self.state is State.CLOSED:
            return []
        if isinstance(message, str):
            return self.close(CloseCode.UNSUPPORTED_DATA, "BTP is binary")
        limit = self._limits.first_frame_bytes if self.state is State.FIRST else self._limits.frame_bytes
        try:
            frame = decode_frame(message, limit)
        except DecodingError as error:
            too_large = len(message) > limit
            return self.close(CloseCode.TOO_LARGE if too_large else CloseCode.PROTOCOL_ERROR, str(error))
        match self.state:
            case State.FIRST:
                return self._first(frame)
            case State.LOGIN:
                return self._during_login(frame, len(message))
            case _:
                return self._frame(frame, len(message))

    def tick(self, now_s: float) -> list[Event]:
        """Say what has taken too long by now."""
        if self.state is State.CLOSED:
            return []
        if self._login_until is not None and now_s >= self._login_until:
            refused: list[Event] = []
            if self.role == "client" and self.state is State.LOGIN:
                refused.append(LoginRefused("", "the peer did not answer our login in time"))  # BTP-13
            return refused + self.close(CloseCode.REFUSED, "no login in time")  # BTP-8
        return [*self._asking.late(now_s)]

    def lost(self) -> list[Event]:
        """Say what is to be given up now that the socket is gone."""
        return [event for event in self.close(CloseCode.NORMAL, "") if not isinstance(event, Close)]

    # Logging in

    def log_in(
        self, now_s: float, *, username: str = "", token: str = "", flags: Mapping[str, Value] | None = None
    ) -> bytes:
        """Return the first frame of a client. Raises StateError `not_open`, EncodingError."""
        if self.role != "client" or self.state is not State.FIRST:
            raise StateError("not_open", "login", "is what a client begins with, once")
        self._login_id = self._asking.new_id()
        frame = encode_frame(Message(self._login_id, login_entries(username, token, flags)), self._limits.frame_bytes)
        self._login_until = now_s + self._limits.response_s
        self.state = State.LOGIN
        return frame

    def accept(self) -> list[Event]:
        """Let in the peer of `LoginRequested`; what it sent meanwhile comes now. Raises StateError `not_judging`."""
        self._check_judging()
        return [Send(encode_frame(Response(self._login_id))), *self._open()]

    def reject(self, message: str, name: str = refusals.NOT_ACCEPTED) -> list[Event]:
        """Refuse the peer of `LoginRequested` and close, for some clients wait for that (BTP-6).

        Raises StateError `not_judging`.
        """
        self._check_judging()
        return self._refuse_login(self._login_id, message, name)

    # Answering

    def respond(self, request_id: int, entries: Entries = ()) -> bytes:
        """Return the RESPONSE to a request. Raises StateError `not_answering`; EncodingError, then nothing changes."""
        self._answering.check(request_id)
        frame = encode_frame(Response(request_id, entries), self._limits.frame_bytes)
        self._answering.ended(request_id)
        return frame

    def respond_data(self, request_id: int, data: bytes) -> bytes:
        """Return the RESPONSE to `DataRequested`. Raises as `respond`."""
        return self.respond(request_id, entries_for(ilp=data))

    def refuse(self, request_id: int, name: str, message: str) -> bytes:
        """Return the ERROR to a request; its code follows from the name. Raises StateError `not_answering`."""
        self._answering.check(request_id)
        self._answering.ended(request_id)
        return encode_frame(refusals.refusal(request_id, name, message, self._utc()))

    # Asking

    def ask_data(self, data: bytes, now_s: float) -> tuple[int, bytes]:
        """Return id and frame of a request that carries an ILP packet. Raises as `ask`."""
        return self.ask(entries_for(ilp=data), now_s)

    def ask(self, entries: Entries, now_s: float) -> tuple[int, bytes]:
        """Return id and frame of a MESSAGE. Raises StateError `not_open` or `request_limit`, EncodingError."""
        return self._asked(Message(self._new_id(), entries), now_s)

    def pay(self, amount: int, entries: Entries, now_s: float) -> tuple[int, bytes]:
        """Return id and frame of a TRANSFER of `amount` more. Raises as `ask`."""
        return self._asked(Transfer(self._new_id(), amount, entries), now_s)

    def forget(self, request_id: int) -> None:
        """Wait no longer for an answer; a late one is ignored (LPI-26)."""
        self._asking.ended(request_id)

    # Ending

    def drain(self) -> None:
        """From now on refuse new requests with T00 and new logins; what is being answered can be finished (HA-5)."""
        self._answering.draining = True

    def close(self, code: CloseCode, reason: str) -> list[Event]:
        """End the connection: what we asked fails, and the owner closes the socket. Nothing the second time."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        self._answering.clear()
        self._held.clear()
        return [*self._asking.all_failed(), Close(code, reason)]

    # The table above

    def _first(self, frame: Frame) -> list[Event]:
        if self.role == "client":
            return self.close(CloseCode.PROTOCOL_ERROR, "the server spoke before we had logged in")
        try:
            login = read_login(frame)
        except LoginError as error:
            return self._refuse_login(frame.request_id, str(error), refusals.NOT_ACCEPTED)
        if self._answering.draining:
            return self._refuse_login(frame.request_id, "going away", refusals.UNREACHABLE)
        self._login_id = frame.request_id
        # From here on it is we who take the time.
        self._login_until = None
        self.state = State.LOGIN
        return [LoginRequested(login)]

    def _during_login(self, frame: Frame, size: int) -> list[Event]:
        if isinstance(frame, Message | Transfer):
            self._held_bytes += size
            if len(self._held) >= self._limits.held_frames or self._held_bytes > self._limits.held_bytes:
                return self.close(CloseCode.REFUSED, "too many requests before the login was answered")
            self._held.append((frame, size))
            return []
        if self.role == "server" or frame.request_id != self._login_id:
            return [Ignored("answer_to_nothing")]
        if isinstance(frame, Response):
            return [LoggedIn(), *self._open()]
        refused = LoginRefused(frame.code, refusals.message_in(frame))
        return [refused, *self.close(CloseCode.REFUSED, "the peer refused our login")]

    def _frame(self, frame: Frame, size: int) -> list[Event]:
        if isinstance(frame, Message | Transfer):
            return [self._answering.take(frame, size)]
        if not self._asking.ended(frame.request_id):
            return [Ignored("answer_to_nothing")]
        if isinstance(frame, Response):
            return [Answered(frame.request_id, frame.entries)]
        return [Refused(frame.request_id, frame)]

    def _open(self) -> list[Event]:
        self.state = State.OPEN
        self._login_until = None
        held, self._held = self._held, []
        return list(chain.from_iterable(self._frame(frame, size) for frame, size in held))

    def _refuse_login(self, request_id: int, message: str, name: str) -> list[Event]:
        return [self._error(request_id, name, message), *self.close(CloseCode.REFUSED, "the login was refused")]

    def _error(self, request_id: int, name: str, message: str) -> Send:
        return Send(encode_frame(refusals.refusal(request_id, name, message, self._utc())))

    def _asked(self, frame: Message | Transfer, now_s: float) -> tuple[int, bytes]:
        octets = encode_frame(frame, self._limits.frame_bytes)
        self._asking.began(frame.request_id, now_s)
        return frame.request_id, octets

    def _new_id(self) -> int:
        if self.state is not State.OPEN:
            raise StateError("not_open", "request", "needs a connection that is open")
        return self._asking.new_id()

    def _check_judging(self) -> None:
        if self.role != "server" or self.state is not State.LOGIN:
            raise StateError("not_judging", "login", "is not being decided")
