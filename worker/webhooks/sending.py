"""Sends deliveries that are due: a bounded number at a time, one of each channel, with nothing locked meanwhile.

Claim, call the server, settle. A sender that dies before it has settled leaves a claim that ends: the delivery is sent
again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.sealing import SealingError
from shared.store import events, webhook_claims, webhooks
from shared.store.errors import LeaseLostError, StoreError
from shared.store.events import EventKind, NewEvent
from shared.store.webhook_claims import Settlement
from shared.store.webhook_deliveries import Attempt, DeliveryState
from shared.webhooks.attempts import excerpt_of, fault_of, judge, read_retry_after
from shared.webhooks.errors import WebhookError
from shared.webhooks.messages import message_body, message_id
from shared.webhooks.signing import read_secret, signed_headers
from worker.pacing import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.store.events import Event
    from shared.store.webhook_claims import Claim
    from shared.store.webhooks import Signing
    from shared.webhooks.calling import Caller
    from worker.guard import Guard
    from worker.webhooks.terms import WebhookTerms

logger = get_logger(__name__)


class Sending:
    """The sender of one term of the lease."""

    def __init__(
        self,
        guard: Guard,
        caller: Caller,
        terms: WebhookTerms,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._caller = caller
        self._terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._bell = Bell()
        self._calls: dict[asyncio.Task[None], int] = {}
        """What is under way, and for which webhook."""

    def wake(self) -> None:
        """Look for what is due now."""
        self._bell.ring()

    async def run(self) -> None:
        """Send forever. Raises StoreError when the database or the lease is gone."""
        async with self._guard.transaction() as conn:
            await webhook_claims.unclaim(conn, self._guard.lease.term, self._now())
        async with asyncio.TaskGroup() as tasks:
            while True:
                if not await self._start(tasks):
                    await self._bell.sleep(self._terms.pace.poll_s)

    async def once(self) -> int:
        """Send what is due now, one delivery of each channel, and return how many. Raises StoreError."""
        async with asyncio.TaskGroup() as tasks:
            return await self._start(tasks)

    async def _start(self, tasks: asyncio.TaskGroup) -> int:
        """Begin as many calls as there is room for."""
        pace, started = self._terms.pace, 0
        if len(self._calls) >= pace.parallel:
            return 0
        async with self._guard.reading() as conn:
            due = await webhook_claims.due(conn, self._now())
        busy = Counter(self._calls.values())
        # Who has the fewest calls under way comes first.
        for webhook_id in sorted(due, key=lambda number: busy[number]):
            room = min(pace.parallel - len(self._calls), pace.parallel_of_one - busy[webhook_id])
            if room <= 0:
                continue
            now = self._now()
            until = now + timedelta(seconds=pace.claim_s)
            async with self._guard.transaction() as conn:
                claims = await webhook_claims.claim(
                    conn, webhook_id, now=now, until=until, term=self._guard.lease.term, limit=room
                )
            for claim in claims:
                call = tasks.create_task(self._deliver(claim), name=f"webhook-{webhook_id}")
                self._calls[call] = webhook_id
                call.add_done_callback(self._ended)
            started += len(claims)
        return started

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.pop(call, None)
        self._bell.ring()

    # --------------------------------------------------------------------------------------------------- one delivery

    async def _deliver(self, claim: Claim) -> None:
        delivery = claim.delivery
        try:
            async with self._guard.reading() as conn:
                signing = await webhooks.signing(conn, delivery.webhook_id)
                found = await events.page(conn, after=delivery.event_id - 1, until=delivery.event_id, limit=1)
            if signing is None:
                return
            if not found:
                await self._give_up(claim)
                return
            attempt, retry_after_s = await self._attempt(claim, found[0], signing)
            await self._settle(claim, attempt, retry_after_s)
        except LeaseLostError:
            raise
        except StoreError as error:
            # Sent or not, it is sent again when the claim has ended.
            logger.warning("webhook_not_settled", webhook_id=delivery.webhook_id, code=error.code, reason=str(error))

    async def _attempt(self, claim: Claim, event: Event, signing: Signing) -> tuple[Attempt, float | None]:
        """Make one attempt; return it, and how long the server asks us to wait."""
        began_at, began_s = self._now(), self._monotonic()

        def ended(status: int | None, error: str | None, body: bytes = b"") -> Attempt:
            took_ms = max(0, round(1_000 * (self._monotonic() - began_s)))
            return Attempt(began_at, took_ms, status, error, excerpt_of(body))

        try:
            secrets = [read_secret(self._terms.reader.open(sealed)) for sealed in signing.sealed_secrets]
        except (SealingError, WebhookError):
            return ended(None, "no_secret"), None
        body = message_body(event, claim.delivery)
        headers = signed_headers(secrets, message_id(claim.delivery), int(began_at.timestamp()), body)
        headers["content-type"] = "application/json"
        try:
            reply = await self._caller.post(signing.url, body, headers, self._terms.pace.limits)
        except WebhookError as error:
            return ended(None, error.code), None
        except Exception:
            # Whatever it is, it counts as an attempt: nothing is tried for ever.
            logger.exception("webhook_call_failed", webhook_id=claim.delivery.webhook_id)
            return ended(None, "internal_error"), None
        retry_after_s = read_retry_after(reply.headers.get("retry-after"), self._now())
        return ended(reply.status, fault_of(reply.status), reply.body), retry_after_s

    async def _settle(self, claim: Claim, attempt: Attempt, retry_after_s: float | None) -> None:
        now, delivery = self._now(), claim.delivery
        async with self._guard.transaction() as conn:
            standing = await webhook_claims.lock_to_settle(conn, claim)
            if standing is None:
                return
            settlement = judge(
                attempt,
                tries=delivery.tries,
                standing=standing,
                now=now,
                retry_after_s=retry_after_s,
                jitter=self._jitter(),
                disable_after_s=self._terms.disable_after_s,
            )
            is_disabled = await webhook_claims.settle(conn, claim, settlement, attempt=attempt, now=now)
            if is_disabled or settlement.tells:
                await events.add(conn, _told(claim, attempt, settlement, is_disabled=is_disabled))
        facts = {"webhook_id": delivery.webhook_id, "id": message_id(delivery), "status": attempt.status}
        if settlement.state is DeliveryState.DELIVERED:
            logger.debug("webhook_delivered", **facts)
        else:
            logger.info("webhook_attempt_failed", **facts, code=attempt.error, state=settlement.state.value)
        if is_disabled:
            logger.warning("webhook_disabled", webhook_id=delivery.webhook_id, reason=settlement.disables)

    async def _give_up(self, claim: Claim) -> None:
        """End a delivery whose event is not kept any more."""
        async with self._guard.transaction() as conn:
            standing = await webhook_claims.lock_to_settle(conn, claim)
            if standing is not None:
                settlement = Settlement(DeliveryState.GIVEN_UP, standing.failing_since)
                await webhook_claims.settle(conn, claim, settlement, attempt=None, now=self._now())
        logger.warning("webhook_event_forgotten", webhook_id=claim.delivery.webhook_id, id=message_id(claim.delivery))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _told(claim: Claim, attempt: Attempt, settlement: Settlement, *, is_disabled: bool) -> NewEvent:
    facts = {
        "webhook_id": claim.delivery.webhook_id,
        "delivery": message_id(claim.delivery),
        "status": attempt.status,
        "code": attempt.error,
        "failing_since": None if settlement.failing_since is None else settlement.failing_since.isoformat(),
    }
    if is_disabled:
        return NewEvent(EventKind.WEBHOOK_DISABLED, None, {**facts, "reason": settlement.disables})
    return NewEvent(EventKind.WEBHOOK_FAILING, None, facts)
