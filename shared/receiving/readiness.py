"""Could this channel take a payment now? The acceptance rule itself is asked, about the smallest payment there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.acceptance import Refused, Rule, accept
from shared.channels.model import PackageTerms
from shared.receiving.errors import NotReadyError

if TYPE_CHECKING:
    from shared.channels.model import Allowance, Channel


def check_ready(channel: Channel, allowance: Allowance) -> None:
    """Raise NotReadyError, in the reference's words, if no payment whatever could be accepted in this state."""
    verdict = accept(channel, _smallest_payment(channel), "", allowance)
    if not isinstance(verdict, Refused):
        return
    match verdict.rule:
        case Rule.CLOSING:
            text = f"not ready, channel status: {channel.status.value}"
        case Rule.NOT_PUBLISHED | Rule.NOT_FUNDED:
            text = "not ready, no spendable unconfirmed funds"
        case _:
            text = f"not ready, {verdict.reason}"
    raise NotReadyError(verdict.rule.value, text)


def _smallest_payment(channel: Channel) -> PackageTerms:
    """Return what an honest payer would send for one unit: from his credit, or signing one unit more."""
    return PackageTerms(
        aa_address=channel.aa_address,
        period=channel.current_period,
        payment_amount=1,
        amount_spent=channel.spent_by_peer + (0 if channel.credit else 1),
        signer=channel.peer_address,
    )
