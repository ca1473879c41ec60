"""`/v1` where it moves money: open, deposit, close, sweep, refill, pay, sign, send again. The worker does all of it.

Every request becomes one command. It is answered with 202 and where to poll; with `Prefer: wait=N` with the outcome, if
that is known in time.
"""

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from front import examples, ordering
from front.answering import Responses, answer, body_of, described, plain, problems
from front.authentication import Caller
from front.bodies import read_json
from front.callers import Manager, Spender
from front.doors.channels import AaAddress, SentPaymentId, sent_payment
from front.ordering import Answer, Ordered
from front.outcomes import MAX_WAIT_S
from front.problems import Problem, invalid_request
from front.schemas import CommandView, command_view
from shared.orders import (
    MAX_PEER_CHARACTERS,
    Address,
    Amount,
    AutoRefill,
    Close,
    Deposit,
    Open,
    Order,
    Pay,
    RefillTerms,
    Resend,
    Sign,
    Sweep,
)
from shared.receiving.errors import database_errors
from shared.sealing import Reader, SealingError
from shared.store.api_keys import Scope
from shared.store.commands import Command, CommandState

router = APIRouter(prefix="/v1", tags=["channels"])

MAX_MESSAGE_BYTES = 32_768
_SEALED, _OPENED = "sealed_package", "package"
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})\"?(?:$|[,;\s])", re.IGNORECASE)


class PackageOrder(BaseModel):
    """Sign a package of `amount` on a channel."""

    model_config = Order.model_config

    aa_address: Address
    amount: Amount


class ResendOrder(BaseModel):
    """Send a payment again; `peer` is where he is reached, if that is not known."""

    model_config = Order.model_config

    peer: Annotated[str, Field(max_length=MAX_PEER_CHARACTERS)] | None = None


class Headers(BaseModel):
    """What goes with every order."""

    model_config = ConfigDict(extra="ignore")

    idempotency_key: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$",
        description="The same request under the same key is carried out once, and answered the same for 24 hours",
    )
    prefer: str | None = Field(
        None, description=f"`wait=N`: answer with the outcome if it is known within N ≤ {MAX_WAIT_S} seconds"
    )


OrderHeaders = Annotated[Headers, Header()]


def answer_of(command: Command) -> Answer:
    """Return status and content for a command as it stands; what is kept of an answer."""
    statuses = {CommandState.SUCCEEDED: 200, CommandState.FAILED: 409}
    return statuses.get(command.state, 202), plain(command_view(command))


def reader_of(caller: Caller) -> Reader:
    """Return who can open what was sealed for this caller: whoever has his API key."""
    return Reader(caller.token.encode())


