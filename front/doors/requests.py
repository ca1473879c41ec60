"""`/v1/payment-requests`: what somebody is asked to pay, and what came for it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from front import examples, ordering
from front.answering import answer, body_of, described, plain, problems
from front.at_once import carry_out_once
from front.authentication import Caller
from front.bodies import read_json
from front.callers import Reader, Requires
from front.ordering import Answer
from front.problems import Problem, invalid_request
from front.request_views import RequestList, RequestPaymentList, RequestView, request_payment_view, request_view
from shared.receiving.errors import database_errors
from shared.requests.asking import Asked, ExpiryError
from shared.requests.standing import RequestState
from shared.store import payment_requests
from shared.store.api_keys import Scope
from shared.store.database import Connection
from shared.store.payment_requests import ID_PATTERN, NewRequest, NotCancellableError

router = APIRouter(prefix="/v1/payment-requests", tags=["payment requests"])

Asker = Annotated[Caller, Depends(Requires(Scope.RECEIVE, Scope.ADMIN))]
RequestId = Annotated[str, Path(pattern=ID_PATTERN, examples=[examples.REQUEST["id"]])]

_UNKNOWN = ("unknown_payment_request", "there is no payment request with this id", "There is no such thing")
_ENDED = ("not_cancellable", "the request is paid", "It is paid or expired, and stays that")


class AskHeaders(BaseModel):
    """What goes with a new request."""

    model_config = ConfigDict(extra="ignore")

    idempotency_key: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$",
        description="The same request under the same key is made once, and answered the same for 24 hours",
    )


class RequestsQuery(BaseModel):
    """Which requests."""

    model_config = ConfigDict(extra="forbid")

    state: RequestState | None = None
    limit: Annotated[int, Field(ge=1, le=payment_requests.MAX_PAGE)] = 50
    cursor: str | None = Field(None, pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")


class PaymentsQuery(BaseModel):
    """Which payments."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=payment_requests.MAX_PAGE)] = 50
    cursor: str | None = Field(None, pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")


_LOCATION = {"Location": {"description": "Where the request is found", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    summary="Ask for a payment",
    openapi_extra=body_of(Asked.model_json_schema(), examples.ASKED),
    responses=described("The request is made", RequestView, examples.REQUEST, status=201, headers=_LOCATION)
    | problems(400, 401, 403, 413, 422, 503),
)
async def create_request(request: Request, caller: Asker, headers: Annotated[AskHeaders, Header()]) -> Response:
    """Make a payment request. Send its `url` to the payer; a payment names the request in its message."""
    body = await read_json(request)
    new = _read(body, caller)
    url = str(request.app.state.settings.public_url)

    async def act(conn: Connection) -> Answer:
        made = await payment_requests.insert(conn, new)
        return 201, plain(request_view(made, url))

    ordered = ordering.Request(caller, f"POST {router.prefix}", body, headers.idempotency_key)
    (status, content), is_replayed = await carry_out_once(request.app.state.database, ordered, act)
    told = {"location": f"{router.prefix}/{content['id']}"}
    return answer(content, status, headers=told | ({"idempotent-replayed": "true"} if is_replayed else {}))


@router.get(
    "",
    summary="List payment requests",
    responses=described("A page of requests", RequestList, examples.REQUESTS) | problems(401, 403, 422, 503),
)
async def list_requests(request: Request, _caller: Reader, query: Annotated[RequestsQuery, Query()]) -> Response:
    """List payment requests, the newest first, of one state if wanted."""
    before = None if query.cursor is None else int(query.cursor)
    with database_errors():
        async with request.app.state.database.connection() as conn:
            found = await payment_requests.page(conn, state=query.state, before=before, limit=query.limit)
    url = str(request.app.state.settings.public_url)
    cursor = str(found[-1].number) if len(found) == query.limit else None
    return answer(RequestList(items=[request_view(item, url) for item in found], next_cursor=cursor))


@router.get(
    "/{request_id}",
    summary="Show a payment request",
    responses=described("The request", RequestView, examples.REQUEST)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN),
)
async def show_request(request: Request, _caller: Reader, request_id: RequestId) -> Response:
    """Show a payment request as it stands now."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            found = await payment_requests.get(conn, request_id)
    if found is None:
        raise _unknown()
    return answer(request_view(found, str(request.app.state.settings.public_url)))


@router.delete(
    "/{request_id}",
    summary="Cancel a payment request",
    responses=described("It is cancelled", RequestView, examples.CANCELLED_REQUEST)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN, status_409=_ENDED),
)
async def cancel_request(request: Request, _caller: Asker, request_id: RequestId) -> Response:
    """Cancel a request that is not paid yet. What has come for it stays credited; once more changes nothing."""
    with database_errors():
        try:
            async with request.app.state.database.transaction() as conn:
                found = await payment_requests.cancel(conn, request_id)
        except NotCancellableError as error:
            raise Problem(409, error.code, str(error)) from None
    if found is None:
        raise _unknown()
    return answer(request_view(found, str(request.app.state.settings.public_url)))


@router.get(
    "/{request_id}/payments",
    summary="List the payments for a request",
    responses=described("A page of payments", RequestPaymentList, examples.REQUEST_PAYMENTS)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN),
)
async def list_request_payments(
    request: Request, _caller: Reader, request_id: RequestId, query: Annotated[PaymentsQuery, Query()]
) -> Response:
    """List what came for a request, the oldest first: also late payments, and those in other assets."""
    after = 0 if query.cursor is None else int(query.cursor)
    with database_errors():
        async with request.app.state.database.connection() as conn:
            if await payment_requests.get(conn, request_id) is None:
                raise _unknown()
            found = await payment_requests.payments_page(conn, request_id, after=after, limit=query.limit)
    cursor = str(found[-1].id) if len(found) == query.limit else None
    return answer(RequestPaymentList(items=[request_payment_view(item) for item in found], next_cursor=cursor))


def _read(body: Any, caller: Caller) -> NewRequest:
    if not isinstance(body, dict):
        raise Problem(400, "not_an_object", "the body should be a JSON object")
    try:
        asked = Asked.model_validate(body)
        expires_at = asked.expiry(datetime.now(UTC))
    except ValidationError as error:
        faults = [(".".join(map(str, ("body", *fault["loc"]))), fault["msg"]) for fault in error.errors()]
        raise invalid_request(faults) from None
    except ExpiryError as error:
        raise invalid_request([("body.expires_at", str(error))]) from None
    return NewRequest(
        amount=asked.amount,
        asset=asked.asset,
        memo=asked.memo,
        metadata=asked.metadata,
        public_metadata=asked.public_metadata,
        return_url=asked.return_url,
        expires_at=expires_at,
        created_by=caller.key_id,
    )


def _unknown() -> Problem:
    return Problem(404, _UNKNOWN[0], _UNKNOWN[1])
