"""The webhooks of one term of the lease: planning, sending, housekeeping. Whatever happens here, the vault goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.bus import CHANNEL_CHANGED, COMMAND, EVENT, PAYMENT
from shared.logs import get_logger
from shared.store import webhook_deliveries, webhooks
from shared.store.alarms import AlarmKind
from shared.store.errors import LeaseLostError, StoreError
from shared.webhooks.calling import Caller
from worker.guard import Guard
from worker.metrics import WEBHOOK_LAG
from worker.pacing import Bell
from worker.webhooks.planning import Planning
from worker.webhooks.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.bus import Bus
    from shared.store.lease import Lease
    from worker.alarms import Alarms
    from worker.webhooks.terms import WebhookTerms

logger = get_logger(__name__)

_BATCH = 1_000
MAX_WEBHOOKS = 1_000
"""As many as the setting allows."""
AWAY_S = 3_600.0
"""A webhook that has taken nothing for this long is a reason for alarm."""


class Webhooks:
    """Sends what happens to whom it is to be sent to."""

    def __init__(
        self,
        lease: Lease,
        terms: WebhookTerms,
        bus: Bus,
        alarms: Alarms,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._guard = Guard(terms.database, lease)
        self._terms = terms
        self._bus = bus
        self._alarms = alarms
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._bell = Bell()

    async def run(self) -> None:
        """Send forever. Raises LeaseLostError."""
        try:
            while True:
                try:
                    await self._run()
                except* LeaseLostError:
                    raise
                except* StoreError as errors:
                    logger.warning("webhooks_wait", reason=str(_first(errors)))
                except* Exception:
                    # Whatever foreign servers answer, the vault goes on.
                    logger.exception("webhooks_failed")
                await asyncio.sleep(self._terms.pace.retry_s)
        finally:
            WEBHOOK_LAG.clear()

    async def _run(self) -> None:
        async with self._guard.transaction() as conn:
            await webhooks.declare_signer(conn, self._terms.reader.public_key)
        async with Caller(self._terms.guard, max_connections=_connections(self._terms)) as caller:
            sending = Sending(
                self._guard,
                caller,
                self._terms,
                clock=self._clock,
                monotonic=self._monotonic,
                jitter=self._jitter,
                bus=self._bus,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sending.run(), name="webhooks-sending")
                tasks.create_task(self._plan(sending), name="webhooks-planning")
                tasks.create_task(self._listen(), name="webhooks-bell")
                tasks.create_task(self._tell_lag(), name="webhooks-lag")
                tasks.create_task(self._forget(), name="webhooks-forgetting")

    async def _plan(self, sending: Sending) -> None:
        pace = self._terms.pace
        planning = Planning(self._guard, clock=self._clock, held_every_s=pace.held_s)
        while True:
            if await planning.round():
                sending.wake()
            await asyncio.sleep(pace.gather_s)
            if not planning.is_behind:
                await self._bell.sleep(pace.held_s if planning.has_held else pace.poll_s)

    async def _listen(self) -> None:
        with self._bus.subscribe(PAYMENT, CHANNEL_CHANGED, COMMAND, EVENT, limit=1) as subscription:
            async for _ in subscription:
                self._bell.ring()

    async def _tell_lag(self) -> None:
        while True:
            await tell_lag(self._guard, self._now())
            await watch(self._guard, self._alarms, self._now())
            await asyncio.sleep(self._terms.pace.lag_s)

    async def _forget(self) -> None:
        while True:
            await forget(self._guard, self._now(), kept_s=self._terms.retention_s)
            await asyncio.sleep(self._terms.pace.forget_s)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


async def tell_lag(guard: Guard, now: datetime) -> None:
    """Let the metrics tell how far each webhook is behind. Raises StoreError."""
    async with guard.reading() as conn:
        ages_s = await webhook_deliveries.oldest_ages_s(conn, now)
    WEBHOOK_LAG.clear()
    for webhook_id, age_s in ages_s.items():
        WEBHOOK_LAG.labels(webhook=str(webhook_id)).set(age_s)


async def watch(guard: Guard, alarms: Alarms, now: datetime) -> None:
    """Raise an alarm for each webhook that takes nothing any more, and clear those of the others. Raises StoreError."""
    async with guard.reading() as conn:
        away = await webhooks.away(conn, now - timedelta(seconds=AWAY_S))
    for found in away:
        since = None if found.failing_since is None else found.failing_since.isoformat(timespec="seconds")
        facts = {"state": found.state, "reason": found.reason, "failing_since": since}
        alarms.raise_(AlarmKind.WEBHOOK_AWAY, str(found.id), **facts)
    for subject in alarms.subjects(AlarmKind.WEBHOOK_AWAY) - {str(found.id) for found in away}:
        alarms.clear(AlarmKind.WEBHOOK_AWAY, subject)


async def forget(guard: Guard, now: datetime, *, kept_s: float) -> None:
    """Forget deliveries that have ended more than `kept_s` ago, or are too many. Raises StoreError."""
    gone = _BATCH
    while gone >= _BATCH:
        async with guard.transaction() as conn:
            gone = await webhook_deliveries.forget(conn, before=now - timedelta(seconds=kept_s), limit=_BATCH)


def _connections(terms: WebhookTerms) -> int:
    """Never fewer than calls: one of each webhook may come on top."""
    return terms.pace.parallel + MAX_WEBHOOKS


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
