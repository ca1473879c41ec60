"""A dialler, seen by the matchmaker: one socket of a relay or of an end that listens.

| state   | RequestRendezvous                     | encrypted frame        | other in clear | timer          |
|---------|---------------------------------------|------------------------|----------------|----------------|
| NEW     | `RendezvousAsked`                     | refused `out_of_order` | refused        | `nobody_asked` |
| ASKED   | close `asked_twice`                   | refused `out_of_order` | refused        | -              |
| WAITING | same id: NotReady again; other: close `asked_twice` | refused `out_of_order` | refused | `nobody_came` |
| JOINED  | close `asked_twice`                   | `FrameForOther`        | refused        | `idle`         |

| order       | in                   | sends                                     | then               |
|-------------|----------------------|-------------------------------------------|--------------------|
| `wait`      | ASKED                | NotifyRendezvousNotReady                  | WAITING            |
| `join`      | ASKED, WAITING       | NotifyRendezvous                          | JOINED             |
| `forward`   | JOINED               | the frame as it is                        |                    |
| `end`       | WAITING, JOINED      | NotifyRendezvousEnd                       | close with the code |
| `turn_away` | any                  |                                           | close with the code |

Only encrypted frames are ever forwarded, as they are: the reference also forwards what is in clear, by which a
dialler commands its other end without the seed. The two sockets of one rendezvous need not be in one process.
"""

from __future__ import annotations

