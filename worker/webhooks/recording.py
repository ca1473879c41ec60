"""Writes down what became of attempts: all that end while one transaction commits share the next one.

One webhook's outcomes are written under its lock, one transaction after the other; different webhooks do not wait for
each other. An outcome that has nobody to share with waits for nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.bus import EVENT
from shared.logs import get_logger
from shared.store import events, webhook_claims, webhooks
from shared.store.events import EventKind, NewEvent
from shared.store.webhook_claims import Outcome, Settlement
from shared.store.webhook_deliveries import DeliveryState
from shared.webhooks.attempts import after, judge
from shared.webhooks.messages import message_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.bus import Bus
    from shared.store.webhook_claims import Claim, Standing
    from shared.store.webhook_deliveries import Attempt
    from shared.store.webhooks import Signing
    from worker.guard import Guard
    from worker.webhooks.terms import WebhookTerms

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What became of a claimed delivery. Without an attempt there was nothing to send any more."""

    claim: Claim
    attempt: Attempt | None
    retry_after_s: float | None = None
    """How long the server asks us to wait."""
    has_next: bool = False
    """The next delivery of the lane was claimed with this one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    result: Result
    answer: asyncio.Future[Signing | None] = field(repr=False)


class Recording:
    """The records of one term of the lease. To be closed."""

    def __init__(
        self,
        guard: Guard,
        terms: WebhookTerms,
        bus: Bus | None,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._terms = terms
        self._bus = bus
        self._clock = clock
        self._jitter = jitter
        self._waiting: dict[int, list[_Waiting]] = {}
        self._writers: dict[int, asyncio.Task[None]] = {}

    async def record(self, result: Result) -> Signing | None:
        """Return once the outcome is committed: what the next message of this lane is signed with.

        None when that must not be sent now: the claim has ended, or is given back with this outcome. Raises StoreError;
        whether the outcome is on record is then unknown.
        """
        webhook_id = result.claim.delivery.webhook_id
        waiting = _Waiting(result, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(webhook_id, []).append(waiting)
        if webhook_id not in self._writers:
            self._writers[webhook_id] = asyncio.create_task(self._write(webhook_id), name=f"record-{webhook_id}")
        return await waiting.answer

    async def close(self) -> None:
        """Write nothing more."""
        writers = list(self._writers.values())
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    async def _write(self, webhook_id: int) -> None:
        try:
            while batch := self._waiting.pop(webhook_id, None):
                await self._write_together(webhook_id, batch)
        finally:
            del self._writers[webhook_id]

    async def _write_together(self, webhook_id: int, batch: Sequence[_Waiting]) -> None:
        try:
            next_one, kept = await self._commit(webhook_id, [waiting.result for waiting in batch])
        except Exception as error:  # noqa: BLE001 - reported to those it belongs to
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        for waiting in batch:
            if not waiting.answer.done():  # else it was cancelled
                waiting.answer.set_result(next_one if waiting.result in kept else None)

    async def _commit(self, webhook_id: int, results: Sequence[Result]) -> tuple[Signing | None, set[Result]]:
        """Write outcomes down; return what is signed with now, and who may go on."""
        now = self._now()
        next_one: Signing | None = None
        async with self._guard.transaction() as conn:
            claims = [result.claim for result in results]
            standing, held = await webhook_claims.lock_to_settle(conn, webhook_id, claims)
            if standing is None or not held:
                return None, set()
            judged, standing = self._judge(
                [result for result in results if any(result.claim is claim for claim in held)], standing, now
            )
            outcomes = list(self._outcomes(judged, standing, now))
            is_disabled = await webhook_claims.settle(conn, webhook_id, outcomes, standing=standing, now=now)
            told = [*_told(judged, is_disabled=is_disabled)]
            if told:
                await events.add(conn, *told)
            kept = {
                result for (result, _), outcome in zip(judged, outcomes, strict=True) if outcome.keeps_until is not None
            }
            if kept:
                next_one = await webhooks.signing(conn, webhook_id)
        if told and self._bus is not None:
            self._bus.publish(EVENT, {})
        for result, settlement in judged:
            _log(result, settlement)
        if is_disabled:
            logger.warning("webhook_disabled", webhook_id=webhook_id, reason=told[-1].data.get("reason"))
        return next_one, kept

    def _judge(
        self, results: Sequence[Result], standing: Standing, now: datetime
    ) -> tuple[list[tuple[Result, Settlement]], Standing]:
        """Judge results in the order in which they came; also return how the webhook has done after them."""
        judged = []
        for result in results:
            if result.attempt is None:
                judged.append((result, Settlement(DeliveryState.GIVEN_UP, standing.failing_since)))
                continue
            settlement = judge(
                result.attempt,
                tries=result.claim.delivery.tries,
                standing=standing,
                now=now,
                retry_after_s=result.retry_after_s,
                jitter=self._jitter(),
                disable_after_s=self._terms.disable_after_s,
            )
            standing = after(standing, settlement, now)
            judged.append((result, settlement))
        return judged, standing

    def _outcomes(
        self, judged: Sequence[tuple[Result, Settlement]], standing: Standing, now: datetime
    ) -> Iterator[Outcome]:
        until = now + timedelta(seconds=self._terms.pace.claim_s)
        for result, settlement in judged:
            goes_on = result.has_next and standing.is_active and settlement.state is not DeliveryState.PENDING
            yield Outcome(result.claim, settlement, result.attempt, keeps_until=until if goes_on else None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _log(result: Result, settlement: Settlement) -> None:
    delivery, attempt = result.claim.delivery, result.attempt
    facts = {"webhook_id": delivery.webhook_id, "id": message_id(delivery)}
    if attempt is None:
        logger.warning("webhook_event_forgotten", **facts)
    elif settlement.state is DeliveryState.DELIVERED:
        logger.debug("webhook_delivered", **facts, status=attempt.status)
    else:
        state = settlement.state.value
        logger.info("webhook_attempt_failed", **facts, status=attempt.status, code=attempt.error, state=state)


def _told(judged: Sequence[tuple[Result, Settlement]], *, is_disabled: bool) -> Iterator[NewEvent]:
    """Return the events that tell of failures; that the webhook was disabled comes once, and last."""
    ending: NewEvent | None = None
    for result, settlement in judged:
        if result.attempt is None:
            continue
        since = settlement.failing_since
        facts = {
            "webhook_id": result.claim.delivery.webhook_id,
            "delivery": message_id(result.claim.delivery),
            "status": result.attempt.status,
            "code": result.attempt.error,
            "failing_since": None if since is None else since.isoformat(),
        }
        if settlement.tells:
            yield NewEvent(EventKind.WEBHOOK_FAILING, None, facts)
        elif settlement.disables is not None and is_disabled and ending is None:
            ending = NewEvent(EventKind.WEBHOOK_DISABLED, None, {**facts, "reason": settlement.disables})
    if ending is not None:
        yield ending
