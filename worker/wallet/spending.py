"""What a unit may cost by its urgency, and what it must leave. Pure; why it is so: docs/decisions/0014.

urgency    must leave    may pay in oversize and TPS fees
routine    the reserve   up to the limits of the settings
settling   nothing       the same
defence    nothing       more, if need be: half of what is at stake
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.obyte.selection import FeeLimit
from worker.wallet.orders import Urgency

if TYPE_CHECKING:
    from shared.obyte.coins import Policy
    from worker.wallet.orders import UnitOrder

DEFENCE_SHARE = 2
"""A defence may cost one part in so many of what it saves."""


@dataclass(frozen=True, slots=True)
class Spending:
    """The limits of the settings. `reserve` and `max_fee` in bytes, `max_fee_ratio` in commissions of the unit."""

    reserve: int = 200_000
    max_fee_ratio: float = 100
    max_fee: int | None = None

    @property
    def usual_fee_limit(self) -> FeeLimit:
        """What any unit may pay beyond its commissions."""
        return FeeLimit(self.max_fee_ratio, math.inf if self.max_fee is None else self.max_fee)

    def reserve_of(self, order: UnitOrder) -> int:
        """Bytes that the order must leave in the wallet."""
        return self.reserve if order.urgency is Urgency.ROUTINE else 0

    def fee_limit_of(self, order: UnitOrder) -> FeeLimit:
        """What the order may pay beyond its commissions."""
        if order.urgency is not Urgency.DEFENCE:
            return self.usual_fee_limit
        return replace(self.usual_fee_limit, granted=defence_fee(order.at_stake, self.reserve))


def defence_fee(at_stake: int | None, reserve: int) -> int:
    """Bytes that a defence may pay in fees whatever the limits say.

    The reserve stands for a stake that is not told in bytes: it was set aside for this.
    """
    return (reserve if at_stake is None else at_stake) // DEFENCE_SHARE


def policies(order: UnitOrder) -> tuple[Policy, ...]:
    """Which unconfirmed coins to try, the surest first; a defence takes all there are before it gives up."""
    if order.urgency is Urgency.DEFENCE or order.policy == "all":
        return ("own", "all")
    return (order.policy,)
