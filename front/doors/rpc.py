"""`POST /rpc` and `WS /rpc`: JSON-RPC 2.0 with a key. Methods, their arguments and values are the reference library's.

Over HTTP: 200 with the answer, an array of answers for a batch, 204 when nobody wants one; 401 without a valid key,
413 for too large a body. A WebSocket whose key allows to read hears the events, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from front.bodies import BodyError, read_json
from front.problems import NO_STORE, Problem, unavailable
from front.rpc.errors import INVALID_PARAMS, INVALID_REQUEST, RpcError, invalid_request, of_body, rpc_error_of
from front.rpc.shapes import Asked, Outcome, encode, standard_answer, standard_asked
from front.rpc.sockets import Conversation, following
from front.websocket_keys import authorization_of, subprotocol_of
from shared.receiving.errors import UnavailableError
from shared.store.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from front.authentication import Caller
    from front.rpc.core import Method, Rpc
    from shared.strict_json import JsonValue

PATH = "/rpc"
MAX_BATCH = 20
_ALL = tuple(Scope)
_TOO_LARGE, _UNAUTHORIZED = 413, 401


async def post(request: Request) -> Response:
    """Answer one call, or a batch of them."""
    authorization = request.headers.get("authorization")
    permit = _permit_of(request, authorization)
    try:
        if authorization is None:
            await permit(*_ALL)  # says how to bring a key, and reads nothing
        said = await read_json(request)
    except Problem as error:
        return _refuse(rpc_error_of(error), error.status)
    except BodyError as error:
        return _refuse(of_body(error), _TOO_LARGE if error.status == _TOO_LARGE else 200)
    key = request.headers.get("idempotency-key")
    if key is not None and isinstance(said, list):
        text = "in a batch each call has its own idempotency_key"
        return _refuse(RpcError(INVALID_REQUEST, text, code="key_of_a_batch"))
    if key is not None and isinstance(said, dict):
        said.setdefault("idempotency_key", key)
    answer = await _Speech(request.app.state.rpc, permit).answer(said)
    return Response(status_code=204, headers=NO_STORE) if answer is None else _answer(answer, _status_of(answer))


async def talk(websocket: WebSocket) -> None:
    """Answer calls and tell events until either side has enough."""
    state = websocket.app.state
    authorization = authorization_of(websocket)
    permit = _permit_of(websocket, authorization)

    async def until_ended() -> None:
        await state.api_keys.until_ended(authorization, *_ALL)

    try:
        caller = await permit(*_ALL)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(state.rpc_places.one())
            hears = Scope.READ in caller.scopes
            follower = await stack.enter_async_context(following(state.feed)) if hears else None
            await websocket.accept(subprotocol_of(websocket))
            await Conversation(websocket, _Speech(state.rpc, permit), follower, until_ended).run()
    except Problem as problem:
        await websocket.send_denial_response(problem.response())
    except UnavailableError as error:
        await websocket.send_denial_response(unavailable(error).response())


def _permit_of(connection: Request | WebSocket, authorization: str | None) -> Callable[..., Awaitable[Caller]]:
    async def permit(*scopes: Scope) -> Caller:
        state = connection.app.state
        address = state.address_limits.address_of(connection.scope)
        caller: Caller = await state.api_keys.require(authorization, *scopes, address=address)
        return caller

    return permit


class _Speech:
    """JSON-RPC 2.0."""

    def __init__(self, rpc: Rpc, permit: Callable[..., Awaitable[Caller]]) -> None:
        self._rpc = rpc
        self._permit = permit

    async def answer(self, said: JsonValue) -> Any | None:
        """Return the answer to a request or a batch, None when nobody wants one. A batch's calls run together."""
        if not isinstance(said, list):
            return await self._answer_one(said)
        if not said:
            return self.complaint(invalid_request())
        if len(said) > MAX_BATCH:
            text = f"a batch must not have more than {MAX_BATCH} calls"
            return self.complaint(RpcError(INVALID_REQUEST, text, code="batch_too_large"))
        answers = await asyncio.gather(*(self._answer_one(one) for one in said))
        return [answer for answer in answers if answer is not None] or None

    def complaint(self, error: RpcError) -> dict[str, Any]:
        """Return what is said about what is no request."""
        return standard_answer(None, Outcome(error=error))

    async def _answer_one(self, said: JsonValue) -> dict[str, Any] | None:
        try:
            asked = standard_asked(said)
        except RpcError as error:
            return self.complaint(error)
        outcome = await self._rpc.call(asked, lambda method: _arguments(method, asked), self._permit)
        return standard_answer(asked.id, outcome) if asked.has_id else None


