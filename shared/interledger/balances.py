"""What the two ends of an account owe each other, as a connector counts it. Positive: the peer owes us.

    what happens                                      the balance
    ------------------------------------------------  ------------------------------------------------------------
    a prepare of n comes in                           + n at once; above `maximum` it is refused instead (T04)
    it is answered by a reject, or not in time        - n
    it is answered by a fulfill                       stays
    a prepare of n goes out                           refused before it is sent, if it could fall below `minimum`
    it was fulfilled                                  - n
    money n comes in                                  - n; never refused, it is here
    settling: the balance is below `settle_below`     + what `settle_to` is above it, before the money is sent
    the money is known not to have been sent          - that again

A peer must not be able to send twice what it may owe by sending twice at once: so a prepare counts before its answer.
Money whose sending failed in doubt stays counted as sent: it may have arrived, and the next claim, which is cumulative,
covers the gap if it has not. Nothing here is stored: changes belong into the transaction that makes them true (ACC-4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.interledger.errors import InterledgerError


class BalanceError(InterledgerError):
    """More than the terms of an account allow.

    Codes: `over_maximum` (T04 for the peer), `over_packet_maximum` (F08 with both numbers), `under_minimum`,
    `bad_terms`, `bad_amount`.
    """


@dataclass(frozen=True, slots=True)
class BalanceTerms:
    """The terms of an account, in its units; None is no limit. A `maximum` of 0 means that the peer pays beforehand."""

    maximum: int | None = 0
    minimum: int | None = None
    settle_below: int | None = None
    settle_to: int = 0
    max_packet_amount: int | None = None

    def __post_init__(self) -> None:
        """Raise BalanceError `bad_terms` for terms that contradict each other."""
        if self.maximum is not None and self.minimum is not None and self.minimum > self.maximum:
            raise BalanceError("bad_terms", "minimum", "should not be above maximum")
        if self.maximum is not None and self.settle_to > self.maximum:
            raise BalanceError("bad_terms", "settle_to", "should not be above maximum")
        if self.settle_below is not None and self.settle_to < self.settle_below:
            raise BalanceError("bad_terms", "settle_to", "should not be below settle_below: it would never be enough")


@dataclass(frozen=True, slots=True)
class Balance:
    """What one account stands at; every change gives a new one. Amounts are integers from 0."""

    terms: BalanceTerms
    units: int = 0

    def prepared(self, amount: int) -> Balance:
        """Take a prepare in. Raises BalanceError `over_packet_maximum` or `over_maximum` (ACC-5)."""
        terms = self.terms
        if terms.max_packet_amount is not None and amount > terms.max_packet_amount:
            raise BalanceError(
                "over_packet_maximum", "amount", f"should be at most {terms.max_packet_amount} in a packet"
            )
        changed = self._changed(amount, 1)
        if amount and terms.maximum is not None and changed.units > terms.maximum:
            raise BalanceError(
                "over_maximum", "balance", f"would be {changed.units}, above the maximum of {terms.maximum}"
            )
        return changed

    def released(self, amount: int) -> Balance:
        """Give a prepare back that was rejected, or not answered in time."""
        return self._changed(amount, -1)

    def check_sending(self, amount: int) -> None:
        """Raise BalanceError `under_minimum` if a prepare may not go out: afterwards the next hop has been paid."""
        minimum = self.terms.minimum
        if amount and minimum is not None and self._changed(amount, -1).units < minimum:
            raise BalanceError("under_minimum", "balance", f"would fall below the minimum of {minimum}")

    def sent(self, amount: int) -> Balance:
        """Count a prepare of ours that was fulfilled."""
        return self._changed(amount, -1)

    def received(self, amount: int) -> Balance:
        """Count money that has come in: what a claim adds, once it is stored (CLM-2)."""
        return self._changed(amount, -1)

    @property
    def to_settle(self) -> int:
        """How much to pay now; 0 for nothing."""
        below = self.terms.settle_below
        return 0 if below is None or self.units >= below else self.terms.settle_to - self.units

    def settling(self, amount: int) -> Balance:
        """Count money that we are about to send."""
        return self._changed(amount, 1)

    def not_settled(self, amount: int) -> Balance:
        """Take back money of which it is known that it was not sent."""
        return self._changed(amount, -1)

    def _changed(self, amount: int, sign: int) -> Balance:
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
            raise BalanceError("bad_amount", "amount", "should be an integer from 0")
        return replace(self, units=self.units + sign * amount)
