"""What a closing is worth to us, until when it has to be answered, and whether answering it pays.

A closing of the peer that gives us next to nothing is left to him: he can end it himself when the timeout has passed,
and our confirmation would only spare him the wait, at our cost. Otherwise peers could empty a wallet by closing.
"""

from __future__ import annotations

from shared.channels.closing import Confirm, Trigger, is_dishonest, next_trigger
from shared.channels.model import Channel, Status

BASE = "base"


def trigger_due(
    channel: Channel, *, ledger_time_s: float, margin_s: float = 0, confirm_from: int = 0
) -> Trigger | None:
    """Return what has to be sent now; `next_trigger`, but for confirmations that are not worth their cost.

    `confirm_from`: bytes that a closing of the peer must move for us to confirm it at once; 0 confirms all of them.
    """
    trigger = next_trigger(channel, ledger_time_s=ledger_time_s, margin_s=margin_s)
    if (
        isinstance(trigger, Confirm)
        and channel.status is Status.CLOSING_BY_PEER
        and not _moves_enough(channel, trigger, confirm_from)
    ):
        return None
    return trigger


def deadline_s(channel: Channel) -> int | None:
    """Return the ledger time from which the peer can end his closing himself; None without one of his."""
    if channel.status is not Status.CLOSING_BY_PEER or channel.close_started_at_s is None:
        return None
    return channel.close_started_at_s + channel.timeout_s


def share_elapsed(channel: Channel, now_s: float) -> float:
    """Return which share of the timeout of the peer's closing has passed, 0 without one; 1 is the deadline."""
    if channel.status is not Status.CLOSING_BY_PEER or channel.close_started_at_s is None:
        return 0.0
    return max(0.0, now_s - channel.close_started_at_s) / channel.timeout_s


def payout(channel: Channel) -> int:
    """Return what an honest end of the period pays us at least: deposited, and earned, less what we have spent.

    Credit is not counted: it goes back to the peer. What he admits beyond old books does not.
    """
    earned = channel.spent_by_peer - channel.credit
    if channel.is_unsure and channel.claimed_by_peer is not None:
        earned = max(earned, channel.claimed_by_peer)
    return max(0, channel.deposited_by_me - channel.spent_by_me + earned)


def loss(channel: Channel) -> int:
    """Return what we lose if the closing that is under way ends without our answer, in the channel's asset.

    A dishonest closing takes what it hides; any other one only keeps our money waiting.
    """
    if is_dishonest(channel):
        hidden = payout(channel) - max(
            0, channel.deposited_by_me - channel.spent_by_me + (channel.claimed_by_peer or 0)
        )
        return max(0, hidden)
    return payout(channel)


def _moves_enough(channel: Channel, confirm: Confirm, confirm_from: int) -> bool:
    """Whether the confirmation brings us more than it costs, or gives back more than it costs."""
    moved = max(payout(channel), confirm.additional_from_me)
    return moved >= confirm_from if channel.asset == BASE else moved > 0 or confirm_from == 0
