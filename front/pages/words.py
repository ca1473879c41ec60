"""What the page of a payment request says. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.requests.standing import RequestState

if TYPE_CHECKING:
    from datetime import datetime

    from shared.store.payment_requests import PaymentRequest

_GAP = "\N{NARROW NO-BREAK SPACE}"
_SHORT = 10
_DO_NOT_PAY = "Please do not pay any more; ask the payee for a new request."
_TITLES = {
    RequestState.OPEN: "Waiting for payment",
    RequestState.PARTIALLY_PAID: "Partly paid",
    RequestState.PAID: "Paid",
    RequestState.OVERPAID: "Paid, and more",
    RequestState.EXPIRED: "Expired",
    RequestState.LATE: "Paid too late",
    RequestState.CANCELLED: "Cancelled",
}
PAYABLE = frozenset({RequestState.OPEN, RequestState.PARTIALLY_PAID})


def live(request: PaymentRequest) -> dict[str, Any]:
    """Return the parts of the page that change, as its script gets them."""
    standing = request.standing
    return {
        "state": standing.state.value,
        "title": _TITLES[standing.state],
        "detail": _detail(request),
        "note": _note(request.foreign),
        "amount": grouped(standing.due or standing.amount),
        "received": min(standing.received, standing.amount),
        "is_final": standing.state not in PAYABLE,
    }


def unit(asset: str) -> str:
    """Return what amounts of an asset are called."""
    return "bytes" if asset == "base" else f"units of {asset[:_SHORT]}\N{HORIZONTAL ELLIPSIS}"


def grouped(amount: int) -> str:
    """Return an amount as people read it."""
    return f"{amount:_}".replace("_", _GAP)


def moment(when: datetime) -> str:
    """Return a time as people read it."""
    at = when.astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def host_of(url: str) -> str:
    """Return what people recognise an address by."""
    return urlsplit(url).netloc


def _detail(request: PaymentRequest) -> str:
    standing, called = request.standing, unit(request.asset)
    of_all = f"{grouped(standing.received)} of {grouped(standing.amount)} {called} received"
    match standing.state:
        case RequestState.OPEN:
            return "Nothing has been received yet."
        case RequestState.PARTIALLY_PAID:
            return f"{of_all}, {grouped(standing.due)} to go."
        case RequestState.PAID:
            return f"{grouped(standing.received)} {called} received. Thank you!"
        case RequestState.OVERPAID:
            return (
                f"{grouped(standing.received)} {called} received, {grouped(standing.surplus)} more than asked for. "
                "The payee can see that and give it back."
            )
        case RequestState.LATE:
            return (
                f"{of_all}, {grouped(standing.late)} of it after the request had expired. The payee has the money and "
                "can see that: ask there what happens next."
            )
    came = f"{of_all}; the payee has it. " if standing.received else ""
    return f"{came}{_DO_NOT_PAY}"


def _note(foreign: int) -> str:
    if not foreign:
        return ""
    if foreign == 1:
        return "A payment in another asset came too. The payee has it, but it does not count here."
    return f"{grouped(foreign)} payments in another asset came too. The payee has them, but they do not count here."
