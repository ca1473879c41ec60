"""From what an operator or a channel calls a peer to the way that leads there."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Self

import httpx

from shared.obyte.chash import is_valid_device_address
from shared.obyte.errors import ObyteError
from shared.obyte.pairing import parse_pairing_code
from shared.peers.errors import PeerError, PeerUnreachableError
from worker.peers.http import HttpTransport
from worker.peers.messenger import MessengerTransport
from worker.peers.transport import REQUEST_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.peers.messenger import Asker
    from worker.peers.transport import PeerTransport

CONNECT_TIMEOUT_S = 5.0
MAX_HTTP_CONNECTIONS = 50


class Peers:
    """Every way to every peer. Usable as a context manager, which closes the connections."""

    def __init__(
        self,
        asker: Asker | None = None,
        *,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Take who exchanges device messages, None when nobody does."""
        self._asker = asker
        self._http = http or httpx.AsyncClient(
            timeout=httpx.Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=MAX_HTTP_CONNECTIONS),
            follow_redirects=False,
        )
        self._clock = clock
        self._random_bytes = random_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def to(self, contact: str) -> PeerTransport:
        """Return the way to a peer: a base URL, a pairing code, or the address of a device we are paired with.

        Nothing is sent yet. Raises PeerError (`invalid_url`, `invalid_contact`), and PeerUnreachableError
        `messenger_off` for a device when this worker exchanges no messages.
        """
        if contact.startswith(("http://", "https://")):
            return HttpTransport(self._http, contact, clock=self._clock, random_bytes=self._random_bytes)
        if is_valid_device_address(contact):
            device, invitation = contact, None
        else:
            try:
                invitation = parse_pairing_code(contact)
            except ObyteError:
                text = "a peer should be an http or https address, a pairing code or a device address"
                raise PeerError("invalid_contact", text) from None
            device = invitation.device_address
        if self._asker is None:
            text = "device messages are switched off (SLUICE_DEVICE_MESSAGES)"
            raise PeerUnreachableError("messenger_off", text, may_have_acted=False)
        return MessengerTransport(
            self._asker, device, invitation=invitation, clock=self._clock, random_bytes=self._random_bytes
        )
