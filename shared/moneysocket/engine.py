"""What turns inside a session: the stack of nexuses, their timers, and the wire below them.

| state   | start | receive, tick | send               | close   | end    |
|---------|-------|---------------|--------------------|---------|--------|
| NEW     | OPEN  | -             | -                  | CLOSING | CLOSED |
| OPEN    | -     | worked on     | sent               | CLOSING | CLOSED |
| CLOSING | -     | -             | -                  | -       | CLOSED |
| CLOSED  | -     | -             | -                  | -       | -      |

Every message that comes in passes, in this order: the size, the cipher, the rules of its kind, the replay guard (not
what is in clear or of no consequence: rendezvous, ping, pong), then the nexuses from the lowest up.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from shared.moneysocket.dialects import SLUICE, Dialect
from shared.moneysocket.errors import MoneysocketError, ProtocolError
from shared.moneysocket.events import (
    Announced,
    CloseWanted,
    Event,
    LayerChanged,
    LayerStatus,
    Refused,
    Revoked,
    Unhandled,
)
from shared.moneysocket.frames import BLOCK_BYTES, decode_frame, encode_frame
from shared.moneysocket.messages import Catalogue, Message, Notification, NotifyPong, Request, RequestPing
from shared.moneysocket.rules import is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.moneysocket.limits import Limits
    from shared.moneysocket.nexus import Asked, Nexus
    from shared.moneysocket.replay import ReplayGuard
    from shared.moneysocket.seeds import SharedSeed

_WITHOUT_CONSEQUENCE = (RequestPing, NotifyPong)
_UUID_BYTES = 16
_UUID_VERSION = 4


class State(Enum):
    """See the table above."""

    NEW = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


@dataclass(slots=True)
class Engine:
    """The works of one session."""

    seed: SharedSeed
    transport: str
    nexuses: tuple[Nexus, ...]
    random: Callable[[int], bytes]
    guard: ReplayGuard
    limits: Limits
    catalogue: Catalogue
    unix_offset_s: float = 0
    dialect: Dialect = SLUICE  # to write in
    state: State = State.NEW
    now_s: float = 0
    frames: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    timers: dict[tuple[int, str], float] = field(default_factory=dict)
    refused: int = 0
    created: int = 0
    announced: set[int] = field(default_factory=set)

    @property
    def is_announced(self) -> bool:
        """Whether the topmost nexus is usable."""
        return self.state is State.OPEN and len(self.nexuses) - 1 in self.announced

    def start(self) -> None:
        """The transport is open."""
        if self.state is not State.NEW:
            return
        self.state = State.OPEN
        for place, nexus in enumerate(self.nexuses):
            nexus.link = _Link(self, place)
        self.emit(LayerChanged(self.transport, LayerStatus.CREATED))
        self.emit(LayerChanged(self.transport, LayerStatus.ANNOUNCED))
        self._create(0)

    def receive(self, frame: bytes) -> None:
        """Work on a frame from the other end or from the matchmaker."""
        if self.state is not State.OPEN:
            return
        try:
            message = decode_frame(frame, self.seed, catalogue=self.catalogue)
            if not message.IN_CLEAR and not isinstance(message, _WITHOUT_CONSEQUENCE):
                self.guard.admit(message_uuid(message), message.timestamp, self.now_s + self.unix_offset_s)
            refused = self.refused
            self.hand_to(0, message)
            if self.refused == refused:
                self.refused = max(0, refused - 1)
        except MoneysocketError as error:  # of a layer, too: one may read what another has wrapped
            self.refuse(error.code, error.text)

    def tick(self) -> None:
        """Serve every timer that is due, the oldest first; each at most once, so that this ends."""
        due = sorted((when, key) for key, when in self.timers.items() if when <= self.now_s)
        for when, key in due:
            if self.state is State.OPEN and self.timers.get(key) == when:
                del self.timers[key]
                self.nexuses[key[0]].on_timer(key[1])

    def end(self) -> None:
        """The transport has gone."""
        if self.state is State.CLOSED:
            return
        was_announced = len(self.nexuses) - 1 in self.announced
        was_open = self.state is not State.NEW and self.created > 0
        self.state = State.CLOSED
        self.timers.clear()
        self.frames.clear()
        if not was_open:
            return
        created = self.nexuses[: self.created]
        for nexus in created:
            nexus.on_closed()
        self.emit(LayerChanged(self.transport, LayerStatus.DESTROYED))
        for nexus in created:
            self.emit(LayerChanged(nexus.LAYER, LayerStatus.DESTROYED))
        if was_announced:
            self.emit(Revoked())
        for place in sorted(self.announced, reverse=True):
            self.emit(LayerChanged(self.nexuses[place].LAYER, LayerStatus.REVOKED))
        self.emit(LayerChanged(self.transport, LayerStatus.REVOKED))

    def close(self, code: str) -> None:
        """Ask for the transport to be closed, once."""
        if self.state in (State.NEW, State.OPEN):
            self.state = State.CLOSING
            self.timers.clear()
            self.emit(CloseWanted(code))

    def send(self, message: Message) -> None:
        """Write a message; nothing is written once the session closes."""
        if self.state is not State.OPEN:
            return
        self.frames.append(encode_frame(message, self.seed, self.random(BLOCK_BYTES), self.dialect))
        self.guard.sent(message_uuid(message))

    def hand_to(self, place: int, message: Message) -> None:
        """Give a message to the nexus at `place`, if its layer is up; what nobody takes is reported."""
        if place < self.created:
            self.nexuses[place].on_message(message)
        else:
            reference = message.request_reference_uuid if isinstance(message, Notification) else None
            self.emit(Unhandled(message.NAME, reference))

    def announce(self, place: int) -> None:
        """The nexus at `place` is usable: create the next, or tell the application."""
        if place in self.announced or self.state is not State.OPEN:
            return
        self.announced.add(place)
        self.emit(LayerChanged(self.nexuses[place].LAYER, LayerStatus.ANNOUNCED))
        if place + 1 < len(self.nexuses):
            self._create(place + 1)
        else:
            self.emit(Announced())

    def emit(self, event: Event) -> None:
        """Report something."""
        self.events.append(event)

    def refuse(self, code: str, text: str) -> None:
        """Report that something was dropped; close when it becomes too much."""
        self.refused += 1
        self.emit(Refused(code, text))
        if self.refused >= self.limits.max_refused:
            self.close("too_many_refused")

    def new_uuid(self) -> str:
        """A random uuid."""
        return str(uuid.UUID(bytes=self.random(_UUID_BYTES), version=_UUID_VERSION))

    def _create(self, place: int) -> None:
        self.created = place + 1
        self.emit(LayerChanged(self.nexuses[place].LAYER, LayerStatus.CREATED))
        self.nexuses[place].on_created()


def message_uuid(message: Message) -> str:
    """The uuid that a message bears, whichever class it is of."""
    if isinstance(message, Request):
        return message.request_uuid
    return message.notification_uuid if isinstance(message, Notification) else ""


@dataclass(frozen=True, slots=True)
class _Link:
    """What one nexus sees of its session (`nexus.Link`)."""

    engine: Engine
    place: int

    @property
    def now_s(self) -> float:
        return self.engine.now_s

    @property
    def seed(self) -> SharedSeed:
        return self.engine.seed

    @property
    def limits(self) -> Limits:
        return self.engine.limits

    def request(self, kind: type[Asked], request_uuid: str | None = None, **fields: Any) -> Asked:
        if request_uuid is not None and not is_uuid(request_uuid, SLUICE):
            raise ProtocolError("bad_order", "a request is named by a uuid of the form 8-4-4-4-12")
        stamp = self.engine.now_s + self.engine.unix_offset_s
        message = kind(timestamp=stamp, request_uuid=request_uuid or self.engine.new_uuid(), **fields)
        self.pass_down(message)
        return message

    def notify(self, kind: type[Notification], reference: str | None, **fields: Any) -> None:
        stamp = self.engine.now_s + self.engine.unix_offset_s
        self.pass_down(
            kind(timestamp=stamp, notification_uuid=self.engine.new_uuid(), request_reference_uuid=reference, **fields)
        )

    def announce(self) -> None:
        self.engine.announce(self.place)

    def waiting(self) -> None:
        self.engine.emit(LayerChanged(self.engine.nexuses[self.place].LAYER, LayerStatus.WAITING))

    def pass_up(self, message: Message) -> None:
        self.engine.hand_to(self.place + 1, message)

    def pass_down(self, message: Message) -> None:
        if self.place == 0:
            self.engine.send(message)
        else:
            self.engine.nexuses[self.place - 1].on_send(message)

    def emit(self, event: Event) -> None:
        self.engine.emit(event)

    def refuse(self, code: str, text: str) -> None:
        self.engine.refuse(code, text)

    def set_timer(self, name: str, delay_s: float) -> None:
        self.engine.timers[self.place, name] = self.engine.now_s + delay_s

    def cancel_timer(self, name: str) -> None:
        self.engine.timers.pop((self.place, name), None)

    def close(self, code: str) -> None:
        self.engine.close(code)
