"""Requests to a receiver over HTTP (Obyte channels, peer protocol: `POST <base>post`).

An answer is `{"response": …}` or `{"error": …}` with status 200. Everything else leaves open whether the peer has
acted: such a request is repeated with growing pauses, a bounded number of times, and then reported as uncertain. An
answer that comes after that is never seen: its connection is gone.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from shared.obyte.errors import ObyteError
from shared.obyte.serialization import JsonValue, parse_js_json
from sluice.payer.errors import ChannelView, PayerError, PeerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_ANSWER_BYTES = 1_048_576
_OK = 200
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_AGAIN = frozenset({408, 425, _TOO_MANY_REQUESTS})


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


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """What the peer said. When `error` is set it refused; `code` is stable if the peer is one that gives codes."""

    response: JsonValue = field(default=None, repr=False)
    error: str | None = None
    code: str | None = None
    view: ChannelView | None = None
    receipt: dict[str, JsonValue] | None = field(default=None, repr=False)


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
                return await self._send(base_url, make_body())
            except _UnansweredError as failure:
                pause_s = self._policy.pause_s(attempt, failure.retry_after_s, self._spread())
                if attempt >= self._policy.attempts or loop.time() + pause_s > give_up_at:
                    raise PeerUnreachableError(failure.code, str(failure)) from failure
                await self._sleep(pause_s)

    async def _send(self, base_url: str, body: bytes) -> PeerAnswer:
        headers = {"content-type": "application/json", "accept": "application/json"}
        try:
            async with self._http.stream("POST", f"{base_url}post", content=body, headers=headers) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise _UnansweredError("bad_answer", "the peer's answer is too large")
        except httpx.TimeoutException as error:
            raise _UnansweredError("peer_timeout", "the peer did not answer in time") from error
        except (httpx.HTTPError, OSError) as error:
            raise _UnansweredError("peer_unreachable", f"no connection to the peer ({type(error).__name__})") from error
        return _read_answer(answer.status_code, bytes(content), answer.headers.get("retry-after"))


class _UnansweredError(PayerError):
    """The request may or may not have been acted upon; it may be repeated after `retry_after_s`."""

    def __init__(self, code: str, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(code, text)
        self.retry_after_s = retry_after_s


def base_url_of(url: str) -> str:
    """Return a peer's base URL with its closing slash. Raises PayerError `invalid_url`."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    except ValueError:
        is_usable = False
    if not is_usable:
        raise PayerError("invalid_url", "a peer's URL must be http:// or https:// with a host and without a query")
    return url if url.endswith("/") else f"{url}/"


def _read_answer(status: int, content: bytes, retry_after: str | None) -> PeerAnswer:
    if status >= _SERVER_ERROR or status in _AGAIN:
        raise _UnansweredError("peer_unavailable", f"the peer answered with status {status}", _seconds(retry_after))
    try:
        answer = parse_js_json(content)
    except (ObyteError, UnicodeDecodeError):
        answer = None
    if not isinstance(answer, dict):
        raise _UnansweredError("bad_answer", f"the peer's answer (status {status}) is not a JSON object")
    error = answer.get("error")
    if error:
        code = answer.get("code")
        return PeerAnswer(
            error=error if isinstance(error, str) else json.dumps(error),
            code=code if isinstance(code, str) else None,
            view=_view(answer.get("channel")),
        )
    if status != _OK or "response" not in answer:
        raise _UnansweredError("bad_answer", f"the peer's answer (status {status}) has neither response nor error")
    receipt = answer.get("receipt")
    return PeerAnswer(response=answer["response"], receipt=receipt if isinstance(receipt, dict) else None)


def _view(value: JsonValue) -> ChannelView | None:
    if not isinstance(value, dict):
        return None
    period, spent, credit = value.get("period"), value.get("amount_spent"), value.get("credit")
    if not (isinstance(period, int) and isinstance(spent, int) and isinstance(credit, int)):
        return None
    return ChannelView(period, spent, credit, str(value.get("status", "")))


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
