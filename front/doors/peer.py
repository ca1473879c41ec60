"""`POST /post`: the reference peer protocol over HTTP, as the JavaScript channels library speaks it.

A well-formed command is always answered with 200 and `{"response": …}` or `{"error": "…"}`; members that the
reference does not know (`code`, `receipt`, `channel`) are added beside these. Other statuses are kept for what the
reference never answers: no JSON, no command, too much of it (4xx), and for "not now, try again" (503).
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front.bodies import BodyError, read_json
from front.problems import NO_STORE, log_failure
from shared.receiving.errors import ReceivingError, UnavailableError
from shared.receiving.outcomes import Refusal
from shared.receiving.receiver import Receiver
from shared.strict_json import JsonValue

_ENVELOPE = frozenset({"command", "params", "tag", "timestamp", "url"})
_LONGEST_NAME = 40

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
            "503": {"description": "Not now; repeat the request after `Retry-After` seconds"},
        },
    }
}
"""The path's entry in the OpenAPI document. The route is a plain one: a framework's would cost more than the checks."""


async def post(request: Request) -> Response:
    """Answer one command of a peer."""
    try:
        envelope = await read_json(request)
        command = _command(envelope)
        params = _params(envelope, max_age_s=request.app.state.settings.request_max_age_s)
        return _answer(200, await command(request.app.state.receiver, params))
    except BodyError as error:
        return _answer(error.status, _error(error.code, error.text))
    except UnavailableError as error:
        return _answer(503, _error(error.code, error.text), {"retry-after": str(error.retry_after_s)})
    except ReceivingError as error:
        return _answer(200, _error(error.code, error.text))
    except Exception as error:  # noqa: BLE001 - a peer always gets an answer
        log_failure(request, error)
        return _answer(500, _error("internal_error", "internal error"))


async def _create_channel(receiver: Receiver, params: dict[str, Any]) -> dict[str, Any]:
    created = await receiver.create_channel(params)
    return {"response": {"address_a": created.own_address, "aa_address": created.aa_address}}


async def _is_ready(receiver: Receiver, params: dict[str, Any]) -> dict[str, Any]:
    _check_fields(params, {"aa_address"})
    await receiver.check_ready(params.get("aa_address"))
    return {"response": True}


async def _pay(receiver: Receiver, params: dict[str, Any]) -> dict[str, Any]:
    _check_fields(params, {"signed_package", "message"})
    package = params.get("signed_package")
    if package is None:
        raise ReceivingError("no_signed_package", "No signed_package")
    outcome = await receiver.pay(package, params.get("message"))
    if isinstance(outcome, Refusal):
        view = {} if outcome.channel is None else {"channel": outcome.channel.as_json()}
        return _error(outcome.code, outcome.text) | view
    code = {} if outcome.answer.code is None else {"code": outcome.answer.code}
    return {"response": outcome.answer.response, "receipt": outcome.receipt.as_json()} | code


_Command = Callable[[Receiver, dict[str, Any]], Awaitable[dict[str, Any]]]
_COMMANDS: dict[str, _Command] = {"create_channel": _create_channel, "is_ready": _is_ready, "pay": _pay}


def _command(envelope: JsonValue) -> _Command:
    if not isinstance(envelope, dict):
        raise BodyError(400, "not_an_object", "the body should be a JSON object")
    name = envelope.get("command")
    command = _COMMANDS.get(name) if isinstance(name, str) else None
    if command is None:
        raise BodyError(400, "unknown_command", "command should be create_channel, is_ready or pay")
    return command


def _params(envelope: JsonValue, *, max_age_s: float) -> dict[str, Any]:
    """Check the rest of the envelope (Obyte channels, peers' messages) and return the parameters."""
    assert isinstance(envelope, dict)  # noqa: S101 - the command was in it
    _check_fields(envelope, _ENVELOPE)
    if "timestamp" in envelope:
        timestamp_ms = envelope["timestamp"]
        if isinstance(timestamp_ms, bool) or not isinstance(timestamp_ms, int | float):
            raise ReceivingError("invalid_timestamp", "timestamp should be a number of milliseconds")
        if timestamp_ms < (time.time() - max_age_s) * 1000:
            raise ReceivingError("timestamp_too_old", "Timestamp too old, check system time")
    params = envelope.get("params")
    if not isinstance(params, dict):
        raise ReceivingError("no_params", "No params")
    return params


def _check_fields(members: dict[str, Any], allowed: set[str] | frozenset[str]) -> None:
    for name in members:
        if name not in allowed:
            raise ReceivingError("unknown_field", f"unknown field {name[:_LONGEST_NAME]!r}")


def _error(code: str, text: str) -> dict[str, Any]:
    return {"error": text, "code": code}


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, status, headers=NO_STORE | (headers or {}))