import secrets
import uuid
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.moneysocket.errors import FrameError, MoneysocketError, ProtocolError
from shared.moneysocket.events import CloseWanted, Event, FrameForOther, Refused, RendezvousAsked
from shared.moneysocket.frames import BLOCK_BYTES, decode_frame, encode_clear_frame
from shared.moneysocket.limits import DEFAULT_LIMITS, Limits
from shared.moneysocket.messages import (
    Notification,
    NotifyRendezvous,
    NotifyRendezvousEnd,
    NotifyRendezvousNotReady,
    RequestRendezvous,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_UUID_BYTES = 16
_UUID_VERSION = 4


class DiallerState(Enum):
    """See the tables above."""

    NEW = auto()
    ASKED = auto()
    WAITING = auto()
    JOINED = auto()
    CLOSING = auto()


class Dialler:
    """One socket that came in. Frames, orders and time go in, frames and events come out, as with a session."""

    def __init__(
        self,
        now_s: float,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        limits: Limits = DEFAULT_LIMITS,
        unix_offset_s: float = 0,
    ) -> None:
        self.state = DiallerState.NEW
        self.rendezvous_id = ""
        self._random = random
        self._limits = limits
        self._unix_offset_s = unix_offset_s
        self._asked_uuid = ""
        self._refused = 0
        self._frames: list[bytes] = []
        self._events: list[Event] = []
        self._timer: tuple[float, str] | None = (now_s + limits.answer_s, "nobody_asked")

    @property
    def next_timer_s(self) -> float | None:
        """When `tick` is to be called, if nothing else happens before."""
        return self._timer[0] if self._timer else None

    def receive(self, frame: bytes, now_s: float) -> None:
        """A binary message came in."""
        if self.state is DiallerState.CLOSING:
            return
        try:
            message = decode_frame(frame, None)
        except FrameError as error:
            if error.code == "no_seed":
                self._take_encrypted(frame, now_s)
            else:
                self._refuse(error.code, error.text)
        except MoneysocketError as error:
            self._refuse(error.code, error.text)
        else:
            if isinstance(message, RequestRendezvous):
                self._take_request(message, now_s)
            else:
                self._refuse("out_of_order", f"{message.NAME} is nothing a dialler sends")

    def tick(self, now_s: float) -> None:
        """Serve the timer if it is due; it bears the name of the reason to close."""
        if self._timer and self._timer[0] <= now_s:
            self.end(now_s, self._timer[1])

    def wait(self, now_s: float) -> None:
        """Order: tell that nobody else is here yet. Raises ProtocolError `bad_order` unless it has just asked."""
        self._must_be(DiallerState.ASKED)
        self.state = DiallerState.WAITING
        self._timer = (now_s + self._limits.wait_s, "nobody_came")
        self._notify(NotifyRendezvousNotReady, now_s, self._asked_uuid)

    def join(self, now_s: float) -> None:
        """Order: tell that the other end is here. Raises ProtocolError `bad_order` unless it has asked."""
        self._must_be(DiallerState.ASKED, DiallerState.WAITING)
        self.state = DiallerState.JOINED
        self._timer = (now_s + self._limits.idle_s, "idle")
        self._notify(NotifyRendezvous, now_s, self._asked_uuid)

    def forward(self, frame: bytes, now_s: float) -> None:
        """Order: send on what the other end has sent. Dropped unless joined: the two may part at any time."""
        if self.state is DiallerState.JOINED:
            self._timer = (now_s + self._limits.idle_s, "idle")
            self._frames.append(frame)

    def end(self, now_s: float, code: str = "rendezvous_ended") -> None:
        """Order: tell one that waits or is joined that there is nobody (any more), and close."""
        if self.state in (DiallerState.WAITING, DiallerState.JOINED):
            self._notify(NotifyRendezvousEnd, now_s, None)
        self.turn_away(code)

    def turn_away(self, code: str) -> None:
        """Order: close without a word."""
        if self.state is not DiallerState.CLOSING:
            self.state = DiallerState.CLOSING
            self._timer = None
            self._events.append(CloseWanted(code))

    def take_frames(self) -> list[bytes]:
        """Binary messages to send, in this order; each is handed out once."""
        frames, self._frames = self._frames, []
        return frames

    def take_events(self) -> list[Event]:
        """What has happened, in this order; each is handed out once."""
        events, self._events = self._events, []
        return events

    def _take_request(self, message: RequestRendezvous, now_s: float) -> None:
        if self.state is DiallerState.NEW:
            self.state = DiallerState.ASKED
            self.rendezvous_id, self._asked_uuid = message.rendezvous_id, message.request_uuid
            self._timer = None
            self._events.append(RendezvousAsked(message.rendezvous_id))
        elif self.state is DiallerState.WAITING and message.rendezvous_id == self.rendezvous_id:
            self._asked_uuid = message.request_uuid
            self._notify(NotifyRendezvousNotReady, now_s, self._asked_uuid)
            self._refuse("asked_twice", "a dialler asked again while it waits")
        else:
            self.turn_away("asked_twice")

    def _take_encrypted(self, frame: bytes, now_s: float) -> None:
        if self.state is not DiallerState.JOINED:
            self._refuse("out_of_order", "an encrypted frame came before the rendezvous")
        elif len(frame) < 2 * BLOCK_BYTES or len(frame) % BLOCK_BYTES:
            self._refuse("impossible_length", "an encrypted frame is an iv and whole blocks of 16 bytes")
        else:
            self._timer = (now_s + self._limits.idle_s, "idle")
            self._refused = max(0, self._refused - 1)
            self._events.append(FrameForOther(frame))

    def _must_be(self, *states: DiallerState) -> None:
        if self.state not in states:
            raise ProtocolError("bad_order", f"the dialler is {self.state.name}")

    def _refuse(self, code: str, text: str) -> None:
        self._refused += 1
        self._events.append(Refused(code, text))
        if self._refused >= self._limits.max_refused:
            self.turn_away("too_many_refused")

    def _notify(self, kind: type[Notification], now_s: float, reference: str | None) -> None:
        fields = {"rendezvous_id": self.rendezvous_id}
        message = kind(
            timestamp=now_s + self._unix_offset_s,
            notification_uuid=str(uuid.UUID(bytes=self._random(_UUID_BYTES), version=_UUID_VERSION)),
            request_reference_uuid=reference,
            **fields,  # type: ignore[arg-type] # the three kinds sent from here have this field
        )
        self._frames.append(encode_clear_frame(message))
