"""Where a payment request stands: a function of what came for it, in time or late. No clock, no database.

    open ──> partially_paid ──> paid ──> overpaid        what came in time decides, in any order
      └────────────┴──> expired ──> late                 too little by the expiry; then something came after it
      └────────────┴──> cancelled                        by its owner, before it was paid

Money is never refused because of a request: what comes is the payee's, and is shown as what it is (decision 0026).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class RequestState(StrEnum):
    """The states of a request. The names are stable."""

    OPEN = "open"
    """Nothing has come yet."""
    PARTIALLY_PAID = "partially_paid"
    PAID = "paid"
    OVERPAID = "overpaid"
    """Paid in time, and more came, then or later."""
    EXPIRED = "expired"
    """Less than was asked for came in time."""
    LATE = "late"
    """Expired, and something came after that."""
    CANCELLED = "cancelled"


class Told(StrEnum):
    """What is told of a payment for a request, or of its end. The names of events."""

    PARTIALLY_PAID = "payment_request_partially_paid"
    PAID = "payment_request_paid"
    OVERPAID = "payment_request_overpaid"
    LATE = "payment_request_late"
    OTHER_ASSET = "payment_request_other_asset"
    EXPIRED = "payment_request_expired"


@dataclass(frozen=True, slots=True)
class Standing:
    """What was asked for and what came, in the smallest unit of the request's asset."""

    amount: int
    in_time: int = 0
    late: int = 0
    is_expired: bool = False
    is_cancelled: bool = False

    @property
    def received(self) -> int:
        """All that came."""
        return self.in_time + self.late

    @property
    def missing(self) -> int:
        """What did not come, whether it may still be paid or not."""
        return max(0, self.amount - self.received)

    @property
    def surplus(self) -> int:
        """What came beyond the amount."""
        return max(0, self.received - self.amount)

    @property
    def due(self) -> int:
        """What a payer should pay now; 0 when he should not."""
        return self.missing if self.state in _PAYABLE else 0

    @property
    def is_paid(self) -> bool:
        """Whether all of it came in time. Once true it stays true."""
        return self.in_time >= self.amount

    @property
    def state(self) -> RequestState:
        """The state. What was paid in time is paid, whatever happened at the same moment."""
        if self.is_paid:
            return RequestState.OVERPAID if self.surplus else RequestState.PAID
        if self.is_cancelled:
            return RequestState.CANCELLED
        if self.is_expired:
            return RequestState.LATE if self.late else RequestState.EXPIRED
        return RequestState.PARTIALLY_PAID if self.in_time else RequestState.OPEN

    def after(self, amount: int, *, is_late: bool) -> tuple[Standing, tuple[Told, ...]]:
        """Return where it stands after a payment in its asset, and what there is to tell.

        Whatever the order, PAID is told once: by the payment that completes it. OVERPAID is told by each payment that
        leaves more than was asked for.
        """
        then = replace(self, late=self.late + amount) if is_late else replace(self, in_time=self.in_time + amount)
        if not then.is_paid:
            return then, (Told.LATE if is_late else Told.PARTIALLY_PAID,)
        told = () if self.is_paid else (Told.PAID,)
        return then, (*told, Told.OVERPAID) if then.surplus else told


_PAYABLE = frozenset({RequestState.OPEN, RequestState.PARTIALLY_PAID})
