"""`sluice requests …`: what somebody is asked to pay; and paying such a request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.requests.standing import RequestState
from sluice.cli.common import (
    AsJson,
    CommandError,
    UsageError,
    group,
    open_database,
    open_payer,
    print_fields,
    print_json,
    print_table,
    read_settings,
    run,
    shown,
)
from sluice.cli.times import seconds

if TYPE_CHECKING:
    from shared.requests.asking import Asked
    from shared.store.payment_requests import PaymentRequest, RequestPayment
    from sluice.payer.payments import Receipt
    from sluice.payer.requests import RequestTerms

RequestId = Annotated[str, typer.Argument(metavar="ID", help="As in `sluice requests list`.")]
State = Annotated[RequestState | None, typer.Option(help="Those in this state only.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("requests", "Payment requests: what others are asked to pay us, and what came for it.")
    commands.command(epilog='Example: sluice requests create 1200 --memo "A cup, order 7" --expires-in 1h')(create)
    commands.command("list", epilog="Example: sluice requests list --state partially_paid")(list_requests)
    commands.command(epilog="Example: sluice requests show kQ3vN8wXyZ1aBcDeFgHiJk")(show)
    commands.command(epilog="Example: sluice requests cancel kQ3vN8wXyZ1aBcDeFgHiJk")(cancel)
    app.add_typer(commands)


def create(
    amount: Annotated[int, typer.Argument(metavar="AMOUNT", min=1, help="In the asset's smallest unit.")],
    asset: Annotated[str, typer.Option(help="base or the asset's id.")] = "base",
    memo: Annotated[str | None, typer.Option(help="What it is for; the payer reads it.")] = None,
    expires_in: Annotated[
        int | None,
        typer.Option(metavar="TIME", parser=seconds, help="It expires after this long: 45s, 30m, 12h, 7d."),
    ] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="An object for yourself alone.")] = None,
    public_metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="An object for the payer's software.")
    ] = None,
    return_url: Annotated[str | None, typer.Option(metavar="URL", help="Where the page leads back to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a payment. Prints the address of the page to send to the payer."""
    from pydantic import ValidationError

    from shared.requests.asking import Asked

    try:
        asked = Asked(
            amount=amount,
            asset=asset,
            memo=memo,
            expires_in_s=expires_in,
            metadata=_object("--metadata", metadata),
            public_metadata=_object("--public-metadata", public_metadata),
            return_url=return_url,
        )
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError("; ".join(faults)) from None
    _print(run(_create(asked)), as_json=as_json)


def list_requests(
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List payment requests, the newest first."""
    found = run(_page(state, limit))
    if as_json:
        print_json([_fields(item) for item in found])
        return
    print_table(
        ["id", "created", "state", "amount", "received", "asset", "memo"],
        [
            (
                item.id,
                item.created_at,
                item.standing.state.value,
                item.amount,
                item.standing.received,
                item.asset,
                " ".join((item.memo or "-").split())[:40],
            )
            for item in found
        ],
        empty="There are no payment requests.",
    )


def show(request_id: RequestId, as_json: AsJson = False) -> None:
    """Show a request, and the payments that came for it."""
    found, payments = run(_show(request_id))
    if as_json:
        print_json({**_fields(found), "received_payments": payments})
        return
    _print(found, as_json=False)
    typer.echo()
    print_table(
        ["payment", "received", "amount", "asset", "counts", "late"],
        [
            (
                f"{item.rail} {item.reference}",
                item.received_at,
                item.amount,
                item.asset,
                shown(item.is_counted),
                shown(item.is_late),
            )
            for item in payments
        ],
        empty="Nothing came for it yet.",
    )


def cancel(request_id: RequestId, as_json: AsJson = False) -> None:
    """Cancel a request that is not paid. What came for it stays ours; the page says not to pay any more."""
    _print(run(_cancel(request_id)), as_json=as_json)


# ------------------------------------------------------------------------------------------------------------- paying


def pay_request(url: str, amount: int | None, *, deposit: int | None, yes: bool) -> Receipt:
    """Pay what is due of a request, or a part, after asking whether that is meant."""
    return run(_pay(url, amount, deposit, yes=yes))


async def _pay(url: str, amount: int | None, deposit: int | None, *, yes: bool) -> Receipt:
    async with open_payer(read_settings()) as payer:
        asked = await payer.request(url)
        if asked.due and not yes:
            typer.confirm(_question(asked, amount), abort=True, err=True)
        # Not more than was agreed to, if the request changes meanwhile.
        return await payer.pay_request(url, amount, at_most=amount or asked.due or None, deposit=deposit)


def _question(asked: RequestTerms, amount: int | None) -> str:
    from urllib.parse import urlsplit

    unit = "bytes" if asked.asset == "base" else f"of asset {asked.asset}"
    memo = "" if asked.memo is None else f' for "{shown(asked.memo.replace(chr(10), " "))}"'
    return f"Pay {amount or asked.due} {unit} to {urlsplit(asked.url).netloc}{memo}?"


# ------------------------------------------------------------------------------------------------------- the database


async def _create(asked: Asked) -> PaymentRequest:
    from shared.store import payment_requests
    from shared.store.payment_requests import NewRequest

    new = NewRequest(
        amount=asked.amount,
        asset=asked.asset,
        memo=asked.memo,
        metadata=asked.metadata,
        public_metadata=asked.public_metadata,
        return_url=asked.return_url,
        expires_at=asked.expiry(datetime.now(UTC)),
    )
    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await payment_requests.insert(conn, new)


async def _page(state: RequestState | None, limit: int) -> list[PaymentRequest]:
    from shared.store import payment_requests

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await payment_requests.page(conn, state=state, limit=limit)


async def _show(request_id: str) -> tuple[PaymentRequest, list[RequestPayment]]:
    from shared.store import payment_requests

    async with open_database(read_settings()) as database, database.connection() as conn:
        found = await payment_requests.get(conn, request_id)
        if found is None:
            raise _unknown(request_id)
        return found, await payment_requests.payments_page(conn, request_id, limit=payment_requests.MAX_PAGE)


async def _cancel(request_id: str) -> PaymentRequest:
    from shared.store import payment_requests

    async with open_database(read_settings()) as database, database.transaction() as conn:
        found = await payment_requests.cancel(conn, request_id)
    if found is None:
        raise _unknown(request_id)
    return found


def _unknown(request_id: str) -> CommandError:
    return CommandError(f"there is no payment request {request_id}")


def _object(option: str, text: str | None) -> dict[str, Any] | None:
    from shared.strict_json import StrictJsonError, decode

    if text is None:
        return None
    try:
        value = decode(text.encode("utf-8", "surrogatepass"))
    except StrictJsonError as error:
        raise UsageError(f"{option}: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{option} should be a JSON object")
    return value


def _fields(request: PaymentRequest) -> dict[str, Any]:
    from front.request_views import request_view

    return request_view(request, str(read_settings().public_url)).model_dump()


def _print(request: PaymentRequest, *, as_json: bool) -> None:
    fields = _fields(request)
    if as_json:
        print_json(fields)
        return
    for name in ("metadata", "public_metadata"):
        fields[name] = None if fields[name] is None else json.dumps(fields[name], ensure_ascii=False)
    fields["state"] = fields["state"].value
    print_fields(fields)
