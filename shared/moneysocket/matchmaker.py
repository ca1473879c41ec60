"""The matchmaker: brings together the two diallers that name the same rendezvous, and copies frames between them.

| a dialler names an id                    | what is done                                                         |
|------------------------------------------|----------------------------------------------------------------------|
| that is not admitted                     | closed, `not_admitted`                                               |
| nobody waits for                         | waits (closed, `too_many`, when too many wait already)               |
| another one waits for                    | both joined; the later one is told first, as in the reference        |
| of two that are joined                   | closed, `taken`; the two are not disturbed                           |

When one of two leaves, the other is told and closed. A relay admits every id, an end that listens only those of its
own seeds: in the reference whoever listens is a relay for strangers, too. Ids are compared as they are written.

Sockets are known by a `key` of the caller's choice. Nothing is called back: after every call `take_outputs` says what
is to be done.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.moneysocket.dialler import Dialler
from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import CloseWanted, FrameForOther, Refused, RendezvousAsked
from shared.moneysocket.limits import DEFAULT_LIMITS, Limits
from shared.moneysocket.timetable import Timetable

Key: TypeAlias = Hashable


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send this binary message on that socket."""

    key: Key
    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close that socket; codes as in `CloseWanted`. It is forgotten already."""

    key: Key
    code: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Two sockets are joined from now on."""

    rendezvous_id: str
    first: Key
    second: Key


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame of that socket was dropped."""

    key: Key
    code: str


Output: TypeAlias = SendFrame | CloseSocket | Joined | Dropped


def admit_all(rendezvous_id: str) -> bool:
    """What a relay admits."""
    return bool(rendezvous_id)


class Matchmaker:
    """All sockets of one process that came in."""

    def __init__(
        self,
        *,
        admits: Callable[[str], bool] = admit_all,
        random: Callable[[int], bytes] = secrets.token_bytes,
        limits: Limits = DEFAULT_LIMITS,
        unix_offset_s: float = 0,
    ) -> None:
        self._admits = admits
        self._random = random
        self._limits = limits
        self._unix_offset_s = unix_offset_s
        self._diallers: dict[Key, Dialler] = {}
        self._waiting: dict[str, Key] = {}
        self._others: dict[Key, Key] = {}
        self._joined: set[str] = set()
        self._own: set[Key] = set()
        self._outputs: list[Output] = []
        self._timers: Timetable[Key] = Timetable()

    def __len__(self) -> int:
        """How many sockets there are."""
        return len(self._diallers)

    @property
    def waiting(self) -> int:
        """How many of them wait for their other end."""
        return len(self._waiting)

    @property
    def joined(self) -> int:
        """How many rendezvous are joined."""
        return len(self._joined)

    @property
    def next_timer_s(self) -> float | None:
        """When `tick` is to be called at the latest, if nothing else happens before; maybe in vain."""
        return self._timers.next_s

    def connected(self, key: Key, now_s: float, *, is_own: bool = False) -> None:
        """A socket came in, or (`is_own`) a session of this process: that one counts for no limit.

        Raises ProtocolError `already_started` if there is one with that key.
        """
        if key in self._diallers:
            raise ProtocolError("already_started", "there is a socket with this key")
        if is_own:
            self._own.add(key)
        elif len(self._diallers) - len(self._own) >= self._limits.max_diallers:
            self._outputs.append(CloseSocket(key, "too_many"))
            return
        self._diallers[key] = Dialler(
            now_s, random=self._random, limits=self._limits, unix_offset_s=self._unix_offset_s
        )
        self._after(key, now_s)

    def receive(self, key: Key, frame: bytes, now_s: float) -> None:
        """A binary message came in; from a socket that is not known (any more) it is dropped."""
        if dialler := self._diallers.get(key):
            dialler.receive(frame, now_s)
            self._after(key, now_s)

    def closed(self, key: Key, now_s: float) -> None:
        """A socket has gone."""
        self._forget(key, now_s)

    def tick(self, now_s: float) -> None:
        """Serve the timers that are due."""
        for key in self._timers.due(now_s):
            if dialler := self._diallers.get(key):
                dialler.tick(now_s)
                self._after(key, now_s)

    def turn_out(self, rendezvous_id: str, now_s: float) -> None:
        """Order: end a rendezvous, joined or waited for."""
        for key, dialler in list(self._diallers.items()):
            if dialler.rendezvous_id == rendezvous_id and key in self._diallers:
                dialler.end(now_s)
                self._after(key, now_s)

    def end_all(self, now_s: float) -> None:
        """Order: tell everybody that there is nobody any more, and close."""
        for key, dialler in list(self._diallers.items()):
            if key in self._diallers:
                dialler.end(now_s)
                self._after(key, now_s)

    def take_outputs(self) -> list[Output]:
        """What is to be done, in this order; each is handed out once."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def _after(self, key: Key, now_s: float) -> None:
        """Work on what a dialler reports, after every call to it."""
        dialler = self._diallers[key]
        for event in dialler.take_events():
            if isinstance(event, RendezvousAsked):
                self._match(key, dialler, now_s)
            elif isinstance(event, FrameForOther):
                self._send_on(key, event.frame, now_s)
            elif isinstance(event, Refused):
                self._outputs.append(Dropped(key, event.code))
            elif isinstance(event, CloseWanted):
                self._flush(key, dialler)
                self._forget(key, now_s)
                self._outputs.append(CloseSocket(key, event.code))
                return
        self._flush(key, dialler)
        self._timers.plan(key, dialler.next_timer_s)

    def _match(self, key: Key, dialler: Dialler, now_s: float) -> None:
        rendezvous_id = dialler.rendezvous_id
        if not self._admits(rendezvous_id):
            dialler.turn_away("not_admitted")
        elif rendezvous_id in self._joined:
            dialler.turn_away("taken")
        elif rendezvous_id in self._waiting:
            other = self._waiting.pop(rendezvous_id)
            self._others[key], self._others[other] = other, key
            self._joined.add(rendezvous_id)
            dialler.join(now_s)
            self._flush(key, dialler)
            self._diallers[other].join(now_s)
            self._after(other, now_s)
            self._outputs.append(Joined(rendezvous_id, other, key))
            return
        elif len(self._waiting) >= self._limits.max_waiting and key not in self._own:
            dialler.turn_away("too_many")
        else:
            self._waiting[rendezvous_id] = key
            dialler.wait(now_s)
            return
        self._after(key, now_s)

    def _send_on(self, key: Key, frame: bytes, now_s: float) -> None:
        other = self._others[key]
        self._diallers[other].forward(frame, now_s)
        self._flush(other, self._diallers[other])

    def _flush(self, key: Key, dialler: Dialler) -> None:
        self._outputs += [SendFrame(key, frame) for frame in dialler.take_frames()]

    def _forget(self, key: Key, now_s: float) -> None:
        dialler = self._diallers.pop(key, None)
        if dialler is None:
            return
        self._own.discard(key)
        self._timers.forget(key)
        if self._waiting.get(dialler.rendezvous_id) == key:
            del self._waiting[dialler.rendezvous_id]
        other = self._others.pop(key, None)
        if other is not None:
            del self._others[other]
            self._joined.discard(dialler.rendezvous_id)
            self._diallers[other].end(now_s)
            self._after(other, now_s)
