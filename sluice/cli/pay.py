"""`sluice pay` and `sluice resend`: the paying side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.asking import Key, OrderFailedError, Timeout, ask_worker
from sluice.cli.common import (
    AsJson,
    CommandError,
    OutcomeUnknownError,
    UsageError,
    open_payer,
    print_fields,
    print_json,
    read_settings,
    run,
)
from sluice.cli.requests import pay_request
from sluice.cli.sides import OfSide, Side, receivers_channel, refuse_for_payer, side_of

if TYPE_CHECKING:
    from shared.orders import Order
    from sluice.payer.payments import Receipt

Peer = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the peer of the receiver's channel takes payments, or his pairing code."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog='Example: sluice pay http://127.0.0.1:6800/ 1000 --message "order 7"')(pay)
    app.command(epilog="Example: sluice resend 12")(resend)


def pay(  # noqa: PLR0913, PLR0917 - each is an option
    target: Annotated[
        str,
        typer.Argument(
            metavar="URL_OR_CHANNEL", help="The receiver's URL, a channel's address, or a payment request's page."
        ),
    ],
    amount: Annotated[
        int | None,
        typer.Argument(
            metavar="AMOUNT", min=1, help="In the asset's smallest unit. Of a payment request all that is due."
        ),
    ] = None,
    message: Annotated[str | None, typer.Option(help="A text for the receiver, such as an order number.")] = None,
    payer: OfSide = None,
    peer: Peer = None,
    key: Key = None,
    timeout: Timeout = 60,
    deposit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="AMOUNT", help="For a payment request: open a channel with this if none has enough."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="For a payment request: do not ask first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pay as a payer, through a channel that is open. Prints the receipt.

    The address of a payment request's page is paid once, what is due and no more, after asking.

    When no answer comes, nobody knows whether the payment arrived: `sluice resend` sends the same package again, and it
    is credited once. Through a channel that only the receiver has, or with --receiver, the worker pays.
    """
    from sluice.payer.requests import is_request_url

    if is_request_url(target):
        refuse_for_payer(key=key, peer=peer)
        if payer is False or message is not None:
            raise UsageError("a payment request is paid from the wallet we pay with, and names itself in the message")
        _show(pay_request(target, amount, deposit=deposit, yes=yes), as_json=as_json)
        return
    if re.search(r"/pay/[^/]+$", target):
        raise UsageError("this is no address of a payment request: https://HOST/pay/ and 22 characters, copied whole")
    if amount is None or deposit is not None or yes:
        raise UsageError("say AMOUNT, and neither --deposit nor --yes: those are for payment requests")
    is_payers = payer if payer is not None or "://" not in target else True
    if run(_side(target, is_payers)) is Side.PAYER:
        refuse_for_payer(key=key, peer=peer)
        _show(run(_pay(target, amount, message)), as_json=as_json)
        return
    from shared.orders import Pay

    params = {"amount": amount, "message": message}
    _show_outcome(run(_ask(Pay, params, target, peer=peer, key=key, wait_s=timeout)), as_json=as_json)


def resend(
    payment_id: Annotated[
        int | None, typer.Argument(metavar="PAYMENT_ID", min=1, help="The payer's: the number the error told.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(metavar="AA_ADDRESS", help="The receiver's: the channel it was paid through,")
    ] = None,
    period: Annotated[int | None, typer.Option(min=1, help="its period,")] = None,
    spent: Annotated[
        int | None, typer.Option(metavar="AMOUNT_SPENT", min=1, help="and the sum with this payment.")
    ] = None,
    peer: Peer = None,
    key: Key = None,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Send the package of an earlier payment again. It is credited once, however often it is sent."""
    if payment_id is not None:
        refuse_for_payer(channel=channel, period=period, spent=spent, peer=peer, key=key)
        _show(run(_resend(payment_id)), as_json=as_json)
        return
    if channel is None or period is None or spent is None:
        raise UsageError("say PAYMENT_ID, or for a payment of the receiver's --channel, --period and --spent")
    from shared.orders import Resend

    params = {"period": period, "amount_spent": spent}
    _show_outcome(run(_ask(Resend, params, channel, peer=peer, key=key, wait_s=timeout)), as_json=as_json)


async def _ask(
    order: type[Order], params: dict[str, Any], aa_address: str, *, peer: str | None, key: str | None, wait_s: float
) -> dict[str, Any]:
    named = {} if peer is None else {"peer": peer}
    if await receivers_channel(aa_address) is None:
        raise CommandError(f"the receiver has no channel {aa_address}")
    try:
        return await ask_worker(order, params | named, aa_address=aa_address, key=key, wait_s=wait_s)
    except OrderFailedError as error:
        if not str(error).startswith("uncertain:"):
            raise
        place = f"--channel {aa_address} --period {error.result['period']} --spent {error.result['amount_spent']}"
        raise OutcomeUnknownError(f"{error}; `sluice resend {place}` sends the same package again") from error


async def _side(target: str, payer: bool | None) -> Side:
    return await side_of(target, payer, if_both=Side.PAYER)


async def _pay(target: str, amount: int, message: str | None) -> Receipt:
    from sluice.payer.errors import UnknownChannelError

    async with open_payer(read_settings()) as payer:
        try:
            return await payer.pay(target, amount, message=message)
        except UnknownChannelError as error:
            if "://" not in target:
                raise
            raise CommandError(f"{error}: open one with `sluice channels open {target} DEPOSIT`") from error


async def _resend(payment_id: int) -> Receipt:
    async with open_payer(read_settings()) as payer:
        return await payer.resend(payment_id)


def _show(receipt: Receipt, *, as_json: bool) -> None:
    fields: dict[str, Any] = {
        "payment": str(receipt.payment_id),
        "channel": receipt.aa_address,
        "period": receipt.period,
        "amount": receipt.amount,
        "amount_spent": receipt.amount_spent,
        "duplicate": receipt.duplicate,
        "response": receipt.response,
    }
    if receipt.code is not None:
        fields["code"] = receipt.code
    if as_json:
        fields["payment"] = receipt.payment_id
    _print(fields, as_json=as_json)
    if receipt.code == "application_failed":
        again = f"`sluice resend {receipt.payment_id}` asks for it again and costs nothing"
        typer.echo(f"the payment was taken, the receiver's application has not answered: {again}", err=True)


def _show_outcome(outcome: dict[str, Any], *, as_json: bool) -> None:
    fields = dict(outcome)
    receipt = fields.get("receipt")
    if not as_json and isinstance(receipt, dict):
        # A peer's words: of the rest of them nothing is new here.
        del fields["receipt"]
        fields["receipt"] = f"payment {receipt.get('payment_id')}"
    _print(fields, as_json=as_json)


def _print(fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
