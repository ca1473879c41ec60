"""Which location to dial, and when: all of a beacon's in turn, at once, then again after a pause that doubles.

| state     | `tick` when due        | `failed`                             | `announced` | `lost`                |
|-----------|------------------------|--------------------------------------|-------------|-----------------------|
| PAUSING   | DIALLING, the next one | -                                    | -           | -                     |
| DIALLING  | -                      | PAUSING: the next, after all a pause | CONNECTED   | as `failed`           |
| CONNECTED | -                      | as `lost`                            | -           | PAUSING: the same one |
| STOPPED   | -                      | -                                    | -           | -                     |

`stop` leads from anywhere to STOPPED, and so does `lost` for a reason that would be the same the next time. Pauses are
drawn from the upper half of their length: those who were cut off together do not come back together. The libraries dial
the first location only, and once.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.moneysocket.errors import BeaconError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.moneysocket.beacons import WebSocketLocation

SHORTEST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
FINAL_CODES = frozenset({"asked_to", "same_role"})
"""Reasons of `CloseWanted` after which dialling again would be of no use."""

_FRACTION_BYTES = 4
_MAX_DOUBLINGS = 32


class RedialState(Enum):
    """See the table above."""

    PAUSING = auto()
    DIALLING = auto()
    CONNECTED = auto()
    STOPPED = auto()


class Redialler:
    """The attempts of one beacon. Raises BeaconError `bad_location` if nothing in it can be dialled."""

    def __init__(
        self,
        locations: Sequence[WebSocketLocation],
        now_s: float,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        shortest_s: float = SHORTEST_PAUSE_S,
        longest_s: float = LONGEST_PAUSE_S,
    ) -> None:
        if not locations:
            raise BeaconError("bad_location", "the beacon has no location that can be dialled")
        self.state = RedialState.PAUSING
        self._locations = tuple(locations)
        self._random = random
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._place = 0
        self._tried = 0
        self._rounds = 0
        self._due_s = now_s

    @property
    def next_timer_s(self) -> float | None:
        """When `tick` is to be called."""
        return self._due_s if self.state is RedialState.PAUSING else None

    def tick(self, now_s: float) -> WebSocketLocation | None:
        """The location to dial now, once it is due."""
        if self.state is not RedialState.PAUSING or now_s < self._due_s:
            return None
        self.state = RedialState.DIALLING
        return self._locations[self._place]

    def failed(self, now_s: float) -> None:
        """The socket did not open, or the session on it was never announced."""
        if self.state is RedialState.CONNECTED:
            self._pause(now_s, self._pause_s())
        elif self.state is RedialState.DIALLING:
            self._place = (self._place + 1) % len(self._locations)
            self._tried += 1
            if self._tried < len(self._locations):
                self._pause(now_s, 0)
            else:
                self._tried = 0
                self._pause(now_s, self._pause_s())
                self._rounds += 1

    def announced(self) -> None:
        """The session is announced: from here on pauses are short again, and this location is the first to try."""
        if self.state is RedialState.DIALLING:
            self.state = RedialState.CONNECTED
            self._tried = self._rounds = 0

    def lost(self, now_s: float, code: str | None = None) -> None:
        """The socket has gone; `code` is that of the session's `CloseWanted`, if it had one."""
        if code in FINAL_CODES:
            self.stop()
        else:
            self.failed(now_s)

    def stop(self) -> None:
        """Order: dial no more."""
        self.state = RedialState.STOPPED

    def _pause(self, now_s: float, pause_s: float) -> None:
        self.state = RedialState.PAUSING
        self._due_s = now_s + pause_s

    def _pause_s(self) -> float:
        length_s = min(self._shortest_s * (1 << min(self._rounds, _MAX_DOUBLINGS)), self._longest_s)
        fraction = int.from_bytes(self._random(_FRACTION_BYTES), "big") / (1 << 8 * _FRACTION_BYTES)
        return length_s * (1 + fraction) / 2
