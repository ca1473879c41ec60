"""Depositing: when the channel's agent will take a deposit of ours.

Source of the rule: channels agent 1.1 (what it refuses comes back without the bounce fee) and the reference peer's
`deposit`.
"""

from __future__ import annotations

from shared.channels.errors import InvalidAmountError, NotDepositableError
from shared.channels.model import MAX_AMOUNT, MIN_BASE_DEPOSIT, Channel, Status, is_amount


def check_amount(amount: int, asset: str) -> None:
    """Check an amount to be deposited, in the asset's smallest unit. Raises InvalidAmountError."""
    least = MIN_BASE_DEPOSIT if asset == "base" else 1
    if not is_amount(amount) or amount < least:
        raise InvalidAmountError(f"a deposit must be an integer from {least} to {MAX_AMOUNT}")


def check_deposit(channel: Channel, amount: int, *, peer_is_closing: bool = False) -> None:
    """Check that a deposit can be sent now.

    `peer_is_closing`: an unconfirmed unit of the peer closes already. Raises InvalidAmountError, NotDepositableError.
    """
    check_amount(amount, channel.asset)
    if not channel.definition_confirmed:
        raise NotDepositableError("the channel's agent is not confirmed on the ledger yet")
    if channel.is_closing or peer_is_closing:
        raise NotDepositableError("the channel is closing")
    if channel.is_unsure:
        raise NotDepositableError("the database was restored: what stands in this period is not surely known")
    if channel.status is Status.OPEN and channel.period_closed_by_me == channel.period:
        raise NotDepositableError("we have ordered the channel closed")
