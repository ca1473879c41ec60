"""What `/v1` answers with. Amounts are integers in the asset's smallest unit, times are RFC 3339 in UTC."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.channels.exposure import at_risk
from shared.channels.paying import spendable
from shared.channels.refilling import AutoRefill
from shared.store.channel_rows import ShownStatus, StoredChannel
from shared.store.commands import Command, CommandState
from shared.store.outgoing import Outgoing
from shared.store.payments import Payment
from shared.store.sent_payments import SentState


class RefillView(BaseModel):
    """Deposit `amount` whenever less than `threshold` could be spent."""

    amount: int
    threshold: int


class ChannelView(BaseModel):
    """A channel as it stands. The amounts belong to its current period."""

    aa_address: str
    own_address: str
    peer_address: str
    asset: str
    timeout_s: int
    version: str = Field(description="Of the channels agent")
    salt: str | None
    opened_by: Literal["me", "peer"]
    status: ShownStatus = Field(
        description="`unfunded`: it never saw a deposit; `expired`: nor is it watched any more, until somebody needs it"
    )
    period: int
    deposited_by_peer: int = Field(description="Confirmed by the ledger")
    deposited_by_me: int = Field(description="Confirmed by the ledger")
    deposits_on_their_way: int = Field(description="Ours, not confirmed yet")
    spent_by_peer: int = Field(description="The most that the peer has signed")
    spent_by_me: int = Field(description="The most that we have signed")
    credit: int = Field(description="What the peer has signed beyond his payments; it goes back to him")
    free_amount: int = Field(description="What we can still spend")
    possibly_lost: int = Field(description="Paid by us, and nobody knows whether it arrived: send it again")
    at_risk: int = Field(description="What the peer could steal by closing first, with agent 1.1")
    auto_refill: RefillView | None
    peer_url: str | None
    created_at: datetime
    updated_at: datetime


class ChannelList(BaseModel):
    """Channels, the newest first."""

    items: list[ChannelView]
    next_cursor: str | None


class CommandError(BaseModel):
    """Why a command has failed. `code` is stable."""

    code: str
    detail: str


class CommandView(BaseModel):
    """What the worker was asked for, and what became of it."""

    id: int
    kind: str
    aa_address: str | None
    state: CommandState
    result: dict[str, Any] | None = Field(description="By kind; a failed command may have one too")
    error: CommandError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class PaymentView(BaseModel):
    """A payment that was received."""

    payment_id: int
    aa_address: str
    period: int
    amount_spent: int = Field(description="What the peer had signed in the period with this payment")
    amount: int
    asset: str
    message: Any = Field(description="Any JSON that came with it, or null")
    response: Any = Field(description="What the application has answered, or null")
    accepted_at: datetime


class PaymentList(BaseModel):
    """Payments that were received, in the order that was asked for."""

    items: list[PaymentView]
    next_cursor: str | None


class SentPaymentView(BaseModel):
    """A payment of ours. The package itself is told to nobody but the peer, and to who had it signed."""

    id: str = Field(description="Period and amount_spent: `1-7000`")
    aa_address: str
    period: int
    amount_spent: int
    amount: int
    state: SentState
    message: Any
    response: Any = Field(description="What the peer has answered, or null")
    command_id: int | None
    signed_at: datetime
    settled_at: datetime | None


class SentPaymentList(BaseModel):
    """Payments of ours in a channel, the newest first."""

    items: list[SentPaymentView]
    next_cursor: str | None


def channel_view(
    stored: StoredChannel, *, refill: AutoRefill | None, deposits_on_their_way: int, possibly_lost: int
) -> ChannelView:
    """Show a channel; the claim is no part of it."""
    channel = stored.channel
    return ChannelView(
        aa_address=channel.aa_address,
        own_address=channel.own_address,
        peer_address=channel.peer_address,
        asset=channel.asset,
        timeout_s=channel.timeout_s,
        version=channel.version,
        salt=stored.salt,
        opened_by="me" if stored.role == "B" else "peer",
        status=stored.shown_status,
        period=channel.period,
        deposited_by_peer=channel.deposited_by_peer,
        deposited_by_me=channel.deposited_by_me,
        deposits_on_their_way=deposits_on_their_way,
        spent_by_peer=channel.spent_by_peer,
        spent_by_me=channel.spent_by_me,
        credit=channel.credit,
        free_amount=spendable(channel, pending_deposits=deposits_on_their_way),
        possibly_lost=possibly_lost,
        at_risk=at_risk(channel),
        auto_refill=None if refill is None else RefillView(amount=refill.amount, threshold=refill.threshold),
        peer_url=stored.peer_url,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )


def command_view(command: Command) -> CommandView:
    """Show a command. A package in its result is sealed."""
    error = None
    if command.error is not None:
        code, _, detail = command.error.partition(": ")
        error = CommandError(code=code, detail=detail)
    return CommandView(
        id=command.id,
        kind=command.kind,
        aa_address=command.aa_address,
        state=command.state,
        result=command.result,
        error=error,
        created_at=command.created_at,
        started_at=command.started_at,
        finished_at=command.finished_at,
    )


def payment_view(payment: Payment, message: Any, response: Any) -> PaymentView:
    """Show a payment that was received."""
    return PaymentView(
        payment_id=payment.id,
        aa_address=payment.aa_address,
        period=payment.period,
        amount_spent=payment.amount_spent,
        amount=payment.payment_amount,
        asset=payment.asset,
        message=message,
        response=response,
        accepted_at=payment.accepted_at,
    )


def sent_payment_view(payment: Outgoing) -> SentPaymentView:
    """Show a payment of ours."""
    said = payment.answer if isinstance(payment.answer, dict) else {}
    return SentPaymentView(
        id=f"{payment.period}-{payment.amount_spent}",
        aa_address=payment.aa_address,
        period=payment.period,
        amount_spent=payment.amount_spent,
        amount=payment.payment_amount,
        state=payment.state,
        message=payment.message,
        response=said.get("response", said.get("error")),
        command_id=payment.command_id,
        signed_at=payment.signed_at,
        settled_at=payment.settled_at,
    )
