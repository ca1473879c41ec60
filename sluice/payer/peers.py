"""Requests to a receiver over HTTP, sent until they are answered (Obyte channels, peer protocol).

What leaves open whether the peer has acted is repeated with growing pauses, a bounded number of times, and then
reported as uncertain. An answer that comes after that is never seen: its connection is gone.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.peers import http as peer_http
from shared.peers.errors import PeerError, UnansweredError
from sluice.payer.errors import PayerError, PeerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from shared.peers.answers import PeerAnswer


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request of unknown fate is repeated. All times in seconds."""

    attempts: int = 5
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    give_up_after_s: float = 30.0

    def pause_s(self, attempt: int, retry_after_s: float | None, spread: float) -> float:
        """Return the pause after a failed attempt (1, 2, …); `spread` from 0 to 1 keeps many payers out of step."""
        grown = self.first_pause_s * 2.0 ** (attempt - 1) * (0.5 + spread / 2)
        return min(self.longest_pause_s, max(grown, retry_after_s or 0.0))


class PeerClient:
    """Talks to receivers. `sleep` and `spread` (random numbers from 0 to 1) are injected for tests."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._spread = spread

    async def ask(self, base_url: str, make_body: Callable[[], bytes]) -> PeerAnswer:
        """Send a request until it is answered. `make_body` makes each sending's body: only its envelope may differ.

        Raises PeerUnreachableError after the last attempt.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._policy.give_up_after_s
        attempt = 0
        while True:
            attempt += 1
            try:
                answer, _ = await peer_http.post(self._http, base_url, make_body())
            except UnansweredError as failure:
                pause_s = self._policy.pause_s(attempt, failure.retry_after_s, self._spread())
                if attempt >= self._policy.attempts or loop.time() + pause_s > give_up_at:
                    raise PeerUnreachableError(failure.code, str(failure)) from failure
                await self._sleep(pause_s)
            else:
                return answer


def base_url_of(url: str) -> str:
    """Return a peer's base URL with its closing slash. Raises PayerError `invalid_url`."""
    try:
        return peer_http.base_url_of(url)
    except PeerError as error:
        raise PayerError(error.code, error.text) from None
