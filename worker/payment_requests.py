"""Tells what came for payment requests, and that they have expired; each thing once.

Payments are linked to their requests where they are credited, without the requests' locks. Here, under the lock of one
request at a time, they are told of in their order, and the sums move on in the same transaction. A crash anywhere
leaves what was not told yet to be told.

An expiry is told when no payment in time can come any more: whoever links one has a transaction id by then, so it is
enough that every transaction that was running when the expiry was seen has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.bus import EVENT
from shared.logs import get_logger
from shared.requests.standing import Told
from shared.store import events, payment_requests
from shared.store.errors import DatabaseBusyError
from shared.store.events import EventKind, NewEvent

if TYPE_CHECKING:
    from shared.bus import Bus
    from shared.requests.standing import Standing
    from shared.store.payment_requests import RequestPayment, ToldSoFar
    from worker.guard import Guard

logger = get_logger(__name__)

REQUESTS_AT_ONCE = 100
PAYMENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RequestPace:
    """How often it is looked for what there is to tell, in seconds."""

    round_s: float = 0.5
    again_s: float = 0.05
    """While transactions run that may still bring a payment in time."""


class RequestTelling:
    """The telling of one term of the lease."""

    def __init__(self, guard: Guard, bus: Bus, pace: RequestPace) -> None:
        self._guard = guard
        self._bus = bus
        self._pace = pace

    async def run(self) -> None:
        """Tell again and again. Runs forever; raises StoreError when the database or the lease is gone."""
        while True:
            try:
                if await self.round():
                    continue
            except DatabaseBusyError as error:
                logger.warning("payment_requests_not_told", reason=str(error))
            await asyncio.sleep(self._pace.round_s)

    async def round(self) -> bool:
        """Tell what there is to tell now; return whether there may be more."""
        async with self._guard.reading() as conn:
            paid = await payment_requests.with_untold_payments(conn, REQUESTS_AT_ONCE)
            expired = await payment_requests.expired(conn, REQUESTS_AT_ONCE)
            # Only now, and a statement of its own: whatever was linked in time has a smaller transaction id.
            barrier = await events.barrier(conn) if expired else 0
        is_full = False
        for request_id in paid:
            is_full |= await self._tell_of_payments(request_id)
        if expired:
            await self._wait_for(barrier)
        for request_id in expired:
            while await self._tell_of_payments(request_id):
                pass
            await self._tell_of_expiry(request_id)
        return is_full or REQUESTS_AT_ONCE in (len(paid), len(expired))

    async def _wait_for(self, barrier: int) -> None:
        while True:
            async with self._guard.reading() as conn:
                if await events.oldest_running(conn) >= barrier:
                    return
            await asyncio.sleep(self._pace.again_s)

    async def _tell_of_payments(self, request_id: str) -> bool:
        """Tell of payments for a request; return whether there may be more."""
        async with self._guard.transaction() as conn:
            found = await payment_requests.lock_told(conn, request_id)
            payments = await payment_requests.untold(conn, request_id, PAYMENTS_AT_ONCE)
            if not payments:
                return False
            standing, told = told_of(request_id, found, payments)
            await events.add(conn, *told)
            await payment_requests.mark_told(conn, request_id, payments, standing)
        self._bus.publish(EVENT, {})
        return len(payments) == PAYMENTS_AT_ONCE

    async def _tell_of_expiry(self, request_id: str) -> None:
        """Tell that a request has expired, unless it was paid or cancelled. All payments in time were told of."""
        async with self._guard.transaction() as conn:
            found = await payment_requests.lock_told(conn, request_id)
            standing = found.standing
            if found.is_expiry_told:
                return
            if not standing.is_paid and not standing.is_cancelled:
                await events.add(conn, _event(Told.EXPIRED, request_id, found.asset, standing, {}))
            await payment_requests.mark_told(conn, request_id, (), standing, is_expiry_told=True)
        self._bus.publish(EVENT, {})


def told_of(request_id: str, found: ToldSoFar, payments: list[RequestPayment]) -> tuple[Standing, list[NewEvent]]:
    """Return where a request stands after payments, and the events that tell of them. Pure."""
    standing, told = found.standing, []
    for payment in payments:
        kinds: tuple[Told, ...] = (Told.OTHER_ASSET,)
        if payment.is_counted:
            standing, kinds = standing.after(payment.amount, is_late=payment.is_late)
        about = {
            "rail": payment.rail,
            "reference": payment.reference,
            "amount": payment.amount,
            "asset": payment.asset,
            "is_late": payment.is_late,
        }
        told += [_event(kind, request_id, found.asset, standing, {"payment": about}) for kind in kinds]
    return standing, told


def _event(kind: Told, request_id: str, asset: str, standing: Standing, more: dict[str, Any]) -> NewEvent:
    data = {
        "request": request_id,
        "state": standing.state.value,
        "amount": standing.amount,
        "asset": asset,
        "received": standing.received,
        "missing": standing.missing,
        "surplus": standing.surplus,
        **more,
    }
    return NewEvent(EventKind(kind.value), None, data)
