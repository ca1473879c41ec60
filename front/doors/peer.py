"""`POST /post`: the reference peer protocol over HTTP, as the JavaScript channels library speaks it.

A well-formed command is always answered with 200 (`shared.receiving.peer_protocol`). Other statuses are kept for what
the reference never answers: no JSON, no command, too large (4xx), "not so much of it" (429) and "not now, try again"
(503). The body is the same `{"error": "…", "code": "…"}` there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from front.bodies import BodyError, read_body
from front.problems import NO_STORE, log_failure
from shared.receiving.errors import PackageRefused, ReceivingError, UnavailableError
from shared.receiving.peer_protocol import MalformedRequestError, error_answer, serve_body
from shared.strict_json import StrictJsonError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.datastructures import State
    from starlette.types import Scope

PATH = "/post"
MEDIA_TYPE = "application/json"

_LIMITS_OF_PAYERS = frozenset({"too_many_payments", "too_many_refusals"})

DESCRIPTION: dict[str, Any] = {
    "post": {
        "tags": ["peers"],
        "summary": "The peer protocol: create_channel, is_ready, pay",
        "operationId": "post",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["command", "params"],
                        "additionalProperties": False,
                        "properties": {
                            "command": {"enum": ["create_channel", "is_ready", "pay"]},
                            "params": {"type": "object"},
                            "tag": {"type": "string", "description": "Ignored over HTTP"},
                            "timestamp": {"type": "number", "description": "Milliseconds; refused when too old"},
                            "url": {"description": "Ignored"},
                        },
                    }
                }
            },
        },
        "responses": {
            "200": {"description": '`{"response": …}` or `{"error": "…", "code": "…"}`'},
            "400": {"description": "Not JSON, not an object, or no known command"},
            "413": {"description": "The body is too large"},
            "429": {"description": "Too much in this time; repeat the request after `Retry-After` seconds"},
            "503": {"description": "Not now; repeat the request after `Retry-After` seconds"},
        },
    }
}
"""The path's entry in the OpenAPI document. The route is a plain one: a framework's would cost more than the checks."""


class Reply(NamedTuple):
    """An HTTP response with JSON in it. `headers`: beside those that follow from the body."""

    status: int
    body: bytes
    headers: dict[str, str] = NO_STORE


async def post(request: Request) -> Response:
    """Answer one command of a peer."""
    said = await reply(request.app.state, request.scope, lambda: read_body(request))
    return Response(said.body, said.status, said.headers, MEDIA_TYPE)


async def reply(state: State, scope: Scope, read: Callable[[], Awaitable[bytes]]) -> Reply:
    """Answer the request of an ASGI scope. `read` returns its body, or raises BodyError."""
    try:
        origin = state.address_limits.admit_peer(scope)
        raw = await read()
        max_age_s = state.settings.request_max_age_s
        return _reply(200, await serve_body(state.receiver, raw, origin, now_s=time.time(), max_age_s=max_age_s))
    except BodyError as error:
        return _reply(error.status, error_answer(error.code, error.text))
    except (StrictJsonError, MalformedRequestError) as error:
        await state.address_limits.hold_up(origin)
        return _reply(400, error_answer(error.code, str(error)))
    except UnavailableError as error:
        if error.code in _LIMITS_OF_PAYERS:
            await state.address_limits.hold_up(origin)
        return _reply(error.status, error_answer(error.code, error.text), error.headers)
    except ReceivingError as error:
        if isinstance(error, PackageRefused):
            await state.address_limits.hold_up(origin)
        return _reply(200, error_answer(error.code, error.text))
    except Exception as error:  # noqa: BLE001 - a peer always gets an answer
        log_failure(Request(scope), error)
        return _reply(500, error_answer("internal_error", "internal error"))


def _reply(status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    text = msgspec.json.encode(body)
    return Reply(status, text, {**NO_STORE, **headers}) if headers else Reply(status, text)
