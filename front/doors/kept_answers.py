"""`PUT /v1/payments/{payment_id}/answer`: an application keeps with a payment what it has answered to it.

An application that sells over HTTP gives each answer once: whoever repeats a paid request gets the kept one, from any
of its processes. The first answer counts, as with answers that are given in the front (`on_payment`).
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front.bodies import read_json
from front.problems import NO_STORE, Problem
from shared.receiving.answers import MAX_ANSWER_BYTES
from shared.receiving.errors import database_errors
from shared.store import payments
from shared.store.api_keys import Scope

router = APIRouter(prefix="/v1/payments", tags=["packages"])

_bearer = HTTPBearer(auto_error=False, description="An API key with the scope `receive`")
_LARGEST_ID = 2**63 - 1

_DESCRIPTION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"description": f"Any JSON but null, of up to {MAX_ANSWER_BYTES} bytes"},
                "example": {"status": 200, "text": "the weather is fine"},
            }
        },
    },
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer that counts: this one, or the first one",
        "content": {"application/json": {"schema": {"type": "object", "properties": {"answer": {}}}}},
    },
    400: {"description": "Not JSON"},
    401: {"description": "No valid API key"},
    403: {"description": "The key lacks the scope `receive`"},
    404: {"description": "There is no such payment"},
    413: {"description": "The body is too large"},
    422: {"description": "The answer is null, or the id no number of a payment"},
    503: {"description": "Not now; repeat the request after `Retry-After` seconds"},
}


@router.put(
    "/{payment_id}/answer",
    summary="Keep the application's answer to a payment",
    openapi_extra=_DESCRIPTION,
    responses=_RESPONSES,
)
async def keep(
    payment_id: int, request: Request, _key: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Response:
    """Keep the answer if there is none yet, and return the one that is kept."""
    await request.app.state.api_keys.require(request.headers.get("authorization"), Scope.RECEIVE)
    answer = await read_json(request)
    if answer is None:
        raise Problem(422, "no_answer", "the answer must not be null")
    text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > MAX_ANSWER_BYTES:
        raise Problem(413, "answer_too_large", f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    kept = None
    if 0 < payment_id <= _LARGEST_ID:
        with database_errors():
            async with request.app.state.database.connection() as conn:
                kept = await payments.keep_response(conn, payment_id, text)
    if kept is None:
        raise Problem(404, "unknown_payment", "there is no such payment")
    return JSONResponse({"answer": json.loads(kept)}, headers=NO_STORE)
