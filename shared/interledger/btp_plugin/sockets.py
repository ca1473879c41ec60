"""WebSockets as BTP has them: binary, uncompressed, pinged, no redirects (BTP-1, BTP-2, BTP-3).

A server's sockets are strangers until they have logged in. These are counted from the moment that TCP has them, before
any of their bytes is read, and one too many is cut off at once: nothing else of ours notices it (BTP-8, BTP-10).
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import InvalidStatus, WebSocketException

from shared.interledger.btp.frames import MAX_FRAME_BYTES
from shared.interledger.plugin.errors import NotAcceptedError, UnreachableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from shared.interledger.btp_plugin.options import BtpOptions, ListenerOptions

MISSED_PINGS = 2
CLOSE_S = 1.0

_CLIENT_ERRORS = range(400, 500)
_TOO_MANY_REQUESTS = 429
# The library writes whole frames to its debug log, and logins are frames (LPI-14).
_SILENT = logging.getLogger("shared.interledger.btp_plugin.websockets")
_SILENT.setLevel(logging.CRITICAL + 1)


class Strangers:
    """Sockets that have not logged in: how many there are, from which addresses."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more; False if it is one too many, and then it does not count."""
        if self._by_address.total() >= self._most or self._by_address[address] >= self._most_per_address:
            return False
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less."""
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class Guest(ServerConnection):
    """A socket that somebody has opened to us."""

    def __init__(self, strangers: Strangers, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._strangers = strangers
        self._counts_at: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, or cut it off."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if self._strangers.enter(address):
            self._counts_at = address
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self.is_known()
        super().connection_lost(exc)

    def is_known(self) -> None:
        """It has logged in: it is no stranger any longer."""
        if self._counts_at is not None:
            self._strangers.leave(self._counts_at)
            self._counts_at = None


class _Dialling(connect):
    def process_redirect(self, exc: Exception) -> Exception:
        # Somebody who only answers HTTP must not say who gets our token.
        return exc


async def dial(url: str, options: BtpOptions) -> ClientConnection:
    """Open a WebSocket. Raises UnreachableError, or NotAcceptedError if no other attempt will end otherwise."""
    try:
        return await _Dialling(
            url,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=options.limits.response_s,
            close_timeout=CLOSE_S,
            logger=_SILENT,
            ping_interval=options.ping_s,
            ping_timeout=MISSED_PINGS * options.ping_s,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        if status in _CLIENT_ERRORS and status != _TOO_MANY_REQUESTS:
            raise NotAcceptedError(f"the server answers HTTP {status}") from None
        raise UnreachableError(f"the server answers HTTP {status}") from None
    except (OSError, WebSocketException, ValueError) as error:
        raise UnreachableError(f"the server cannot be reached: {type(error).__name__}") from None


async def listen(
    listener: ListenerOptions, options: BtpOptions, serve_guest: Callable[[Guest], Awaitable[None]]
) -> Server:
    """Listen; every socket is given to `serve_guest` and closed when that returns. Raises UnreachableError."""
    strangers = Strangers(options.strangers, options.strangers_per_address)
    try:
        return await serve(
            serve_guest,  # type: ignore[arg-type]  # every connection is made by what create_connection says
            listener.host,
            listener.port,
            ssl=listener.ssl,
            create_connection=partial(Guest, strangers),  # type: ignore[arg-type]
            compression=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=options.limits.login_s,
            close_timeout=CLOSE_S,
            logger=_SILENT,
            ping_interval=options.ping_s,
            ping_timeout=MISSED_PINGS * options.ping_s,
        )
    except OSError as error:
        raise UnreachableError(f"cannot listen: {type(error).__name__}") from None
