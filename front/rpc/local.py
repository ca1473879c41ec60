"""The door on loopback: JSON-RPC without a key, as the reference library serves it, HTTP and WebSocket on one port.

Status, headers, bodies and frames are the reference's. One thing is added: what a browser sends for a page is refused.
Pages of any site may send requests to loopback, and the reference answers them all.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from front.authentication import Caller
from front.bodies import BodyError, read_json
from front.problems import Problem, unavailable
from front.rpc.core import LOCAL_KEY_ID
from front.rpc.errors import INVALID_REQUEST, RpcError, invalid_request, of_body
from front.rpc.shapes import (
    Outcome,
    encode,
    is_there,
    reference_arguments,
    reference_asked,
    reference_frame,
    reference_http,
    reference_id,
)
from front.rpc.sockets import Conversation, Places, following
from shared.receiving.errors import UnavailableError
from shared.store.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Asked

    from front.rpc.core import Rpc
    from shared.events.feed import Feed
    from shared.strict_json import JsonValue

HOST: Final = "127.0.0.1"
_ANY_PAGE = {"access-control-allow-origin": "*"}
_JSON = {"content-type": "application/json"}
_HOW = {"access-control-allow-headers": "Content-Type", "allow": "POST"}
_FOREIGN = frozenset({"cross-site", "same-site"})
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")


class LocalDoor:
    """Serves what comes to the port on loopback; everything else goes on to the application."""

    def __init__(self, app: ASGIApp, port: int, secret: str) -> None:
        """`secret`: what packages are sealed for that are signed for callers here."""
        self._app = app
        self._port = port
        self._caller = Caller(LOCAL_KEY_ID, frozenset(Scope), secret)

    async def __call__(self, scope: Asked, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in {"http", "websocket"} or not self._is_here(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            response = await self._http(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._talk(WebSocket(scope, receive, send))

    def _is_here(self, scope: Asked) -> bool:
        host, port = scope.get("server") or (None, None)
        return port == self._port and _is_loopback(host)

    async def _permit(self, *_: Scope) -> Caller:
        return self._caller

    # -------------------------------------------------------------------------------------------------------- HTTP

    async def _http(self, request: Request) -> Response:
        refusal = _refusal(request.headers)
        if refusal is not None:
            body = encode(reference_http(None, Outcome(error=refusal)))
            return Response(body, 403, _JSON)
        if request.method == "OPTIONS":
            allowed = {"access-control-allow-headers": "Accept, Authorization, Content-Type"}
            return Response(b"", 200, allowed | _ANY_PAGE)
        if request.method != "POST":
            return _said(reference_http(None, Outcome(error=invalid_request())), _HOW)
        try:
            said = await read_json(request)
        except BodyError as error:
            return _said(reference_http(None, Outcome(error=of_body(error))), _HOW)
        if not isinstance(said, dict) or not is_there(said.get("method")) or not is_there(said.get("params")):
            return _said(reference_http(None, Outcome(error=invalid_request())), _HOW)
        key = request.headers.get("idempotency-key")
        has_id, asked_id = reference_id(said)
        outcome = await self._call(request.app.state.rpc, said if key is None else {**said, "idempotency_key": key})
        return _said(reference_http(asked_id, outcome)) if has_id else Response(b"", 200, _JSON | _ANY_PAGE)

    async def _call(self, rpc: Rpc, said: dict[str, JsonValue]) -> Outcome:
        asked = reference_asked(said)
        return await rpc.call(asked, lambda _method: reference_arguments(asked.params), self._permit)

    # --------------------------------------------------------------------------------------------------- WebSocket

    async def _talk(self, websocket: WebSocket) -> None:
        refusal = _refusal(websocket.headers)
        if refusal is not None:
            await websocket.send_denial_response(Response(refusal.text, 403, media_type="text/plain"))
            return
        state = websocket.app.state
        feed: Feed = state.feed
        places: Places = state.rpc_places
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.enter_context(places.one())
                follower = await stack.enter_async_context(following(feed))
                await websocket.accept()
                await Conversation(websocket, _Speech(functools.partial(self._call, state.rpc)), follower).run()
        except Problem as problem:
            await websocket.send_denial_response(problem.response())
        except UnavailableError as error:
            await websocket.send_denial_response(unavailable(error).response())


class _Speech:
    """Reads and writes frames as the reference does. It leaves bad texts without a word; here they get one."""

    def __init__(self, call: Callable[[dict[str, JsonValue]], Awaitable[Outcome]]) -> None:
        self._call = call

    async def answer(self, said: JsonValue) -> dict[str, Any] | None:
        """Return the answer to one text, None where the reference has none."""
        if isinstance(said, list):
            return self.complaint(invalid_request())
        if not isinstance(said, dict) or ("id" in said and ("result" in said or "error" in said)):
            return None
        has_id, asked_id = reference_id(said)
        if "method" not in said:
            return reference_frame(asked_id, Outcome(error=invalid_request())) if has_id else None
        outcome = await self._call(said)
        return reference_frame(asked_id, outcome) if has_id else None

    def complaint(self, error: RpcError) -> dict[str, Any]:
        """Return what is said about what is no text."""
        return reference_frame(None, Outcome(error=error))


def _said(content: dict[str, Any], more: dict[str, str] | None = None) -> Response:
    return Response(encode(content), 200, _JSON | (more or {}) | _ANY_PAGE)


def _refusal(headers: Headers) -> RpcError | None:
    """Return why a request is refused that may come from a page: it names another host, or the page's own origin.

    A name that an attacker has pointed to loopback stands in `Host`. What a page of another origin sends has `Origin`
    whenever it could do anything here. Some clients that are no browsers name the door itself as `Origin`.
    """
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) > 1 or any(not _names_loopback(host) for host in hosts):
        return RpcError(INVALID_REQUEST, "the host must be 127.0.0.1 or localhost", code="foreign_host")
    if any(origin not in {f"http://{host}" for host in hosts} for origin in origins):
        return RpcError(INVALID_REQUEST, "pages in browsers are not served here", code="foreign_origin")
    if headers.get("sec-fetch-site") in _FOREIGN:
        return RpcError(INVALID_REQUEST, "pages in browsers are not served here", code="foreign_origin")
    if any(name in headers for name in _OF_PROXIES):
        return RpcError(INVALID_REQUEST, "what comes through a proxy is not served here", code="proxied")
    return None


def _names_loopback(authority: str) -> bool:
    if authority.startswith("["):
        name, _, rest = authority[1:].partition("]")
    else:
        name, separator, rest = authority.partition(":")
        rest = separator + rest
    is_port = not rest or (rest[0] == ":" and rest[1:].isdecimal())
    return is_port and (name.lower() == "localhost" or _is_loopback(name))


def _is_loopback(host: str | None) -> bool:
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
