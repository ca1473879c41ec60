"""`GET /v1/terms`: what somebody has to know to open a channel with this receiver. Public, as the peer protocol is."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front.problems import NO_STORE, Problem
from shared.receiving.errors import NotInitializedError

router = APIRouter(prefix="/v1", tags=["peers"])

_TERMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "network": {"type": "string"},
        "receiver": {"type": "string", "description": "The payment address that becomes the channel agent's A"},
        "url": {"type": "string", "description": "Base URL of the peer protocol: `POST <url>post`"},
        "agent_versions": {"type": "array", "items": {"type": "string"}, "description": "The preferred one first"},
        "min_timeout_s": {"type": "integer"},
        "max_timeout_s": {"type": "integer"},
    },
    "example": {
        "network": "mainnet",
        "receiver": "2SATGZDFDXNNJRVZ52O4J6VYTTMO2EZR",
        "url": "https://pay.example/",
        "agent_versions": ["1.2", "1.1"],
        "min_timeout_s": 800,
        "max_timeout_s": 1500,
    },
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The terms", "content": {"application/json": {"schema": _TERMS}}},
    429: {"description": "Too many requests from this network address; come back after `Retry-After` seconds"},
    503: {"description": "Not now; repeat the request after `Retry-After` seconds"},
}


@router.get("/terms", summary="On which terms channels can be opened", responses=_RESPONSES)
async def terms(request: Request) -> Response:
    """Tell who receives here, where channels are opened, and which are taken."""
    request.app.state.address_limits.admit_public(request.scope)
    try:
        found = await request.app.state.receiver.terms()
    except NotInitializedError as error:
        raise Problem(503, error.code, error.text, headers={"retry-after": "5"}) from None
    return JSONResponse(found.as_json(), headers=NO_STORE)
