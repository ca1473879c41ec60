"""How a stack opens, holds and closes its sockets, and where it listens: all that can be set."""

from __future__ import annotations

import secrets
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.moneysocket.beacons import WebSocketLocation
from shared.moneysocket.limits import DEFAULT_LIMITS, Limits
from shared.moneysocket.redialling import LONGEST_PAUSE_S, SHORTEST_PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOPBACK = "127.0.0.1"
_MAX_UNSENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wires:
    """Sockets, time and randomness of one stack or relay; seconds end in `_s`."""

    limits: Limits = DEFAULT_LIMITS
    """Of the protocol: frames, requests, waiting, connections."""

    tls: ssl.SSLContext | None = None
    """For dialling `wss`; without one certificates are verified by the system's authorities."""

    open_s: float = 10
    """For a socket to open, in either direction."""

    close_s: float = 2
    """For the other end to answer a close, before the socket is cut."""

    ping_s: float | None = 20
    """Between two pings of the WebSocket itself, which every peer answers, also libraries that never send
    Moneysocket's own; whoever does not answer for as long is cut off. None: none."""

    max_unsent_bytes: int = _MAX_UNSENT_BYTES
    """What may wait for a socket that does not read, before it is cut."""

    shortest_pause_s: float = SHORTEST_PAUSE_S
    """The first pause after every location of a beacon has failed; it doubles from time to time."""

    longest_pause_s: float = LONGEST_PAUSE_S
    """Where the doubling ends."""

    clock: Callable[[], float] = time.monotonic
    """Seconds that never go back."""

    random: Callable[[int], bytes] = secrets.token_bytes
    """So many random bytes."""

    @property
    def unix_offset_s(self) -> float:
        """What makes the clock's time Unix time, as of now."""
        return time.time() - self.clock()


@dataclass(frozen=True, slots=True)
class ListenAt:
    """Where to listen, and as what others see it.

    With `certificate` (a PEM file: the certificate, then its chain) and `key` (another) TLS is spoken directly;
    behind a proxy that does, leave them out and name its address in `external`.
    """

    host: str = LOOPBACK
    port: int = 0
    """0 takes a free one."""
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)
    external: tuple[WebSocketLocation, ...] = ()
    """What beacons are to name; the host and port themselves unless given."""

    def tls(self) -> ssl.SSLContext | None:
        """What to serve TLS with. Raises OSError (ssl.SSLError is one) for files that cannot be used."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def locations(self, port: int) -> tuple[WebSocketLocation, ...]:
        """What beacons name, once the port is known."""
        return self.external or (WebSocketLocation(self.host, port, use_tls=self.certificate is not None),)