def _arguments(method: Method, asked: Asked) -> list[JsonValue]:
    """Return arguments by position. An object names them, unless it is itself the method's only argument."""
    params = asked.params
    if isinstance(params, list):
        return params
    if not isinstance(params, dict) or (method.takes_object and not params.keys() <= set(method.parameters)):
        return [params]
    given = [name for name in method.parameters if name in params]
    if set(given) != params.keys() or tuple(given) != method.parameters[: len(given)]:
        raise RpcError(INVALID_PARAMS, f"{asked.method} takes {', '.join(method.parameters)}", code="bad_params")
    return [params[name] for name in given]


def _refuse(error: RpcError, status: int = 200) -> Response:
    return _answer(standard_answer(None, Outcome(error=error)), status)


def _status_of(answer: Any) -> int:
    """Return 401 when nothing was done for want of a key, which clients look for there."""
    answers = answer if isinstance(answer, list) else [answer]
    codes = {one.get("error", {}).get("data", {}).get("code") for one in answers}
    return _UNAUTHORIZED if codes == {"unauthorized"} else 200


def _answer(content: Any, status: int = 200) -> Response:
    headers = NO_STORE | ({"www-authenticate": "Bearer"} if status == _UNAUTHORIZED else {})
    return Response(encode(content), status, headers, media_type="application/json")


_ID = {"type": ["string", "number", "null"]}
_ERROR = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "data": {"type": "object", "description": "`code` is stable; with a command its number as `command_id`"},
    },
}
_CALL: dict[str, Any] = {
    "type": "object",
    "required": ["jsonrpc", "method"],
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {**_ID, "description": "Without one there is no answer"},
        "method": {"type": "string"},
        "params": {"type": ["array", "object"]},
        "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["jsonrpc", "id"],
    "properties": {"jsonrpc": {"const": "2.0"}, "id": _ID, "result": {}, "error": _ERROR},
}
_SCOPED = {"jsonrpc": "2.0", "error": {"code": -32001, "message": "…", "data": {"code": "unauthorized"}}, "id": None}


def _content(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": example}}


def _one_or_many(schema: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": schema}]}


DESCRIPTION: dict[str, Any] = {
    "post": {
        "tags": ["rpc"],
        "summary": "JSON-RPC 2.0: the methods of the reference library",
        "description": "One call or a batch. `docs/rpc.md` lists the methods. Events come over a WebSocket here.",
        "operationId": "rpc",
        "security": [{"ApiKey": []}],
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "For a single call; the same as its member `idempotency_key`",
                "schema": {"type": "string", "maxLength": 255},
            }
        ],
        "requestBody": {
            "required": True,
            "content": _content(
                _one_or_many(_CALL),
                {"jsonrpc": "2.0", "id": 1, "method": "getChannelsForPeer", "params": ["https://…"]},
            ),
        },
        "responses": {
            "200": {
                "description": "The answer, or the answers; calls that failed have an `error`",
                "content": _content(_one_or_many(_ANSWER), {"jsonrpc": "2.0", "result": ["ARWU…"], "id": 1}),
            },
            "204": {"description": "Nobody wanted an answer"},
            "401": {"description": "No valid API key", "content": _content(_ANSWER, _SCOPED)},
            "413": {"description": "The body is too large", "content": _content(_ANSWER, _SCOPED)},
        },
    }
}
"""The path's entry in the OpenAPI document: a plain route."""
