"""`/v1/webhooks`: where events are sent. For keys with the scope `admin`."""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from front import webhook_views as views
from front.answering import Responses, answer, body_of, described, problems
from front.authentication import Caller
from front.bodies import read_json
from front.callers import Administrator
from front.ordering import key_reused
from front.problems import NO_STORE, Problem, invalid_request
from front.webhook_views import (
    Rotation,
    WebhookChange,
    WebhookList,
    WebhookView,
    WebhookWish,
    WebhookWithSecret,
)
from shared.events.cursors import InvalidCursorError
from shared.receiving.errors import database_errors
from shared.store import webhooks
from shared.store.errors import IdempotencyConflictError, StoreError
from shared.store.webhooks import RotationUnderWayError, TooManyWebhooksError
from shared.webhooks import managing
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.errors import InvalidUrlError, WebhookError
from shared.webhooks.managing import (
    Change,
    ForgottenEventsError,
    NoSignerError,
    NotActiveError,
    UnknownDeliveryError,
    UnknownWebhookError,
    Wish,
)

PREFIX = "/v1/webhooks"

router = APIRouter(prefix=PREFIX, tags=["webhooks"])

_LARGEST_ID = 2**63 - 1
UNKNOWN = ("unknown_webhook", "there is no webhook with this number", "There is no such webhook")
_TOO_MANY = ("too_many_webhooks", "there are 20 webhooks already", "`SLUICE_MAX_WEBHOOKS` is reached")
_UNDER_WAY = ("rotation_under_way", "the previous secret is still valid", "The secret was replaced a short time ago")
_STATUSES: dict[type[Exception], int] = {
    UnknownWebhookError: 404,
    UnknownDeliveryError: 404,
    TooManyWebhooksError: 409,
    RotationUnderWayError: 409,
    NotActiveError: 409,
    ForgottenEventsError: 410,
}

ModelT = TypeVar("ModelT", bound=BaseModel)

WebhookId = Annotated[int, Path(ge=1, le=_LARGEST_ID, examples=[3])]


class CreationHeaders(BaseModel):
    """What goes with a new webhook."""

    model_config = ConfigDict(extra="ignore")

    idempotency_key: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$",
        description="The same request under the same key makes one webhook; its secret is told once",
    )


class WebhooksQuery(BaseModel):
    """Which webhooks."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")


_GONE: Responses = {204: {"description": "It is gone, with its deliveries"}}
_LOCATION = {"Location": {"description": "Where the webhook is found", "schema": {"type": "string"}}}


@router.get(
    "",
    summary="List webhooks",
    responses=described("A page of webhooks", WebhookList, views.WEBHOOKS) | problems(401, 403, 422, 503),
)
async def list_webhooks(request: Request, _caller: Administrator, query: Annotated[WebhooksQuery, Query()]) -> Response:
    """List webhooks in the order in which they were made, without their secrets."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            found = await webhooks.page(conn, after=int(query.cursor or 0), limit=query.limit)
    cursor = str(found[-1].id) if len(found) == query.limit else None
    return answer(WebhookList(items=[views.webhook_view(webhook) for webhook in found], next_cursor=cursor))


@router.post(
    "",
    status_code=201,
    summary="Make a webhook",
    openapi_extra=body_of(WebhookWish.model_json_schema(), views.WISH),
    responses=described("It is made", WebhookWithSecret, views.WITH_SECRET, status=201, headers=_LOCATION)
    | described("An earlier request has made it", WebhookWithSecret, {**views.WITH_SECRET, "secret": None})
    | problems(400, 401, 403, 413, 422, 503, status_409=_TOO_MANY),
)
async def create_webhook(
    request: Request, caller: Administrator, headers: Annotated[CreationHeaders, Header()]
) -> Response:
    """Make a webhook that is sent what happens from now on. Its secret is shown in this answer only."""
    body = await read_body(request, WebhookWish)
    _check(request, body.url)
    key, settings = headers.idempotency_key, request.app.state.settings
    types = None if body.types is None else tuple(kind.value for kind in dict.fromkeys(body.types))
    wish = Wish(body.url, body.description, types)
    if key is not None:
        said = json.dumps([body.url, body.description, types])
        wish = Wish(body.url, body.description, types, _hash(_key_of(caller, key)), _hash(said))
    with refusals(), database_errors():
        made = await managing.make(
            request.app.state.database, wish, at_most=settings.max_webhooks, random_bytes=secrets.token_bytes
        )
    view = views.webhook_with_secret(made.webhook, None if made.secret is None else made.secret.text)
    location = {"location": f"{router.prefix}/{made.webhook.id}"}
    if made.secret is None:
        return answer(view, headers=location | {"idempotent-replayed": "true"})
    return answer(view, 201, headers=location)


