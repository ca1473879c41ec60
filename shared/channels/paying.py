"""Creating a package: how much this side may sign for.

Source of the rule: the reference peer's `createPaymentPackage`. The caller stores the returned state and the
signed package in one transaction *before* the package leaves; a package whose fate is unknown is sent again
as the same bytes, never signed anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.channels.errors import InsufficientFundsError, InvalidAmountError, NotPayableError
from shared.channels.model import MAX_AMOUNT, Channel, is_amount


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """What to sign, and the state to store with it."""

    channel: Channel
    period: int
    payment_amount: int
    amount_spent: int


def spendable(channel: Channel, *, pending_deposits: int = 0) -> int:
    """What this side can still spend: deposits (with those on their way) minus spent plus what the peer has paid us."""
    return max(0, channel.deposited_by_me + pending_deposits - channel.spent_by_me + channel.spent_by_peer)


def create_payment(
    channel: Channel, amount: int, *, pending_deposits: int = 0, peer_is_closing: bool = False
) -> PaymentOrder:
    """Order one payment to the peer.

    Raises InvalidAmountError, NotPayableError (closing on either side, the period was closed by us, or what we have
    signed in it is not surely known) or InsufficientFundsError.
    """
    if not is_amount(amount):
        raise InvalidAmountError(f"payment_amount must be an integer from 1 to {MAX_AMOUNT}")
    if channel.is_closing or peer_is_closing:
        raise NotPayableError("the channel is closing")
    period = channel.current_period
    if period == channel.period_closed_by_me:
        raise NotPayableError("this period was closed by me")
    if channel.is_unsure:
        # The peer may hold a package of ours with more: what we would sign now says less than we owe.
        raise NotPayableError("the database was restored: what was signed in this period is not surely known")
    left = spendable(channel, pending_deposits=pending_deposits)
    if amount > left:
        raise InsufficientFundsError(f"payment_amount {amount} is over what is left to spend: {left}")
    spent = channel.spent_by_me + amount
    return PaymentOrder(
        channel=replace(channel, spent_by_me=spent), period=period, payment_amount=amount, amount_spent=spent
    )
