"""Which refusals are worth telling of, and how often: who is refused again and again must not fill the database.

Only what the channel's own payer has signed counts. Strangers are told why and leave no trace, and neither does a
payment that only comes before its deposit.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from shared.store.events import EventKind, NewEvent

if TYPE_CHECKING:
    from shared.channels.model import PackageTerms
    from shared.receiving.outcomes import Refusal

AGAIN_S = 60.0
MAX_REMEMBERED = 10_000


class RefusalsToTell:
    """Tells of a channel's refusals by the same rule once in a while, in each process."""

    def __init__(self, *, again_s: float = AGAIN_S) -> None:
        self._again_s = again_s
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()

    def event_of(self, terms: PackageTerms, refusal: Refusal, *, now_s: float) -> NewEvent | None:
        """Return the event that tells of a refusal now, None if it is not worth it. `now_s` only grows."""
        key = (terms.aa_address, refusal.code)
        if refusal.channel is None or refusal.awaits_funding:
            return None
        if now_s - self._told.get(key, now_s - self._again_s) < self._again_s:
            return None
        self._told[key] = now_s
        self._told.move_to_end(key)
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        return NewEvent(
            EventKind.PAYMENT_REFUSED,
            terms.aa_address,
            {
                "code": refusal.code,
                "text": refusal.text,
                "amount": terms.payment_amount,
                "period": terms.period,
                "amount_spent": terms.amount_spent,
                "channel": refusal.channel.as_json(),
            },
        )
