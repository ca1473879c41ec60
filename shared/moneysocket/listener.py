"""An end that listens: a matchmaker for its own seeds, joined from inside by a session for each of them.

| a seed is                | then                                                                               |
|--------------------------|------------------------------------------------------------------------------------|
| accepted                 | a session of it waits at the matchmaker, as if it had dialled                      |
| asked for by a dialler   | the two are joined and handshake as over a relay                                   |
| left by the dialler      | its session ends, and a new one waits in its place                                 |
| withdrawn                | its session ends, its dialler is told and closed                                   |

Provider or consumer, whichever session `accept` is told to make. In the reference only providers listen, a seed is
lost when its dialler leaves during the handshake, and withdrawing one always fails.

Frames of the inner sessions never leave the process; what is to be done for the sockets is handed out by
`take_outputs`, together with what the sessions report.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, Unpack

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.limits import DEFAULT_LIMITS, Limits
from shared.moneysocket.matchmaker import CloseSocket, Dropped, Joined, Key, Matchmaker, SendFrame
from shared.moneysocket.replay import ReplayGuard
from shared.moneysocket.session import OUTGOING_LOCAL, Options, Session
from shared.moneysocket.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.moneysocket.events import Event
    from shared.moneysocket.seeds import SharedSeed


class MakeSession(Protocol):
    """Makes a session for a seed, such as `ConsumerSession` or a partial `ProviderSession`."""

    def __call__(self, seed: SharedSeed, **options: Unpack[Options]) -> Session:
        """Make a session with these options; a new one each time."""


@dataclass(frozen=True, slots=True)
class SessionReported:
    """An event of the session that serves a seed."""

    rendezvous_id: str
    event: Event


ListenerOutput: TypeAlias = SendFrame | CloseSocket | Joined | Dropped | SessionReported


@dataclass(frozen=True, slots=True)
class _Inner:
    """The matchmaker's key for a session of ours; of several in turn the latest counts."""

    rendezvous_id: str
    turn: int


@dataclass(slots=True)
class _Place:
    """An accepted seed."""

    seed: SharedSeed
    make: MakeSession
    guard: ReplayGuard
    session: Session
    key: _Inner


