"""How many payments a channel may make, how many of them may be refused, and how many channels one place may ask for.

A place is a network address, or an API key with which packages are handed in: strangers are behind it, too.

Only what a payer has signed himself counts for his channel: a stranger who names it uses up a bucket of his own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from shared.limits.buckets import Limit
from shared.receiving.errors import LimitedError

if TYPE_CHECKING:
    from shared.channels.model import PackageTerms
    from shared.limits.limiter import Limiter
    from shared.receiving.outcomes import Refusal
    from shared.receiving.verification import SignedPayment
    from shared.settings import Settings

_HOUR_S = 3_600.0
_PLACES_OF_A_KEY = 10
"""An application that hands in its payers' packages has many of them behind it."""
_KEY = "key "


class PaymentLimits:
    """The limits of the receiving side. They are looked at in memory: a payment waits for nobody because of them."""

    def __init__(
        self, limiter: Limiter, *, payments: Limit, refusals: Limit, openings: Limit, openings_of_keys: Limit
    ) -> None:
        self._limiter = limiter
        self._payments = payments
        self._refusals = refusals
        self._openings = openings
        self._openings_of_keys = openings_of_keys

    @classmethod
    def of(cls, settings: Settings, limiter: Limiter) -> Self:
        """Read them from the settings."""
        return cls(
            limiter,
            payments=Limit("payments", settings.limit_payments_per_channel),
            refusals=Limit("refusals", settings.limit_refusals_per_channel),
            openings=Limit("openings", settings.limit_openings_per_address, _HOUR_S),
            openings_of_keys=Limit("openings_of_keys", _PLACES_OF_A_KEY * settings.limit_openings_per_address, _HOUR_S),
        )

    def check(self, terms: PackageTerms) -> None:
        """Refuse a package that will not be admitted, before its signature is checked. Raises LimitedError.

        Nothing is counted: the one who is named as its signer may not have signed it.
        """
        who = _who(terms)
        self._check_refusals(who)
        if wait_s := self._limiter.wait_s(self._payments, who):
            raise self._too_many_payments(wait_s)

    def admit(self, payment: SignedPayment) -> None:
        """Count a verified package before it is judged. Raises LimitedError."""
        who = _who(payment.terms)
        self._check_refusals(who)
        if wait_s := self._limiter.take(self._payments, who):
            raise self._too_many_payments(wait_s)

    def refused(self, payment: SignedPayment, refusal: Refusal) -> None:
        """Count a refusal. One that only comes before its deposit is no fault of the payer."""
        if not refusal.awaits_funding:
            self._limiter.count(self._refusals, _who(payment.terms))

    def may_open(self, origin: str | None) -> bool:
        """Whether one more channel may be asked for from a place; None: from one that is not limited."""
        return origin is None or not self._limiter.wait_s(self._openings_at(origin), origin)

    def opened(self, origin: str | None) -> None:
        """Count a channel that is new, or back."""
        if origin is not None:
            self._limiter.count(self._openings_at(origin), origin)

    def too_many_openings(self, origin: str) -> LimitedError:
        """Return the error for a place from which too many channels were asked for."""
        limit = self._openings_at(origin)
        where = "with this API key" if _is_key(origin) else "from this network address"
        text = f"too many channels were asked for {where}"
        return LimitedError("too_many_openings", text, wait_s=self._limiter.wait_s(limit, origin), limit=limit)

    def _check_refusals(self, who: str) -> None:
        if wait_s := self._limiter.wait_s(self._refusals, who):
            text = "too many packages of this channel were refused"
            raise LimitedError("too_many_refusals", text, wait_s=wait_s, limit=self._refusals)

    def _too_many_payments(self, wait_s: float) -> LimitedError:
        text = "too many payments in this channel"
        return LimitedError("too_many_payments", text, wait_s=wait_s, limit=self._payments)

    def _openings_at(self, origin: str) -> Limit:
        return self._openings_of_keys if _is_key(origin) else self._openings


def origin_of_key(key_id: int) -> str:
    """Return what the channels count for that are new in packages which an application hands in, whoever signs them."""
    return f"{_KEY}{key_id}"


def _is_key(origin: str) -> bool:
    return origin.startswith(_KEY)


def _who(terms: PackageTerms) -> str:
    return f"{terms.aa_address}:{terms.signer}"
