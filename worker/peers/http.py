"""The way to a peer over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from shared.peers.errors import PeerTimeoutError
from shared.peers.http import base_url_of, post
from worker.peers.transport import REQUEST_TIMEOUT_S, checked_answer, envelope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from shared.obyte.serialization import JsonValue


class HttpTransport:
    """Posts requests to a peer's base URL, which an operator has named: no redirect is followed."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, *, clock: Callable[[], float], random_bytes: Callable[[int], bytes]
    ) -> None:
        """Raise PeerError `invalid_url` for what cannot be a peer's URL."""
        self.url: str | None = base_url_of(url)
        self.device: str | None = None
        self._base_url = self.url
        self._http = http
        self._clock = clock
        self._random_bytes = random_bytes

    async def request(self, command: str, params: Mapping[str, JsonValue]) -> dict[str, Any]:
        """See `PeerTransport`."""
        envelope = envelope_of(command, params, now_s=self._clock(), random_bytes=self._random_bytes)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                _, answer = await post(self._http, self._base_url, json.dumps(envelope).encode())
        except TimeoutError:
            raise PeerTimeoutError("peer_timeout", "the peer did not answer in time") from None
        return checked_answer(answer)
