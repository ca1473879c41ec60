"""One request to a peer over HTTP (Obyte channels, peer protocol: `POST <base>post`).

An answer is a JSON object with status 200. Everything else leaves open whether the peer has acted, unless no
connection was made at all. An answer that comes after the time-out is never seen: its connection is gone.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from shared.obyte.errors import ObyteError
from shared.obyte.serialization import JsonValue, parse_js_json
from shared.peers.answers import PeerAnswer, read_answer
from shared.peers.errors import PeerError, PeerTimeoutError, PeerUnreachableError

MAX_ANSWER_BYTES = 1_048_576
_OK = 200
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_LATER = frozenset({408, 425, _TOO_MANY_REQUESTS})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)


async def post(http: httpx.AsyncClient, base_url: str, body: bytes) -> tuple[PeerAnswer, dict[str, JsonValue]]:
    """Send one request and return the answer, as it reads and as it stands.

    Raises PeerUnreachableError and PeerTimeoutError; never because of a refusal, which is an answer.
    """
    headers = {"content-type": "application/json", "accept": "application/json"}
    try:
        async with http.stream("POST", f"{base_url}post", content=body, headers=headers) as answer:
            content = bytearray()
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise PeerUnreachableError("bad_answer", "the peer's answer is too large")
    except _NOT_SENT as error:
        is_slow = isinstance(error, httpx.TimeoutException)
        kind, code = (PeerTimeoutError, "peer_timeout") if is_slow else (PeerUnreachableError, "peer_unreachable")
        raise kind(code, f"no connection to the peer ({type(error).__name__})", may_have_acted=False) from error
    except httpx.TimeoutException as error:
        raise PeerTimeoutError("peer_timeout", "the peer did not answer in time") from error
    except (httpx.HTTPError, OSError) as error:
        text = f"the connection to the peer failed ({type(error).__name__})"
        raise PeerUnreachableError("peer_unreachable", text) from error
    return _read(answer.status_code, bytes(content), answer.headers.get("retry-after"))


def base_url_of(url: str) -> str:
    """Return a peer's base URL with its closing slash. Raises PeerError `invalid_url`."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    except ValueError:
        is_usable = False
    if not is_usable:
        raise PeerError("invalid_url", "a peer's URL must be http:// or https:// with a host and without a query")
    return url if url.endswith("/") else f"{url}/"


def _read(status: int, content: bytes, retry_after: str | None) -> tuple[PeerAnswer, dict[str, JsonValue]]:
    if status >= _SERVER_ERROR or status in _LATER:
        text = f"the peer answered with status {status}"
        raise PeerUnreachableError("peer_unavailable", text, retry_after_s=_seconds(retry_after))
    try:
        found = parse_js_json(content)
    except ObyteError:
        found = None
    answer = read_answer(found)
    if not isinstance(found, dict):
        raise PeerUnreachableError("bad_answer", f"the peer's answer (status {status}) is not a JSON object")
    if answer is None or (status != _OK and answer.error is None):
        raise PeerUnreachableError("bad_answer", f"the peer's answer (status {status}) has neither response nor error")
    return answer, found


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None or not retry_after.isdecimal():
        return None
    return float(retry_after[:6])