def opened(command: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Show the package of a command to who had it signed, and to nobody else."""
    result = command["result"]
    if not isinstance(result, dict) or _SEALED not in result:
        return command
    shown = {name: member for name, member in result.items() if name != _SEALED}
    package = None
    if Scope.SPEND in caller.scopes:
        try:
            package = json.loads(reader_of(caller).open(result[_SEALED]))
        except SealingError:
            package = None
    return {**command, "result": {**shown, _OPENED: package}}


_LOCATION = {"Location": {"description": "Where the command is found", "schema": {"type": "string"}}}
_FAILED = (
    "command_failed",
    "insufficient_funds: payment_amount 9000 is over what is left to spend: 7000",
    "The command has failed (`command_failed`), or the same request is being answered (`request_in_flight`)",
)


def _responses(example: dict[str, Any], *, has_channel: bool = True) -> Responses:
    return (
        described("The command has succeeded", CommandView, example, headers=_LOCATION)
        | described("The worker has it: poll", CommandView, examples.QUEUED, status=202, headers=_LOCATION)
        | problems(400, 401, 403, *([404] if has_channel else []), 413, 422, 503, status_409=_FAILED)
    )


_REFILL_SCHEMA = {
    "oneOf": [
        RefillTerms.model_json_schema(),
        {
            "type": "object",
            "properties": {"off": {"const": True}},
            "required": ["off"],
            "additionalProperties": False,
        },
    ]
}


@router.post(
    "/channels",
    summary="Open a channel with a peer",
    openapi_extra=body_of(Open.model_json_schema(), {"peer": "https://pay.example/", "initial_amount": 1_000_000}),
    responses=_responses(examples.DONE, has_channel=False),
)
async def open_channel(request: Request, caller: Spender, headers: OrderHeaders) -> Response:
    """Agree on a channel with a peer, and publish it with our first deposit."""
    body = await read_body(request, Open)
    return await _place(request, caller, headers, Open, body)


@router.post(
    "/channels/{aa_address}/deposits",
    summary="Add to our deposit",
    openapi_extra=body_of(Deposit.model_json_schema(), {"amount": 500_000}),
    responses=_responses(examples.DONE),
)
async def deposit(request: Request, caller: Spender, headers: OrderHeaders, aa_address: AaAddress) -> Response:
    """Add to our deposit in a channel: more than 10 000, if it is in bytes."""
    body = await read_body(request, Deposit)
    return await _place(request, caller, headers, Deposit, body, aa_address)


@router.post(
    "/channels/{aa_address}/close",
    summary="Close a channel",
    openapi_extra=body_of(Close.model_json_schema(), {}, required=False),
    responses=_responses(examples.DONE),
)
async def close(request: Request, caller: Manager, headers: OrderHeaders, aa_address: AaAddress) -> Response:
    """Close a channel with the best claim, and switch auto refill off. `period`: only this one."""
    body = await read_body(request, Close)
    return await _place(request, caller, headers, Close, body, aa_address)


@router.post(
    "/channels/{aa_address}/sweep",
    summary="Settle a channel and go on with it",
    openapi_extra=body_of(Sweep.model_json_schema(), {}, required=False),
    responses=_responses(examples.DONE),
)
async def sweep(request: Request, caller: Manager, headers: OrderHeaders, aa_address: AaAddress) -> Response:
    """Close the period; auto refill, where it is on, begins the next one."""
    body = await read_body(request, Sweep)
    return await _place(request, caller, headers, Sweep, body, aa_address)


@router.put(
    "/channels/{aa_address}/auto-refill",
    summary="Set or end auto refill",
    openapi_extra=body_of(_REFILL_SCHEMA, {"amount": 500_000, "threshold": 100_000}),
    responses=_responses(examples.DONE),
)
async def auto_refill(request: Request, caller: Manager, headers: OrderHeaders, aa_address: AaAddress) -> Response:
    """Deposit `amount` whenever less than `threshold` could be spent; `{"off": true}` ends that."""
    body = await read_body(request, AutoRefill)
    return await _place(request, caller, headers, AutoRefill, body, aa_address)


@router.post(
    "/channels/{aa_address}/payments",
    summary="Pay the peer of a channel",
    openapi_extra=body_of(Pay.model_json_schema(), {"amount": 7_000, "message": {"order": 7}}),
    responses=_responses(examples.DONE),
)
async def pay(request: Request, caller: Spender, headers: OrderHeaders, aa_address: AaAddress) -> Response:
    """Sign a package and deliver it. Without an answer of the peer it is `uncertain`: send it again, never pay anew."""
    body = await read_body(request, Pay)
    if len(json.dumps(body.get("message"), separators=(",", ":"))) > MAX_MESSAGE_BYTES:
        raise invalid_request([("body.message", f"must not have more than {MAX_MESSAGE_BYTES} bytes of ASCII JSON")])
    return await _place(request, caller, headers, Pay, body, aa_address)


@router.post(
    "/channels/{aa_address}/payments/{payment_id}/resend",
    summary="Send a payment again",
    openapi_extra=body_of(ResendOrder.model_json_schema(), {}, required=False),
    responses=_responses(examples.DONE),
)
async def resend(
    request: Request, caller: Spender, headers: OrderHeaders, aa_address: AaAddress, payment_id: SentPaymentId
) -> Response:
    """Deliver a payment of ours again, as the same bytes: the peer credits it once. What is delivered stays so."""
    body = await read_body(request, ResendOrder)
    with database_errors():
        async with request.app.state.database.connection() as conn:
            payment = await sent_payment(conn, aa_address, payment_id)
    params = {**body, "period": payment.period, "amount_spent": payment.amount_spent}
    return await _place(request, caller, headers, Resend, params, aa_address)


@router.post(
    "/packages",
    tags=["packages"],
    summary="Sign a package without sending it",
    openapi_extra=body_of(PackageOrder.model_json_schema(), {"aa_address": examples.AA_ADDRESS, "amount": 7_000}),
    responses=_responses(examples.SIGNED),
)
async def create_package(request: Request, caller: Spender, headers: OrderHeaders) -> Response:
    """Sign a package of `amount` and hand it over as `result.package`; the amount counts as spent from then on.

    Only the API key that has asked for a package is ever shown it.
    """
    body = await read_body(request, PackageOrder)
    params = {"amount": body["amount"], "seal_to": reader_of(caller).public_key}
    return await _place(request, caller, headers, Sign, params, body["aa_address"])


async def read_body(request: Request, model: type[BaseModel]) -> dict[str, Any]:
    """Read a body and check it against the model; return it as it was sent. No body at all is an empty object.

    Raises BodyError, and Problem with 400 or 422.
    """
    is_empty = request.headers.get("content-length") == "0" or not (
        "content-length" in request.headers or "transfer-encoding" in request.headers
    )
    body = {} if is_empty else await read_json(request)
    if not isinstance(body, dict):
        raise Problem(400, "not_an_object", "the body should be a JSON object")
    try:
        model.model_validate(body)
    except ValidationError as error:
        faults = [(".".join(map(str, ("body", *fault["loc"]))), str(fault["msg"])) for fault in error.errors()]
        raise invalid_request(faults) from None
    return body


async def _place(
    request: Request,
    caller: Caller,
    headers: Headers,
    order: type[Order],
    params: dict[str, Any],
    aa_address: str | None = None,
) -> Response:
    """Order it, and answer with what is known of it."""
    asked = ordering.Request(caller, f"{request.method} {request.url.path}", params, headers.idempotency_key)
    wait_s = _wait_s(headers.prefer)
    ordered: Ordered = await request.app.state.orders.place(
        asked, order, params, aa_address=aa_address, wait_s=wait_s or 0
    )
    told = {"location": f"/v1/commands/{ordered.command_id}"}
    if wait_s is not None:
        told["preference-applied"] = f"wait={wait_s}"
    if ordered.is_replayed:
        told["idempotent-replayed"] = "true"
    status, content = ordered.answer
    content = opened(content, caller)
    if status != 409:  # noqa: PLR2004 - as above
        return answer(content, status, headers=told)
    why = content["error"]
    raise Problem(409, "command_failed", f"{why['code']}: {why['detail']}", headers=told, members={"command": content})


def _wait_s(prefer: str | None) -> int | None:
    """Return how long the caller prefers to wait, as far as that is granted; preferences of other kinds are his own."""
    found = _WAIT.search(prefer or "")
    return None if found is None else min(int(found[1]), MAX_WAIT_S)
