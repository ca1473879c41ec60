"""`PUT /v1/payments/{payment_id}/answer`: an application keeps with a payment what it has answered to it.

An application that sells over HTTP gives each answer once: whoever repeats a paid request gets the kept one, from any
of its processes. The first answer counts, as with answers that are given in the front (`on_payment`).
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front.answering import described, problems
from front.bodies import read_json
from front.callers import Merchant
from front.problems import NO_STORE, Problem
from shared.receiving.answers import MAX_ANSWER_BYTES
from shared.receiving.errors import database_errors
from shared.store import payments

router = APIRouter(prefix="/v1/payments", tags=["packages"])

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
_UNKNOWN = ("unknown_payment", "there is no such payment", "There is no such payment")


class AnswerView(BaseModel):
    """What the application has answered to a payment."""

    answer: Any = Field(description="The one that counts: this one, or the first one")


_RESPONSES = described("The answer is kept", AnswerView, {"answer": {"status": 200, "text": "the weather is fine"}})
_RESPONSES |= problems(400, 401, 403, 413, 422, 503, status_404=_UNKNOWN)


@router.put(
    "/{payment_id}/answer",
    summary="Keep the application's answer to a payment",
    openapi_extra=_DESCRIPTION,
    responses=_RESPONSES,
)
async def keep(payment_id: Annotated[int, Path(examples=[12])], request: Request, _caller: Merchant) -> Response:
    """Keep the answer if there is none yet, and return the one that is kept."""
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
