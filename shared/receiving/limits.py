"""How many payments a channel may make, how many of them may be refused, and how many channels one place may ask for.

Only what a payer has signed himself counts for his channel: a stranger who names it uses up a bucket of his own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from shared.limits.buckets import Limit
from shared.receiving.errors import LimitedError

if TYPE_CHECKING:
    from shared.limits.limiter import Limiter
    from shared.receiving.outcomes import Refusal
    from shared.receiving.verification import SignedPayment
    from shared.settings import Settings

_HOUR_S = 3_600.0


class PaymentLimits:
    """The limits of the receiving side. They are looked at in memory: a payment waits for nobody because of them."""

    def __init__(self, limiter: Limiter, *, payments: Limit, refusals: Limit, openings: Limit) -> None:
        self._limiter = limiter
        self._payments = payments
        self._refusals = refusals
        self._openings = openings

    @classmethod
    def of(cls, settings: Settings, limiter: Limiter) -> Self:
        """Read them from the settings."""
        return cls(
            limiter,
            payments=Limit("payments", settings.limit_payments_per_channel),
            refusals=Limit("refusals", settings.limit_refusals_per_channel),
            openings=Limit("openings", settings.limit_openings_per_address, _HOUR_S),
        )

    def admit(self, payment: SignedPayment) -> None:
        """Count a verified package before it is judged. Raises LimitedError."""
        who = _who(payment)
        if wait_s := self._limiter.wait_s(self._refusals, who):
            text = "too many packages of this channel were refused"
            raise LimitedError("too_many_refusals", text, wait_s=wait_s, limit=self._refusals)
        if wait_s := self._limiter.take(self._payments, who):
            text = "too many payments in this channel"
            raise LimitedError("too_many_payments", text, wait_s=wait_s, limit=self._payments)

    def refused(self, payment: SignedPayment, refusal: Refusal) -> None:
        """Count a refusal. One that only comes before its deposit is no fault of the payer."""
        if not refusal.awaits_funding:
            self._limiter.count(self._refusals, _who(payment))

    def may_open(self, origin: str | None) -> bool:
        """Whether one more channel may be asked for from a network address; None: from a place that is not limited."""
        return origin is None or not self._limiter.wait_s(self._openings, origin)

    def opened(self, origin: str | None) -> None:
        """Count a channel that is new."""
        if origin is not None:
            self._limiter.count(self._openings, origin)

    def too_many_openings(self, origin: str) -> LimitedError:
        """Return the error for a network address that has asked for too many channels."""
        wait_s = self._limiter.wait_s(self._openings, origin)
        text = "too many channels were asked for from this network address"
        return LimitedError("too_many_openings", text, wait_s=wait_s, limit=self._openings)


def _who(payment: SignedPayment) -> str:
    return f"{payment.terms.aa_address}:{payment.terms.signer}"
