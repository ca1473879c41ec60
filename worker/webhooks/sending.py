"""Sends deliveries that are due: a bounded number at a time, one of each channel, with nothing locked meanwhile.

Claim lanes, and for each: call the server, have the outcome written down, go on with the next event of the lane. A
sender that dies before an outcome is on record leaves a claim that ends: the delivery is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.sealing import SealingError
from shared.store import events, webhook_claims, webhooks
from shared.store.errors import LeaseLostError, StoreError
from shared.store.webhook_deliveries import Attempt
from shared.webhooks.attempts import excerpt_of, fault_of, read_retry_after
from shared.webhooks.errors import WebhookError
from shared.webhooks.messages import message_body, message_id
from shared.webhooks.signing import Secret, read_secret, signed_headers
from worker.pacing import Bell
from worker.webhooks.recording import Recording, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.bus import Bus
    from shared.store.events import Event
    from shared.store.webhook_claims import Claim
    from shared.store.webhooks import Signing
    from shared.webhooks.calling import Caller
    from worker.guard import Guard
    from worker.webhooks.terms import WebhookTerms

logger = get_logger(__name__)

_MAX_OPENED = 2_000


@dataclass(frozen=True, slots=True)
class _Round:
    """Lanes of one webhook that were claimed together: of each the next deliveries, with their events."""

    lanes: Sequence[Sequence[Claim]]
    events: Mapping[int, Event]
    signing: Signing
    until: datetime
    """When the claims end."""


class Sending:
    """The sender of one term of the lease. `bus`: rung when it is told that a webhook fails."""

    def __init__(
        self,
        guard: Guard,
        caller: Caller,
        terms: WebhookTerms,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        bus: Bus | None = None,
    ) -> None:
        self._guard = guard
        self._caller = caller
        self._terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._bell = Bell()
        self._claimed_for = timedelta(seconds=terms.pace.claim_s)
        self._recording = Recording(guard, terms, bus, clock=clock, jitter=jitter)
        self._lanes: dict[asyncio.Task[int], int] = {}
        """What is under way, and for which webhook."""
        self._opened: dict[str, Secret] = {}
        """Secrets that were opened, by their sealed text: each takes longer than a signature."""

    def wake(self) -> None:
        """Look for what is due now."""
        self._bell.ring()

    async def run(self) -> None:
        """Send forever. Raises StoreError when the database or the lease is gone."""
        async with self._guard.transaction() as conn:
            await webhook_claims.unclaim(conn, self._guard.lease.term, self._now())
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    if not await self._start(tasks):
                        await self._bell.sleep(self._terms.pace.poll_s)
        finally:
            await self._recording.close()

    async def once(self) -> int:
        """Send what is due now, of each channel as much as is claimed at once; return how many attempts that were.

        Raises StoreError.
        """
        async with asyncio.TaskGroup() as tasks:
            lanes = await self._start(tasks)
        return sum(lane.result() for lane in lanes if not lane.cancelled())

    async def _start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[int]]:
        """Begin with as many lanes as there is room for."""
        started: list[asyncio.Task[int]] = []
        async with self._guard.reading() as conn:
            due = await webhook_claims.due(conn, self._now())
        busy = Counter(self._lanes.values())
        # Who has the fewest calls under way comes first, and who has none is never kept waiting by the others.
        for webhook_id in sorted(due, key=lambda number: busy[number]):
            room = min(self._terms.pace.parallel - len(self._lanes), self._terms.parallel - busy[webhook_id])
            if room <= 0 and busy[webhook_id]:
                continue
            found = await self._claim(webhook_id, max(1, room))
            if found is None:
                continue
            for claims in found.lanes:
                lane = tasks.create_task(self._deliver(claims, found), name=f"webhook-{webhook_id}")
                self._lanes[lane] = webhook_id
                lane.add_done_callback(self._ended)
                started.append(lane)
        return started

    async def _claim(self, webhook_id: int, room: int) -> _Round | None:
        now, pace = self._now(), self._terms.pace
        until = now + self._claimed_for
        async with self._guard.transaction() as conn:
            lanes = await webhook_claims.claim(
                conn,
                webhook_id,
                now=now,
                until=until,
                term=self._guard.lease.term,
                limit=room,
                each=pace.at_once,
            )
            signing = await webhooks.signing(conn, webhook_id) if lanes else None
            if signing is None:
                return None
            numbers = [claim.delivery.event_id for claims in lanes for claim in claims]
            return _Round(lanes, await events.find(conn, numbers), signing, until)

    def _ended(self, lane: asyncio.Task[int]) -> None:
        self._lanes.pop(lane, None)
        self._bell.ring()

    # ------------------------------------------------------------------------------------------------------- one lane

    async def _deliver(self, claims: Sequence[Claim], found: _Round) -> int:
        """Send deliveries of one lane, one after the other, as long as that may go on; return how many attempts."""
        signing: Signing | None = found.signing
        attempts, until = 0, found.until
        for place, claim in enumerate(claims, 1):
            # Who was frozen for that long has lost the lane to somebody who may be further.
            if signing is None or self._now() >= until:
                break
            event = found.events.get(claim.delivery.event_id)
            attempt, retry_after_s = None, None
            if event is not None:
                attempt, retry_after_s = await self._attempt(claim, event, signing)
                attempts += 1
            until = self._now() + self._claimed_for
            try:
                signing = await self._settle(Result(claim, attempt, retry_after_s, has_next=place < len(claims)))
            except LeaseLostError:
                raise
            except StoreError as error:
                # Sent or not, it is sent again when the claim has ended.
                facts = {"webhook_id": claim.delivery.webhook_id, "code": error.code, "reason": str(error)}
                logger.warning("webhook_not_settled", **facts)
                break
        return attempts

    async def _settle(self, result: Result) -> Signing | None:
        return await self._recording.record(result)

    async def _attempt(self, claim: Claim, event: Event, signing: Signing) -> tuple[Attempt, float | None]:
        """Make one attempt; return it, and how long the server asks us to wait."""
        began_at, began_s = self._now(), self._monotonic()

        def ended(status: int | None, error: str | None, body: bytes = b"") -> Attempt:
            took_ms = max(0, round(1_000 * (self._monotonic() - began_s)))
            return Attempt(began_at, took_ms, status, error, excerpt_of(body))

        try:
            secrets = [self._secret(sealed) for sealed in signing.sealed_secrets]
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

    def _secret(self, sealed: str) -> Secret:
        """Open a secret. Raises SealingError, WebhookError."""
        if sealed not in self._opened:
            if len(self._opened) >= _MAX_OPENED:
                self._opened.clear()
            self._opened[sealed] = read_secret(self._terms.reader.open(sealed))
        return self._opened[sealed]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
