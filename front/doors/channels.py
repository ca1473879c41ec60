"""`GET /v1/channels…`: channels as they stand, and what we have paid in them."""

import contextlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from front import examples
from front.answering import answer, described, problems
from front.callers import Reader
from front.ordering import unknown_channel
from front.problems import Problem, invalid_request
from front.schemas import (
    ChannelList,
    ChannelView,
    SentPaymentList,
    SentPaymentView,
    channel_view,
    sent_payment_view,
)
from shared.channels.model import MAX_AMOUNT
from shared.obyte.chash import is_valid_address, is_valid_device_address
from shared.obyte.errors import ObyteError
from shared.obyte.pairing import parse_pairing_code
from shared.orders import MAX_PEER_CHARACTERS, Address, Asset
from shared.peers.errors import PeerError
from shared.peers.http import base_url_of
from shared.receiving.errors import database_errors
from shared.store import channels, outgoing, refills
from shared.store.channel_rows import ShownStatus, StoredChannel
from shared.store.database import Connection
from shared.store.outgoing import Outgoing, Place
from shared.store.sent_payments import SentState

router = APIRouter(prefix="/v1/channels", tags=["channels"])

AaAddress = Annotated[Address, Path(description="The channel's address", examples=[examples.AA_ADDRESS])]
SentPaymentId = Annotated[
    str, Path(pattern=r"^[0-9]{1,16}-[0-9]{1,16}$", description="Period and amount_spent", examples=["1-7000"])
]

_MAX_PAGE = 200
_MAX_PERIOD = 2**53
_UNKNOWN_PAYMENT = (
    "unknown_payment",
    "nothing of this amount_spent was signed in the period",
    "There is no such thing",
)


class ChannelsQuery(BaseModel):
    """Which channels."""

    model_config = ConfigDict(extra="forbid")

    status: ShownStatus | None = None
    asset: Asset | None = Field(None, description="`base` or the asset's id")
    peer: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_PEER_CHARACTERS,
        description="The peer's payment address, device address or pairing code, or the URL he was first asked at",
    )
    limit: int = Field(50, ge=1, le=_MAX_PAGE)
    cursor: Address | None = Field(None, description="`next_cursor` of the page before")


class SentPaymentsQuery(BaseModel):
    """Which payments of ours."""

    model_config = ConfigDict(extra="forbid")

    state: SentState | None = Field(None, description="`uncertain`: nobody knows whether it arrived")
    limit: int = Field(50, ge=1, le=_MAX_PAGE)
    cursor: str | None = Field(
        None, pattern=r"^[0-9]{1,16}-[0-9]{1,16}$", description="`next_cursor` of the page before"
    )


@router.get(
    "",
    summary="List channels",
    responses=described("A page of channels, the newest first", ChannelList, examples.CHANNELS)
    | problems(401, 403, 422, 503),
)
async def list_channels(request: Request, _caller: Reader, query: Annotated[ChannelsQuery, Query()]) -> Response:
    """List channels, the newest first."""
    which = {} if query.peer is None else _channels_with(query.peer)
    with database_errors():
        async with request.app.state.database.connection() as conn:
            found = await channels.page(
                conn,
                after=query.cursor,
                limit=query.limit,
                status=query.status,
                asset=query.asset,
                **which,
            )
            views = await _views(conn, found)
    is_full = len(found) == query.limit
    return answer(ChannelList(items=views, next_cursor=found[-1].channel.aa_address if is_full else None))


@router.get(
    "/{aa_address}",
    summary="Show a channel",
    responses=described("The channel", ChannelView, examples.CHANNEL) | problems(401, 403, 404, 422, 503),
)
async def show_channel(request: Request, _caller: Reader, aa_address: AaAddress) -> Response:
    """Show a channel as it stands."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            views = await _views(conn, list((await channels.find(conn, [aa_address])).values()))
    if not views:
        raise unknown_channel()
    return answer(views[0])


@router.get(
    "/{aa_address}/payments",
    summary="List what we have paid in a channel",
    responses=described("A page of payments, the newest first", SentPaymentList, examples.SENT_PAYMENTS)
    | problems(401, 403, 404, 422, 503),
)
async def list_sent_payments(
    request: Request, _caller: Reader, aa_address: AaAddress, query: Annotated[SentPaymentsQuery, Query()]
) -> Response:
    """List payments of ours, the newest first. Those that are `uncertain` can be sent again."""
    before = None if query.cursor is None else read_place(query.cursor)
    with database_errors():
        async with request.app.state.database.connection() as conn:
            if not await channels.find(conn, [aa_address]):
                raise unknown_channel()
            found = await outgoing.page(conn, aa_address, before=before, state=query.state, limit=query.limit)
    items = [sent_payment_view(payment) for payment in found]
    return answer(SentPaymentList(items=items, next_cursor=items[-1].id if len(items) == query.limit else None))


@router.get(
    "/{aa_address}/payments/{payment_id}",
    summary="Show a payment of ours",
    responses=described("The payment", SentPaymentView, examples.SENT_PAYMENT)
    | problems(401, 403, 422, 503, status_404=_UNKNOWN_PAYMENT),
)
async def show_sent_payment(
    request: Request, _caller: Reader, aa_address: AaAddress, payment_id: SentPaymentId
) -> Response:
    """Show a payment of ours and what became of it."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            found = await sent_payment(conn, aa_address, payment_id)
    return answer(sent_payment_view(found))


async def sent_payment(conn: Connection, aa_address: str, payment_id: str) -> Outgoing:
    """Return a payment of ours. Raises Problem 404."""
    found = await outgoing.get(conn, aa_address, read_place(payment_id))
    if found is None:
        raise Problem(404, _UNKNOWN_PAYMENT[0], _UNKNOWN_PAYMENT[1])
    return found


def read_place(text: str) -> Place:
    """Read what names a payment of ours. Raises Problem 404 for what can name none."""
    period, amount_spent = map(int, re.split("-", text))
    if period > _MAX_PERIOD or amount_spent > MAX_AMOUNT:
        raise Problem(404, _UNKNOWN_PAYMENT[0], _UNKNOWN_PAYMENT[1])
    return period, amount_spent


def _channels_with(peer: str) -> dict[str, str]:
    """Return what finds the channels with a peer, however he is called. Raises Problem 422."""
    if is_valid_address(peer):
        return {"peer_address": peer}
    if is_valid_device_address(peer):
        return {"peer_device": peer}
    with contextlib.suppress(PeerError):
        return {"opened_at_url": base_url_of(peer)}
    with contextlib.suppress(ObyteError):
        return {"peer_device": parse_pairing_code(peer).device_address}
    rule = "must be a payment address, a device address, a pairing code or an http or https URL"
    raise invalid_request([("query.peer", rule)])


async def _views(conn: Connection, found: list[StoredChannel]) -> list[ChannelView]:
    addresses = [stored.channel.aa_address for stored in found]
    known: dict[str, Any] = await refills.of_many(conn, addresses)
    on_their_way = await outgoing.deposits_on_their_way(conn, addresses)
    lost = await outgoing.possibly_lost(conn, addresses)
    return [
        channel_view(
            stored,
            refill=known.get(address),
            deposits_on_their_way=on_their_way.get(address, 0),
            possibly_lost=lost.get(address, 0),
        )
        for address, stored in zip(addresses, found, strict=True)
    ]
