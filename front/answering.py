"""How `/v1` answers, and how its answers are described: JSON of our schemas, or problem documents."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response

from front.problems import NO_STORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import APIRouter, FastAPI

Responses = dict[int | str, dict[str, Any]]

_PROBLEM_TYPE = "application/problem+json"
_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `code` is stable, `detail` is for people.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "faults": {
            "description": "With `invalid_request`: the place and the rule of each fault",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["at", "rule"],
                "properties": {"at": {"type": "string"}, "rule": {"type": "string"}},
            },
        },
        "command": {"description": "With `command_failed`: the command", "$ref": "#/components/schemas/CommandView"},
    },
}

_COMMON: dict[int, tuple[str, str, str]] = {
    400: ("not_json", "not JSON: Expecting value at character 0", "The body is not strict JSON"),
    401: ("unauthorized", "an API key is needed, as Authorization: Bearer KEY", "No valid API key"),
    403: ("missing_scope", "the API key has no scope spend", "The key lacks the scope"),
    404: ("unknown_channel", "there is no channel with this address", "There is no such thing"),
    413: ("body_too_large", "the body is larger than 65536 bytes", "The body is too large"),
    422: ("invalid_request", "the request is not as described", "Something in the request breaks a rule"),
    429: ("too_many_requests", "too many requests with this API key", "Too much in this time: `Retry-After` says when"),
    503: (
        "database_unavailable",
        "the database is not available now",
        "Not now; repeat it after `Retry-After` seconds",
    ),
}


def answer(
    content: BaseModel | Mapping[str, Any], status: int = 200, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON. Peers choose parts of it: what is no text in UTF-8 leaves as escapes."""
    fields = content.model_dump() if isinstance(content, BaseModel) else content
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False, default=_plain)
    return Response(text, status, headers=NO_STORE | dict(headers or {}), media_type="application/json")


def plain(content: BaseModel) -> dict[str, Any]:
    """Return a content as it will be answered, for storing it."""
    fields: dict[str, Any] = json.loads(json.dumps(content.model_dump(), default=_plain))
    return fields


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


def described(description: str, model: type[BaseModel], example: Any, *, status: int = 200, **more: Any) -> Responses:
    """Describe a successful answer."""
    content = {"application/json": {"example": example}}
    return {status: {"description": description, "model": model, "content": content, **more}}


def problems(*statuses: int, **described_otherwise: tuple[str, str, str]) -> Responses:
    """Describe answers that are problems, by status.

    `described_otherwise`: `status_409=(code, detail, description)`.
    """
    limited = (429,) if 401 in statuses else ()  # noqa: PLR2004 - whoever needs a key has limits
    found = {status: _COMMON[status] for status in (*statuses, *limited)}
    found |= {int(name.removeprefix("status_")): problem for name, problem in described_otherwise.items()}
    return {status: _described_problem(status, *problem) for status, problem in found.items()}


def _described_problem(status: int, code: str, detail: str, description: str) -> dict[str, Any]:
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    content = {_PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    headers = {}
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return {"description": description, "content": content, "headers": headers}


def body_of(schema: dict[str, Any], example: Any, *, required: bool = True) -> dict[str, Any]:
    """Describe a body that the door reads itself."""
    content = {"application/json": {"schema": _inlined(schema), "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Put definitions where they are referred to: inside of the document a reference would lead elsewhere."""
    definitions = schema.get("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return resolved(definitions[value["$ref"].rpartition("/")[2]])
        return {name: resolved(member) for name, member in value.items() if name != "$defs"}

    whole: dict[str, Any] = resolved(schema)
    return whole


def install(app: FastAPI, *routers: APIRouter) -> None:
    """Put into the OpenAPI document what the descriptions refer to, and the examples as they are.

    The framework leaves out of examples what is null, and so shows answers that are never given.
    """
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        document.setdefault("components", {}).setdefault("schemas", {}).setdefault("Problem", _PROBLEM)
        for route in itertools.chain.from_iterable(router.routes for router in routers):
            if isinstance(route, APIRoute):
                for method in route.methods or ():
                    operation = document["paths"][route.path_format][method.lower()]
                    _restore_examples(operation["responses"], route.responses)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way the framework documents


def _restore_examples(generated: dict[str, Any], described_so: Responses) -> None:
    for status, response in described_so.items():
        for media_type, content in response.get("content", {}).items():
            if "example" in content:
                generated[str(status)]["content"][media_type]["example"] = content["example"]
