"""How payment requests are shown: to their owner, and to whoever has the address of the page."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from shared.channels.model import MIN_BASE_DEPOSIT
from shared.receiving.terms import ReceiverTerms
from shared.requests.standing import RequestState
from shared.store.payment_requests import OBYTE, PaymentRequest, RequestPayment

SCHEME = "obyte-channel"
PAGES = "pay/"
"""Below the public address."""


class RequestView(BaseModel):
    """A payment request as it stands. Amounts in the smallest unit of `asset`."""

    id: str
    url: str = Field(description="The page for the payer")
    state: RequestState
    amount: int
    asset: str
    received: int = Field(description="All that came in this asset, late payments too")
    received_late: int = Field(description="What of it came after the expiry or the cancellation")
    missing: int
    surplus: int
    payments: int = Field(description="How many payments came")
    other_asset_payments: int = Field(description="How many of them in other assets: credited, but not counted here")
    memo: str | None
    metadata: dict[str, Any] | None
    public_metadata: dict[str, Any] | None
    return_url: str | None
    created_at: datetime
    expires_at: datetime | None
    cancelled_at: datetime | None


class RequestList(BaseModel):
    """Payment requests, the newest first."""

    items: list[RequestView]
    next_cursor: str | None


class RequestPaymentView(BaseModel):
    """A payment for a request."""

    id: int
    rail: str = Field(description="How it came: `obyte` is a payment channel")
    payment_id: int | None = Field(description="Of `GET /v1/payments/{payment_id}`; null on other rails")
    reference: str = Field(description="What it is called on its rail")
    amount: int
    asset: str
    is_counted: bool = Field(description="It is in the asset that was asked for")
    is_late: bool = Field(description="It came after the expiry, or after the request was cancelled")
    received_at: datetime


class RequestPaymentList(BaseModel):
    """Payments for a request, the oldest first."""

    items: list[RequestPaymentView]
    next_cursor: str | None


def request_view(request: PaymentRequest, public_url: str) -> RequestView:
    """Show a request to its owner."""
    standing = request.standing
    return RequestView(
        id=request.id,
        url=page_url(public_url, request.id),
        state=standing.state,
        amount=request.amount,
        asset=request.asset,
        received=standing.received,
        received_late=standing.late,
        missing=standing.missing,
        surplus=standing.surplus,
        payments=request.payments,
        other_asset_payments=request.foreign,
        memo=request.memo,
        metadata=request.metadata,
        public_metadata=request.public_metadata,
        return_url=request.return_url,
        created_at=request.created_at,
        expires_at=request.expires_at,
        cancelled_at=request.cancelled_at,
    )


def request_payment_view(payment: RequestPayment) -> RequestPaymentView:
    """Show a payment for a request."""
    return RequestPaymentView(
        id=payment.id,
        rail=payment.rail,
        payment_id=int(payment.reference) if payment.rail == OBYTE else None,
        reference=payment.reference,
        amount=payment.amount,
        asset=payment.asset,
        is_counted=payment.is_counted,
        is_late=payment.is_late,
        received_at=payment.received_at,
    )


def public_state(request: PaymentRequest) -> dict[str, Any]:
    """Return what changes about a request, for everyone who has the address of its page."""
    standing = request.standing
    return {
        "state": standing.state.value,
        "amount": request.amount,
        "asset": request.asset,
        "received": standing.received,
        "due": standing.due,
        "surplus": standing.surplus,
        "other_asset_payments": request.foreign,
    }


def public_terms(request: PaymentRequest, public_url: str, receiver: ReceiverTerms) -> dict[str, Any]:
    """Return what a payer's software has to know. `accepts` are the ways to pay what is due, empty when nothing is."""
    return {
        "id": request.id,
        "url": page_url(public_url, request.id),
        **public_state(request),
        "memo": request.memo,
        "metadata": request.public_metadata,
        "return_url": request.return_url,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "accepts": _ways_to_pay(request, receiver),
    }


def page_url(public_url: str, request_id: str) -> str:
    """Return the address of a request's page."""
    return f"{public_url}{PAGES}{request_id}"


def _ways_to_pay(request: PaymentRequest, receiver: ReceiverTerms) -> list[dict[str, Any]]:
    due = request.standing.due
    if not due:
        return []
    return [
        {
            "scheme": SCHEME,
            "network": receiver.network,
            "asset": request.asset,
            "amount": due,
            "receiver": receiver.receiver,
            "post_url": f"{receiver.url}post",
            "agent_versions": list(receiver.agent_versions),
            "min_timeout_s": receiver.min_timeout_s,
            "max_timeout_s": receiver.max_timeout_s,
            "min_deposit": MIN_BASE_DEPOSIT if request.asset == "base" else 1,
            "message": {"request": request.id},
        }
    ]
