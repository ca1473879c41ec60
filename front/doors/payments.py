"""`GET /v1/payments…`: what was received, in pages or as a statement in CSV."""

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from front import examples
from front.answering import answer, described, problems
from front.callers import Reader
from front.history import History, Read
from front.problems import NO_STORE, Problem, invalid_request
from front.schemas import PaymentList, PaymentView, payment_view
from front.statement import MAX_ROWS, StatementTooLargeError, chunks, write_statement
from shared.channels.model import MAX_AMOUNT
from shared.orders import Address, Asset
from shared.receiving.errors import UnavailableError, database_errors
from shared.store import payments
from shared.store.payments import Filter, Payment

router = APIRouter(prefix="/v1/payments", tags=["payments"])

_MAX_PAGE = 200
_MAX_TEXT = 2_000_000
"""Characters of messages and answers in one page, about: a page with more ends early."""
_LARGEST_ID = 2**63 - 1
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_STATEMENTS_AT_ONCE = 2
_CSV = re.compile(r"\btext/csv\b(?!\s*;[^,]*\bq=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)
_UNKNOWN = ("unknown_payment", "there is no payment with this number", "There is no such thing")
_TOO_LARGE = ("statement_too_large", f"a statement has up to {MAX_ROWS} payments: ask for less time")


def _written_out(value: Any) -> Any:
    if isinstance(value, str) and _MOMENT.match(value) is None:
        raise ValueError("must be a date and a time with its zone, as in 2026-01-31T12:00:00Z")
    return value


def _in_range(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("must lie between the years 1970 and 9999")
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_range)]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]


class PaymentsQuery(BaseModel):
    """Which payments, and in which order."""

    model_config = ConfigDict(extra="forbid")

    channel: Address | None = Field(None, description="The channel's address")
    peer: Address | None = Field(None, description="The payer's address")
    asset: Asset | None = Field(None, description="`base` or the asset's id")
    since: Moment | None = Field(None, description="Accepted then or later")
    until: Moment | None = Field(None, description="Accepted before")
    min_amount: Amount | None = None
    max_amount: Amount | None = None
    order: Literal["asc", "desc"] | None = Field(None, description="`desc`, the default: the newest first. Not for CSV")
    limit: Annotated[int, Field(ge=1, le=_MAX_PAGE)] | None = Field(None, description="50 by default. Not for CSV")
    cursor: str | None = Field(
        None, pattern=r"^(asc|desc)-[0-9]{1,18}$", description="`next_cursor` of the page before. Not for CSV"
    )

    @property
    def filter(self) -> Filter:
        """Which payments."""
        return Filter(
            aa_address=self.channel,
            asset=self.asset,
            since=self.since,
            until=self.until,
            peer_address=self.peer,
            min_amount=self.min_amount,
            max_amount=self.max_amount,
        )


_PAGE = described("A page of payments, or the statement", PaymentList, examples.PAYMENTS)
_PAGE[200]["content"]["text/csv"] = {"schema": {"type": "string"}, "example": examples.STATEMENT}


@router.get("", summary="List payments, or export them as CSV", responses=_PAGE | problems(401, 403, 422, 503))
async def list_payments(request: Request, _caller: Reader, query: Annotated[PaymentsQuery, Query()]) -> Response:
    """List payments; with `Accept: text/csv`, a statement of all of them as of one moment.

    In a statement, for each asset, the balance of the row `opening` plus the amounts of the rows `payment`, and of a
    row `dropped` for each month of which only the sum was kept, is the balance of the row `closing`.
    """
    history: History = request.app.state.history
    if _CSV.search(request.headers.get("accept", "")):
        return await _statement(request, history, query)
    order, place = _start(query)
    limit = query.limit or 50

    async def page(past: Read) -> list[Payment]:
        if order == "asc":
            until_id = await past.decided()
            return await payments.page(past.conn, query.filter, after=place or 0, until_id=until_id, limit=limit)
        before = place if place is not None else await past.decided() + 1
        return await payments.page_back(past.conn, query.filter, before=before, limit=limit)

    with database_errors():
        found, is_standby = await history.read(page, fresh=_wants_fresh(request))
    shown = _within(found)
    has_more = len(found) == limit or len(shown) < len(found)
    items = [_view(payment) for payment in shown]
    listed = answer(PaymentList(items=items, next_cursor=f"{order}-{shown[-1].id}" if has_more else None))
    listed.headers.update(_told_of(is_standby))
    return listed


@router.get(
    "/{payment_id}",
    summary="Show a payment",
    responses=described("The payment", PaymentView, examples.PAYMENT)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN),
)
async def show_payment(
    request: Request, _caller: Reader, payment_id: Annotated[int, Path(ge=1, le=_LARGEST_ID, examples=[12])]
) -> Response:
    """Show a payment that was received."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            payment = await payments.get(conn, payment_id)
    if payment is None:
        raise Problem(404, _UNKNOWN[0], _UNKNOWN[1])
    return answer(_view(payment))


def _start(query: PaymentsQuery) -> tuple[str, int | None]:
    """Return in which order, and after which id. Raises Problem 422 for a cursor of the other order."""
    if query.cursor is None:
        return query.order or "desc", None
    order, _, place = query.cursor.partition("-")
    if query.order not in (None, order):
        raise invalid_request([("query.cursor", "is one of the other order")])
    return order, int(place)


async def _statement(request: Request, history: History, query: PaymentsQuery) -> Response:
    given = [name for name in ("order", "limit", "cursor") if getattr(query, name) is not None]
    if given:
        raise invalid_request([(f"query.{name}", "a statement has all payments, oldest first") for name in given])
    turns: asyncio.Semaphore = request.app.state.statements
    if turns.locked():
        raise UnavailableError("overloaded", "other statements are being written", retry_after_s=5)
    async with turns:
        try:
            with database_errors():
                file, is_standby = await history.read(
                    lambda past: write_statement(past.conn, query.filter),
                    at_one_moment=True,
                    fresh=_wants_fresh(request),
                )
        except StatementTooLargeError:
            raise Problem(422, *_TOO_LARGE) from None
    headers = NO_STORE | _told_of(is_standby) | {"content-disposition": 'attachment; filename="payments.csv"'}
    return StreamingResponse(chunks(file), headers=headers, media_type="text/csv; charset=utf-8")


def _wants_fresh(request: Request) -> bool:
    """Whether the caller wants what is true now (`Cache-Control: no-cache`), not what a stand-by knows."""
    return "no-cache" in request.headers.get("cache-control", "").lower()


def _told_of(is_standby: bool) -> dict[str, str]:  # noqa: FBT001 - what `History.read` says
    return {"sluice-read-from": "standby"} if is_standby else {}


def statements() -> asyncio.Semaphore:
    """Return the turns in which a process writes statements: payments need the other connections."""
    return asyncio.Semaphore(_STATEMENTS_AT_ONCE)


def _within(found: list[Payment]) -> list[Payment]:
    """Return as many of the payments as go into one answer, at least one."""
    size = 0
    for count, payment in enumerate(found):
        size += len(payment.message or "") + len(payment.response or "")
        if count and size > _MAX_TEXT:
            return found[:count]
    return found


def _view(payment: Payment) -> PaymentView:
    return payment_view(payment, _decoded(payment.message), _decoded(payment.response))


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
