"""Why a channel rule said no."""

from __future__ import annotations


class ChannelError(Exception):
    """A rule of the channel forbids the step. `code` is stable, the message is for people."""

    code = "channel_rule"


class InvalidAmountError(ChannelError):
    """An amount is not an integer from 1 to `MAX_AMOUNT` of the asset's smallest unit."""

    code = "invalid_amount"


class NotPayableError(ChannelError):
    """The channel takes no payments now: it is closing, or its period was closed by us."""

    code = "not_payable"


class InsufficientFundsError(ChannelError):
    """The payment is larger than what this side can still spend in the channel."""

    code = "insufficient_funds"


class NotClosableError(ChannelError):
    """The channel cannot be closed now."""

    code = "not_closable"


class NotDepositableError(ChannelError):
    """The channel takes no deposits now: its agent is not on the ledger yet, or a closing is under way."""

    code = "not_depositable"


class EventGapError(ChannelError):
    """A ledger event was missed: the agent numbers its events 1, 2, 3, … without gaps.

    The state must not advance; the channel's whole history has to be read again.
    """

    code = "event_gap"


class ContradictoryEventError(ChannelError):
    """A ledger event contradicts the state that the earlier events led to."""

    code = "contradictory_event"


class ExposureError(ChannelError):
    """More would be at risk in channels that can be robbed than the limits allow."""

    code = "exposure_limit"