class Listener:
    """All sockets of one process that came in, and the sessions they may be joined with."""

    def __init__(
        self,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        limits: Limits = DEFAULT_LIMITS,
        unix_offset_s: float = 0,
    ) -> None:
        self._random = random
        self._limits = limits
        self._unix_offset_s = unix_offset_s
        self._places: dict[str, _Place] = {}
        self._changed: dict[str, None] = {}
        self._outputs: list[ListenerOutput] = []
        self._timers: Timetable[str] = Timetable()
        self._matchmaker = Matchmaker(
            admits=self._places.__contains__, random=random, limits=limits, unix_offset_s=unix_offset_s
        )

    @property
    def next_timer_s(self) -> float | None:
        """When `tick` is to be called at the latest, if nothing else happens before; maybe in vain."""
        times = [when for when in (self._timers.next_s, self._matchmaker.next_timer_s) if when is not None]
        return min(times, default=None)

    def accept(self, seed: SharedSeed, make: MakeSession, now_s: float) -> None:
        """Order: be there for whoever dials with this seed. Raises ProtocolError `already_started`."""
        rendezvous_id = seed.rendezvous_id
        if rendezvous_id in self._places:
            raise ProtocolError("already_started", "this seed is accepted already")
        guard = ReplayGuard()
        session = self._make(seed, make, guard)
        self._places[rendezvous_id] = _Place(seed, make, guard, session, _Inner(rendezvous_id, 0))
        self._begin(self._places[rendezvous_id], now_s)
        self._settle(now_s)

    def withdraw(self, seed: SharedSeed, now_s: float) -> None:
        """Order: be there no more. Raises ProtocolError `unknown_request` if the seed is not accepted."""
        place = self._places.pop(seed.rendezvous_id, None)
        if place is None:
            raise ProtocolError("unknown_request", "this seed is not accepted")
        place.session.closed(now_s)
        self._report(place)
        self._timers.forget(seed.rendezvous_id)
        self._matchmaker.closed(place.key, now_s)
        self._settle(now_s)

    def session(self, seed: SharedSeed) -> Session | None:
        """The session that serves a seed now, to give orders to; call `pump` after an order."""
        place = self._places.get(seed.rendezvous_id)
        return place.session if place else None

    def pump(self, seed: SharedSeed, now_s: float) -> None:
        """Work on what an order to the session of `seed` has brought about."""
        self._changed[seed.rendezvous_id] = None
        self._settle(now_s)

    def connected(self, key: Key, now_s: float) -> None:
        """A socket came in. Raises ProtocolError `already_started` if there is one with that key."""
        self._matchmaker.connected(key, now_s)
        self._settle(now_s)

    def receive(self, key: Key, frame: bytes, now_s: float) -> None:
        """A binary message came in."""
        self._matchmaker.receive(key, frame, now_s)
        self._settle(now_s)

    def closed(self, key: Key, now_s: float) -> None:
        """A socket has gone."""
        self._matchmaker.closed(key, now_s)
        self._settle(now_s)

    def tick(self, now_s: float) -> None:
        """Serve the timers that are due."""
        for rendezvous_id in self._timers.due(now_s):
            if place := self._places.get(rendezvous_id):
                place.session.tick(now_s)
                self._changed[rendezvous_id] = None
        self._matchmaker.tick(now_s)
        self._settle(now_s)

    def take_outputs(self) -> list[ListenerOutput]:
        """What is to be done and what has happened, in this order; each is handed out once."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def _make(self, seed: SharedSeed, make: MakeSession, guard: ReplayGuard) -> Session:
        return make(
            seed,
            guard=guard,
            random=self._random,
            limits=self._limits,
            unix_offset_s=self._unix_offset_s,
            transport=OUTGOING_LOCAL,
        )

    def _begin(self, place: _Place, now_s: float) -> None:
        self._matchmaker.connected(place.key, now_s, is_own=True)
        place.session.connected(now_s)
        self._changed[place.seed.rendezvous_id] = None

    def _renew(self, place: _Place, now_s: float) -> None:
        """The session has ended: another one takes its place."""
        place.session.closed(now_s)
        self._report(place)
        place.session = self._make(place.seed, place.make, place.guard)
        place.key = _Inner(place.key.rendezvous_id, place.key.turn + 1)
        self._begin(place, now_s)

    def _settle(self, now_s: float) -> None:
        """Carry frames between the matchmaker and the sessions until both have said all."""
        while True:
            self._work_on_sessions(now_s)
            outputs = self._matchmaker.take_outputs()
            if not outputs and not self._changed:
                return
            for output in outputs:
                if isinstance(output, Joined) or not isinstance(output.key, _Inner):
                    self._outputs.append(output)
                else:
                    self._work_on_output(output, output.key, now_s)

    def _work_on_sessions(self, now_s: float) -> None:
        while self._changed:
            place = self._places.get(self._changed.popitem()[0])
            if place is None:
                continue
            for frame in place.session.take_frames():
                self._matchmaker.receive(place.key, frame, now_s)
            self._report(place)
            if place.session.wants_close:
                self._matchmaker.closed(place.key, now_s)
                self._renew(place, now_s)
            self._timers.plan(place.seed.rendezvous_id, place.session.next_timer_s)

    def _work_on_output(self, output: SendFrame | CloseSocket | Dropped, key: _Inner, now_s: float) -> None:
        place = self._places.get(key.rendezvous_id)
        if place is None or place.key != key:
            return
        if isinstance(output, SendFrame):
            place.session.receive(output.frame, now_s)
            self._changed[key.rendezvous_id] = None
        elif isinstance(output, CloseSocket):
            self._renew(place, now_s)

    def _report(self, place: _Place) -> None:
        self._outputs += [SessionReported(place.seed.rendezvous_id, event) for event in place.session.take_events()]
