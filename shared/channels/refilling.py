"""Auto refill: when our deposit in a channel is to be topped up, and by how much.

Source of the rule: the reference peer's auto refill. What can still be spent counts deposits that are on their way, so
one that is slow to become stable is not made twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.channels.depositing import check_deposit
from shared.channels.errors import ChannelError

if TYPE_CHECKING:
    from shared.channels.model import Channel


@dataclass(frozen=True, slots=True)
class AutoRefill:
    """What an operator wants, in the channel's asset: deposit `amount` whenever less than `threshold` is left."""

    threshold: int
    amount: int


def free_amount(channel: Channel, *, pending_deposits: int) -> int:
    """What we could still spend in the channel; below zero when unconfirmed payments of the peer were spent again."""
    return channel.deposited_by_me - channel.spent_by_me + channel.spent_by_peer + pending_deposits


def refill_due(channel: Channel, refill: AutoRefill, *, pending_deposits: int, peer_is_closing: bool = False) -> int:
    """Return how much is to be deposited now; 0 while enough is left or the channel takes no deposits."""
    if free_amount(channel, pending_deposits=pending_deposits) >= refill.threshold:
        return 0
    try:
        check_deposit(channel, refill.amount, peer_is_closing=peer_is_closing)
    except ChannelError:
        return 0
    return refill.amount
