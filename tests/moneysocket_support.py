"""Two ends of Moneysocket and a matchmaker between them, in one process, with time and randomness of their own."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, TypeVar

from shared.moneysocket.events import Event, LayerChanged
from shared.moneysocket.frames import decode_frame, encode_frame
from shared.moneysocket.limits import DEFAULT_LIMITS, Limits
from shared.moneysocket.matchmaker import CloseSocket, Matchmaker, Output, SendFrame
from shared.moneysocket.messages import Message, Notification
from shared.moneysocket.provider import ProviderInfo
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.session import ConsumerSession, ProviderSession, Session
from shared.moneysocket.wads import bitcoin

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = SharedSeed(bytes(range(16)))
OTHER_SEED = SharedSeed(bytes(16))
NOW = 1_700_000_000.0
ACCOUNT = "b7c1d1f4-6a1b-4d1e-9a6c-0123456789ab"
INFO = ProviderInfo(ACCOUNT, payer=True, payee=True, wad=bitcoin(1_000_000))
BOLT11 = "lnbc10n1example"
Wanted = TypeVar("Wanted", bound=Event)


def dice(start: int = 1) -> Callable[[int], bytes]:
    """Repeatable randomness."""
    return random.Random(start).randbytes


class Table:
    """Sessions that dial one matchmaker; `settle` carries frames until both sides have said all."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, **options: Any) -> None:
        self.now_s = NOW
        self.matchmaker = Matchmaker(random=dice(99), limits=limits, **options)
        self.sessions: dict[str, Session] = {}
        self.outputs: list[Output] = []
        self.frames: list[tuple[str, bytes]] = []

    def dial(self, name: str, session: Session) -> Session:
        self.sessions[name] = session
        self.matchmaker.connected(name, self.now_s)
        session.connected(self.now_s)
        self.settle()
        return session

    def settle(self) -> None:
        busy = True
        while busy:
            busy = False
            for name, session in list(self.sessions.items()):
                for frame in session.take_frames():
                    busy = True
                    self.frames.append((name, frame))
                    self.matchmaker.receive(name, frame, self.now_s)
                if session.wants_close:
                    self.hang_up(name)
            for output in self.matchmaker.take_outputs():
                busy = True
                self.outputs.append(output)
                if isinstance(output, SendFrame) and output.key in self.sessions:
                    self.sessions[str(output.key)].receive(output.frame, self.now_s)
                elif isinstance(output, CloseSocket) and output.key in self.sessions:
                    self.sessions.pop(str(output.key)).closed(self.now_s)

    def hang_up(self, name: str) -> None:
        self.sessions.pop(name).closed(self.now_s)
        self.matchmaker.closed(name, self.now_s)

    def later(self, seconds: float) -> None:
        """Let time pass, from timer to timer."""
        until = self.now_s + seconds
        while True:
            timers = [self.matchmaker.next_timer_s, *(session.next_timer_s for session in self.sessions.values())]
            when = min((timer for timer in timers if timer is not None), default=until)
            self.now_s = max(self.now_s, min(when, until))
            self.matchmaker.tick(self.now_s)
            for session in list(self.sessions.values()):
                session.tick(self.now_s)
            self.settle()
            if when >= until:
                return


def consumer(seed: SharedSeed = SEED, **options: Any) -> ConsumerSession:
    return ConsumerSession(seed, **{"random": dice(1), **options})


def provider(info: ProviderInfo | None = INFO, seed: SharedSeed = SEED, **options: Any) -> ProviderSession:
    return ProviderSession(seed, info, **{"random": dice(2), **options})


def pair(**options: Any) -> tuple[Table, ConsumerSession, ProviderSession]:
    """A consumer and a provider that have found each other; what they reported on the way is taken."""
    table, asking, providing = Table(), consumer(**options), provider(**options)
    table.dial("consumer", asking)
    table.dial("provider", providing)
    for session in (asking, providing):
        session.take_events()
    return table, asking, providing


def happened(session: Session) -> list[Event]:
    """What was reported, but for the changes of layers."""
    return [event for event in session.take_events() if not isinstance(event, LayerChanged)]


def only(events: list[Event], kind: type[Wanted]) -> Wanted:
    """The one event of that kind."""
    (event,) = [event for event in events if isinstance(event, kind)]
    return event


_names = itertools.count(1)


def frame_of(kind: type[Message], seed: SharedSeed = SEED, timestamp: float = NOW, **fields: Any) -> bytes:
    """A frame as the other end would make it."""
    name = f"00000000-0000-4000-8000-{next(_names):012x}"
    if issubclass(kind, Notification):
        fields = {"notification_uuid": name, "request_reference_uuid": None, **fields}
    else:
        fields = {"request_uuid": name, **fields}
    return encode_frame(kind(timestamp=timestamp, **fields), seed, dice(next(_names))(16))


def read(frame: bytes, seed: SharedSeed = SEED) -> Message:
    return decode_frame(frame, seed)