@router.get(
    "/{webhook_id}",
    summary="Show a webhook",
    responses=described("The webhook", WebhookView, views.WEBHOOK) | problems(401, 403, 422, 503, status_404=UNKNOWN),
)
async def show_webhook(request: Request, _caller: Administrator, webhook_id: WebhookId) -> Response:
    """Show a webhook as it stands."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            found = await webhooks.find(conn, webhook_id)
    if found is None:
        raise Problem(404, UNKNOWN[0], UNKNOWN[1])
    return answer(views.webhook_view(found))


@router.patch(
    "/{webhook_id}",
    summary="Change, pause or resume a webhook",
    openapi_extra=body_of(WebhookChange.model_json_schema(), {"paused": True}),
    responses=described("The webhook", WebhookView, {**views.WEBHOOK, "state": "paused"})
    | problems(400, 401, 403, 413, 422, 503, status_404=UNKNOWN),
)
async def change_webhook(request: Request, _caller: Administrator, webhook_id: WebhookId) -> Response:
    """Change a webhook. What was not sent while it was paused or disabled is sent when it is resumed."""
    body = await read_body(request, WebhookChange)
    if body.url is not None:
        _check(request, body.url)
    wanted = Change(
        url=body.url,
        description=body.description,
        types=None if body.types is None else [kind.value for kind in dict.fromkeys(body.types)],
        all_types="types" in body.model_fields_set and body.types is None,
        paused=body.paused,
    )
    with refusals(), database_errors():
        async with request.app.state.database.transaction() as conn:
            changed = await managing.change(conn, webhook_id, wanted)
    return answer(views.webhook_view(changed))


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=_GONE | problems(401, 403, 422, 503, status_404=UNKNOWN),
)
async def delete_webhook(request: Request, _caller: Administrator, webhook_id: WebhookId) -> Response:
    """Delete a webhook with its secrets and the record of its deliveries. Nothing more is sent to it."""
    with database_errors():
        async with request.app.state.database.transaction() as conn:
            is_gone = await webhooks.delete(conn, webhook_id)
    if not is_gone:
        raise Problem(404, UNKNOWN[0], UNKNOWN[1])
    return Response(status_code=204, headers=NO_STORE)


@router.post(
    "/{webhook_id}/secret",
    summary="Replace the secret of a webhook",
    openapi_extra=body_of(Rotation.model_json_schema(), {"overlap_s": 86_400}, required=False),
    responses=described(
        "The new secret",
        WebhookWithSecret,
        {**views.WITH_SECRET, "previous_secret_ends_at": views.WEBHOOK["created_at"]},
    )
    | problems(400, 401, 403, 413, 422, 503, status_404=UNKNOWN, status_409=_UNDER_WAY),
)
async def rotate_secret(request: Request, _caller: Administrator, webhook_id: WebhookId) -> Response:
    """Make a new secret, shown in this answer only. Both sign until the old one ends."""
    body = await read_body(request, Rotation)
    with refusals(), database_errors():
        async with request.app.state.database.transaction() as conn:
            made = await managing.rotate(
                conn,
                webhook_id,
                overlap_s=body.overlap_s,
                ends_previous=body.end_previous,
                random_bytes=secrets.token_bytes,
            )
    return answer(views.webhook_with_secret(made.webhook, None if made.secret is None else made.secret.text))


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """Read the body; none at all is an empty one. Raises BodyError, Problem 422."""
    headers = request.headers
    is_empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    raw: Any = {} if is_empty else await read_json(request)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults = [(".".join(map(str, ("body", *fault["loc"]))), fault["msg"]) for fault in error.errors()]
        raise invalid_request(faults) from None


def _check(request: Request, url: str) -> None:
    """Look at a URL as every attempt will. Where its host leads is looked at then. Raises Problem 422."""
    try:
        AddressGuard(request.app.state.settings.webhook_allowed_networks).read(url)
    except InvalidUrlError as error:
        raise invalid_request([("body.url", str(error))]) from None


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Answer what is refused with a problem."""
    try:
        yield
    except IdempotencyConflictError:
        raise key_reused() from None
    except InvalidCursorError:
        raise invalid_request([("body.after", "must be the id of an event")]) from None
    except NoSignerError as error:
        raise Problem(503, error.code, str(error), headers={"retry-after": "5"}) from None
    except (WebhookError, StoreError) as error:
        if type(error) not in _STATUSES:
            raise
        raise Problem(_STATUSES[type(error)], error.code, str(error)) from None


def _key_of(caller: Caller, key: str) -> str:
    return f"{caller.key_id}:{key}"


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
