"""What a payer gets for a package: a receipt, or a refusal that helps to get back in step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from shared.discreet import Discreet

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from shared.store.payments import Payment


@dataclass(frozen=True, slots=True)
class ChannelView:
    """The receiver's view of a channel, for its payer only.

    `period`: the one that packages signed now belong to. `amount_spent`: the highest one recorded in it. `credit`: what
    was signed for beyond the payments made.
    """

    period: int
    amount_spent: int
    credit: int
    status: str

    @classmethod
    def of(cls, channel: Channel) -> Self:
        """Return the view of a channel's state."""
        return cls(channel.current_period, channel.spent_by_peer, channel.credit, channel.status.value)

    def as_json(self) -> dict[str, int | str]:
        """Return the JSON object of the wire."""
        return {
            "period": self.period,
            "amount_spent": self.amount_spent,
            "credit": self.credit,
            "status": self.status,
        }


class Receipt(Discreet, frozen=True, gc=False):
    """A payment that is committed. A repeated package gets the same one, as a `duplicate`.

    `message` and `response` are JSON texts: what came with the first package, and what the application has said to it
    so far. They are no part of the receipt on the wire.
    """

    shown = ("payment_id", "aa_address", "asset", "period", "amount_spent", "amount", "duplicate")

    payment_id: int
    aa_address: str
    asset: str
    period: int
    amount_spent: int
    amount: int
    duplicate: bool = False
    message: str | None = None
    response: str | None = None

    @classmethod
    def of(cls, payment: Payment) -> Self:
        """Return the receipt of a payment that is on record already."""
        return cls(
            payment_id=payment.id,
            aa_address=payment.aa_address,
            asset=payment.asset,
            period=payment.period,
            amount_spent=payment.amount_spent,
            amount=payment.payment_amount,
            duplicate=True,
            message=payment.message,
            response=payment.response,
        )

    def as_event(self) -> dict[str, int | str]:
        """Return the body of the bus's event."""
        return {
            "payment_id": self.payment_id,
            "aa_address": self.aa_address,
            "amount": self.amount,
            "asset": self.asset,
            "period": self.period,
        }

    def as_json(self) -> dict[str, int | str | bool]:
        """Return the JSON object of the wire."""
        return {
            "payment_id": self.payment_id,
            "amount": self.amount,
            "asset": self.asset,
            "aa_address": self.aa_address,
            "period": self.period,
            "amount_spent": self.amount_spent,
            "duplicate": self.duplicate,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A package that was not credited.

    `channel` is None unless the channel's peer himself signed, and when our own records of it may be too old.
    `awaits_funding`: a deposit that the ledger has not shown yet would make it acceptable. `changes_in_s`: seconds
    until a deposit that was seen grows old enough to count, None if none is on its way.
    """

    code: str
    text: str
    channel: ChannelView | None = None
    awaits_funding: bool = False
    changes_in_s: float | None = None
