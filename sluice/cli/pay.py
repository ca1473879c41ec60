"""`sluice pay` and `sluice resend`: the paying side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.asking import Key, Timeout, ask_worker
from sluice.cli.common import AsJson, CommandError, open_payer, print_fields, print_json, read_settings, run
from sluice.cli.sides import OfSide, Side, receivers_channel, side_of

if TYPE_CHECKING:
    from sluice.payer.payments import Receipt


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog='Example: sluice pay http://127.0.0.1:6800/ 1000 --message "order 7"')(pay)
    app.command(epilog="Example: sluice resend 12")(resend)


def pay(
    target: Annotated[str, typer.Argument(metavar="URL_OR_CHANNEL", help="The receiver's URL or a channel's address.")],
    amount: Annotated[int, typer.Argument(metavar="AMOUNT", min=1, help="In the asset's smallest unit.")],
    message: Annotated[str | None, typer.Option(help="A text for the receiver, such as an order number.")] = None,
    payer: OfSide = None,
    key: Key = None,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Pay as a payer, through a channel that is open. Prints the receipt.

    When no answer comes, nobody knows whether the payment arrived: `sluice resend` sends the same package again, and it
    is credited once. Through a channel that only the receiver has, or with --receiver, the worker pays.
    """
    is_payers = payer if payer is not None or "://" not in target else True
    if run(_side(target, is_payers)) is Side.RECEIVER:
        from shared.orders import Pay

        params = {"amount": amount, "message": message}
        _print(run(ask_worker(Pay, params, aa_address=target, key=key, wait_s=timeout)), as_json=as_json)
        return
    _show(run(_pay(target, amount, message)), as_json=as_json)


def resend(
    payment_id: Annotated[int, typer.Argument(metavar="PAYMENT_ID", min=1, help="The number the error told.")],
    as_json: AsJson = False,
) -> None:
    """Send the package of an earlier payment again. It is credited once, however often it is sent."""
    _show(run(_resend(payment_id)), as_json=as_json)


async def _side(target: str, payer: bool | None) -> Side:
    side = await side_of(target, payer, if_both=Side.PAYER)
    if side is Side.RECEIVER and await receivers_channel(target) is None:
        raise CommandError(f"the receiver has no channel {target}")
    return side


async def _pay(target: str, amount: int, message: str | None) -> Receipt:
    async with open_payer(read_settings()) as payer:
        return await payer.pay(target, amount, message=message)


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
    if as_json:
        fields["payment"] = receipt.payment_id
    _print(fields, as_json=as_json)


def _print(fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
