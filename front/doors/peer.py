"""`POST /post`: the reference peer protocol over HTTP, as the JavaScript channels library speaks it.

A well-formed command is always answered with 200 (`shared.receiving.peer_protocol`). Other statuses are kept for what
the reference never answers: no JSON, no command, too large (4xx), "not so much of it" (429) and "not now, try again"
(503). The body is the same `{"error": "…", "code": "…"}` there.
"""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front.bodies import BodyError, read_json
from front.problems import NO_STORE, log_failure
from shared.receiving.errors import ReceivingError, UnavailableError
from shared.receiving.peer_protocol import MalformedRequestError, error_answer, read_request, serve

PATH = "/post"

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


async def post(request: Request) -> Response:
    """Answer one command of a peer."""
    try:
        state = request.app.state
        origin = state.address_limits.admit_peer(request.scope)
        max_age_s = state.settings.request_max_age_s
        asked = read_request(await read_json(request), now_s=time.time(), max_age_s=max_age_s)
        return _answer(200, await serve(state.receiver, asked, origin))
    except BodyError as error:
        return _answer(error.status, error_answer(error.code, error.text))
    except MalformedRequestError as error:
        return _answer(400, error_answer(error.code, error.text))
    except UnavailableError as error:
        return _answer(error.status, error_answer(error.code, error.text), error.headers)
    except ReceivingError as error:
        return _answer(200, error_answer(error.code, error.text))
    except Exception as error:  # noqa: BLE001 - a peer always gets an answer
        log_failure(request, error)
        return _answer(500, error_answer("internal_error", "internal error"))


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, status, headers=NO_STORE | (headers or {}))
