"""What calls and answers look like: the reference's way on loopback, JSON-RPC 2.0 on the front. Pure.

    reference, HTTP       {"jsonrpc", "result", "id"} or {"jsonrpc", "error": {"code", "message"}, "id"}
    reference, WebSocket  {"jsonrpc", "result", "error", "id"}, always all of them; the error is a text
    JSON-RPC 2.0          {"jsonrpc", "result", "id"} or {"jsonrpc", "error": {"code", "message", "data"?}, "id"}

The reference reads requests as JavaScript does: what counts as there and as a number is decided here in that way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from front.rpc.errors import (
    FAILED,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNKNOWN_METHOD,
    RpcError,
    invalid_request,
)

if TYPE_CHECKING:
    from shared.strict_json import JsonValue

_NUMBERS_OF_THE_REFERENCE = frozenset({PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, FAILED})
_LARGEST_PLAIN = 10**21
"""From here on JavaScript writes a number with an exponent, and the reference takes it for no id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call. `has_id`: an answer is wanted. `key`: what makes it one and the same however often it comes."""

    method: str
    params: JsonValue
    has_id: bool
    id: JsonValue
    key: JsonValue = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call."""

    result: Any = None
    error: RpcError | None = None


def result_of(values: list[Any]) -> Any:
    """Return what a method's values come to: one is the result itself, none or several are an array."""
    return values[0] if len(values) == 1 else values


def encode(value: Any) -> str:
    """Return JSON as JavaScript writes it, lone surrogates as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


# --------------------------------------------------------------------------------------------------- the reference


def is_there(value: JsonValue) -> bool:
    """Whether JavaScript takes a value for true: empty lists and objects are, empty texts and 0 are not."""
    return isinstance(value, (list, dict)) or bool(value)


def reference_id(request: dict[str, JsonValue]) -> tuple[bool, JsonValue]:
    """Return whether the reference answers the request, and the id as it writes it: texts, integers and null count."""
    found = request.get("id")
    if isinstance(found, float) and found.is_integer() and abs(found) < _LARGEST_PLAIN:
        found = int(found)
    counts = found is None or isinstance(found, str) or (isinstance(found, int) and not isinstance(found, bool))
    return "id" in request and counts, found


def name_of(method: JsonValue) -> str:
    """Return what the reference calls a method that may be no text."""
    match method:
        case str():
            return method
        case bool() | None:
            return json.dumps(method)
        case dict():
            return "[object Object]"
        case list():
            return ",".join("" if part is None else name_of(part) for part in method)
        case _:
            return str(plain_number(method))


def reference_asked(request: dict[str, JsonValue]) -> Asked:
    """Read a request that has a method."""
    has_id, found = reference_id(request)
    return Asked(name_of(request["method"]), request.get("params"), has_id, found, request.get("idempotency_key"))


def reference_arguments(params: JsonValue) -> list[JsonValue]:
    """Return a list as arguments, and anything else as the only one."""
    return params if isinstance(params, list) else [params]


def reference_http(asked_id: JsonValue, outcome: Outcome) -> dict[str, Any]:
    """Return the body of an answer over HTTP."""
    answer = standard_answer(asked_id, outcome)
    if outcome.error is not None and outcome.error.number not in _NUMBERS_OF_THE_REFERENCE:
        answer["error"]["code"] = FAILED
    return answer


def reference_frame(asked_id: JsonValue, outcome: Outcome) -> dict[str, Any]:
    """Return an answer over a WebSocket."""
    error = None if outcome.error is None else outcome.error.text
    return {"jsonrpc": "2.0", "result": outcome.result, "error": error, "id": asked_id}


# --------------------------------------------------------------------------------------------------- JSON-RPC 2.0


def standard_asked(request: JsonValue) -> Asked:
    """Read a request of JSON-RPC 2.0. Raises RpcError."""
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise invalid_request()
    method, params, found = request.get("method"), request.get("params", []), request.get("id")
    if not isinstance(method, str) or not isinstance(params, (list, dict)) or isinstance(found, (bool, list, dict)):
        raise invalid_request()
    return Asked(method, params, "id" in request, found, request.get("idempotency_key"))


def standard_answer(asked_id: JsonValue, outcome: Outcome) -> dict[str, Any]:
    """Return an answer of JSON-RPC 2.0."""
    if outcome.error is not None:
        return {"jsonrpc": "2.0", "error": outcome.error.as_json(), "id": asked_id}
    return {"jsonrpc": "2.0", "result": outcome.result, "id": asked_id}


def plain_number(value: JsonValue) -> JsonValue:
    """Return a number without a fraction as an integer: 1e6 and 1000000 are the same to JavaScript."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
