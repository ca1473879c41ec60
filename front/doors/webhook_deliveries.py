"""`/v1/webhooks/{webhook_id}/…`: what became of deliveries, and sending again. For keys with the scope `admin`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from front import webhook_views as views
from front.answering import answer, body_of, described, problems
from front.callers import Administrator
from front.doors.payments import Moment
from front.doors.webhooks import PREFIX, UNKNOWN, WebhookId, read_body, refusals
from front.problems import Problem, invalid_request
from front.webhook_views import Accepted, DeliveryList, DeliveryWithAttempts, Replay, WebhookView
from shared.orders import Address
from shared.receiving.errors import database_errors
from shared.store import webhook_deliveries, webhooks
from shared.store.events import EventKind
from shared.store.webhook_deliveries import DeliveryState, Filter
from shared.webhooks import managing

router = APIRouter(prefix=PREFIX, tags=["webhooks"])

_LARGEST_ID = 2**63 - 1
_UNKNOWN_DELIVERY = ("unknown_delivery", "no such delivery to this webhook is on record", "There is no such thing")
_NOT_ACTIVE = (
    "webhook_not_active",
    "nothing is sent to a webhook that is paused or disabled",
    "It is paused or disabled",
)
_FORGOTTEN = (
    "expired_cursor",
    "events after this cursor were forgotten, or the stream was begun anew",
    "Something would be skipped",
)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)

DeliveryId = Annotated[
    str,
    Path(pattern=r"^[0-9a-z]{1,32}-[0-9]{1,18}$", description="The header `webhook-id`", examples=["5c0a81f2-41"]),
]


class DeliveriesQuery(BaseModel):
    """Which deliveries."""

    model_config = ConfigDict(extra="forbid")

    state: DeliveryState | None = None
    type: EventKind | None = Field(None, description="The name of an event")
    channel: Address | None = Field(None, description="The channel's address")
    limit: int = Field(50, ge=1, le=webhook_deliveries.MAX_PAGE)
    cursor: str | None = Field(None, pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    summary="Send a test event",
    responses=described("It is on its way", Accepted, {"id": views.DELIVERY["id"]}, status=202)
    | problems(401, 403, 422, 503, status_404=UNKNOWN, status_409=_NOT_ACTIVE),
)
async def send_test(request: Request, _caller: Administrator, webhook_id: WebhookId) -> Response:
    """Send an event `webhook_test` to this webhook, whatever its types. The delivery tells what became of it."""
    with refusals(), database_errors():
        async with request.app.state.database.transaction() as conn:
            message_id = await managing.send_test(conn, webhook_id)
    return answer(Accepted(id=message_id), 202)


@router.post(
    "/{webhook_id}/replay",
    status_code=202,
    summary="Send events again from some point on",
    openapi_extra=body_of(Replay.model_json_schema(), {"after": views.DELIVERY["id"]}),
    responses=described("They are sent", WebhookView, views.WEBHOOK, status=202)
    | problems(400, 401, 403, 413, 422, 503, status_404=UNKNOWN, status_410=_FORGOTTEN),
)
async def replay(request: Request, _caller: Administrator, webhook_id: WebhookId) -> Response:
    """Send everything after a cursor or since a time again, under the same ids, as far as events are kept."""
    body = await read_body(request, Replay)
    since = None
    if body.since is not None:
        try:
            since = _MOMENT.validate_python(body.since)
        except ValidationError as error:
            raise invalid_request([("body.since", fault["msg"]) for fault in error.errors()]) from None
    with refusals(), database_errors():
        async with request.app.state.database.transaction() as conn:
            webhook = await managing.send_since(conn, webhook_id, after=body.after, since=since)
    return answer(views.webhook_view(webhook), 202)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List deliveries",
    responses=described("A page of deliveries, those of the newest events first", DeliveryList, views.DELIVERIES)
    | problems(401, 403, 422, 503, status_404=UNKNOWN),
)
async def list_deliveries(
    request: Request, _caller: Administrator, webhook_id: WebhookId, query: Annotated[DeliveriesQuery, Query()]
) -> Response:
    """List deliveries to a webhook; they are kept for some days after their end."""
    wanted = Filter(query.state, None if query.type is None else query.type.value, query.channel)
    before = _LARGEST_ID if query.cursor is None else int(query.cursor)
    with database_errors():
        async with request.app.state.database.connection() as conn:
            if await webhooks.find(conn, webhook_id) is None:
                raise Problem(404, UNKNOWN[0], UNKNOWN[1])
            found = await webhook_deliveries.page(conn, webhook_id, wanted, before=before, limit=query.limit)
    cursor = str(found[-1].event_id) if len(found) == query.limit else None
    return answer(DeliveryList(items=[views.delivery_view(delivery) for delivery in found], next_cursor=cursor))


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    summary="Show a delivery with its attempts",
    responses=described("The delivery", DeliveryWithAttempts, views.WITH_ATTEMPTS)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN_DELIVERY),
)
async def show_delivery(
    request: Request, _caller: Administrator, webhook_id: WebhookId, delivery_id: DeliveryId
) -> Response:
    """Show a delivery and its last 100 attempts, the newest first."""
    with refusals(), database_errors():
        async with request.app.state.database.connection() as conn:
            delivery = await managing.delivery_of(conn, webhook_id, delivery_id)
            attempts = await webhook_deliveries.attempts(conn, webhook_id, delivery.event_id)
    return answer(views.delivery_with_attempts(delivery, list(attempts)))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Send one event again",
    responses=described("It is on its way", Accepted, {"id": views.DELIVERY["id"]}, status=202)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN_DELIVERY),
)
async def replay_delivery(
    request: Request, _caller: Administrator, webhook_id: WebhookId, delivery_id: DeliveryId
) -> Response:
    """Send one event again under the same id, whatever became of it, with all attempts."""
    with refusals(), database_errors():
        async with request.app.state.database.transaction() as conn:
            await managing.send_again(conn, webhook_id, delivery_id)
    return answer(Accepted(id=delivery_id), 202)
