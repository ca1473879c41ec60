"""Credits verified packages: all that arrived meanwhile share one transaction, and its commit comes before any answer.

One package alone waits for nobody. While its batch commits the next one gathers, so the more arrive the fewer commits
each of them costs. Payers take turns (`shared.receiving.queueing`): who sends many waits for himself. One task per
process takes the batches: two at a time would only contend for the same rows, and the loop has the next packages to
verify while one commits.

    lock the channels (by address) → find duplicates → lock assets (by name) if unconfirmed deposits are needed
    → judge one after the other → write channels and payments at once → ask the worker to close channels in which
    enough is at risk now → tell of refusals worth knowing → commit → answer everyone
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import msgspec

from shared.bus import CHANNEL_CHANGED, COMMAND, EVENT, PAYMENT
from shared.channels.model import UnconfirmedLimits
from shared.discreet import Discreet
from shared.logs import get_logger
from shared.receiving.errors import UnavailableError, database_unavailable
from shared.receiving.exposure import exposure_rules
from shared.receiving.judging import (
    ChannelAtHand,
    Credited,
    Judge,
    Outcome,
    WatcherSilent,
    assets_to_lock,
    may_be_duplicate,
)
from shared.receiving.outcomes import Receipt, Refusal
from shared.receiving.queueing import FairQueue
from shared.receiving.refusals import RefusalsToTell
from shared.store import assets, channels, events, exposure, payments, peer_units
from shared.store.errors import DatabaseBusyError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.bus import Bus
    from shared.channels.exposure import ExposureRules
    from shared.channels.model import PackageTerms
    from shared.receiving.verification import SignedPayment
    from shared.settings import Settings
    from shared.store.database import Connection, Database
    from shared.store.events import NewEvent
    from shared.store.payments import PaymentKey

logger = get_logger(__name__)

_WATCHER_SILENT = "the ledger cannot be watched now, no payments are taken"
_PARALLEL_RETRIES = 4
_GATHER_SHARE = 0.25
_GATHER_S = 0.005
"""While others wait already the next batch gathers for such a share of the time the last one took, at most so long."""


@dataclass(frozen=True, slots=True)
class AcceptanceRules:
    """What the operator decides about acceptance. Limits by asset; times in seconds; counts in packages."""

    limits: Mapping[str, UnconfirmedLimits]
    exposure: ExposureRules
    watcher_max_silence_s: float
    batch_max: int = 200
    queue_max: int = 2000

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read them from the settings."""
        return cls(
            limits={
                asset: UnconfirmedLimits(limit.max_by_asset, limit.max_by_channel, limit.min_age_s)
                for asset, limit in settings.unconfirmed_limits.items()
            },
            exposure=exposure_rules(settings),
            watcher_max_silence_s=settings.watcher_max_silence_s,
            batch_max=settings.accept_batch_max,
            queue_max=settings.accept_queue_max,
        )

    def is_silent(self, watcher_age_s: float | None) -> bool:
        """Whether the watcher has been out of step for too long to go on giving goods away."""
        return watcher_age_s is None or watcher_age_s > self.watcher_max_silence_s


class _Submission(Discreet, frozen=True):
    payment: SignedPayment
    message: str | None
    answer: asyncio.Future[Receipt | Refusal]


class Acceptor:
    """Takes verified packages one by one and credits them in batches."""

    def __init__(self, database: Database, rules: AcceptanceRules, bus: Bus) -> None:
        self._database = database
        self._rules = rules
        self._bus = bus
        self._queue: FairQueue[_Submission] = FairQueue(rules.queue_max)
        self._arrived = asyncio.Event()
        self._enough = 1
        """With so many waiting the next batch begins."""
        self._closing = False
        self._refusals = RefusalsToTell()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, payment: SignedPayment, message: str | None = None) -> Receipt | Refusal:
        """Return the receipt once the payment is committed, or the refusal.

        `message`: JSON text to keep with the payment. Raises UnavailableError when there is no database, no watcher or
        no room; whether the package was credited is then unknown, and sending it again is safe. If the caller is
        cancelled the package is judged nevertheless.
        """
        self.check_room(payment.terms)
        answer: asyncio.Future[Receipt | Refusal] = asyncio.get_running_loop().create_future()
        self._queue.add((payment.terms.aa_address, payment.terms.signer), _Submission(payment, message, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="acceptor")
        if len(self._queue) >= self._enough:
            self._arrived.set()
        return await answer

    def check_room(self, terms: PackageTerms) -> None:
        """Return if one more package of this payer may wait. Raises UnavailableError."""
        if self._closing:
            raise UnavailableError("shutting_down", "this server is shutting down")
        if not self._queue.has_room((terms.aa_address, terms.signer)):
            raise UnavailableError("overloaded", "too many payments are waiting")

    async def close(self) -> None:
        """Take no more packages and finish those that wait."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        now_s = asyncio.get_running_loop().time
        answered, took_s = 0, 0.0
        while self._queue or not self._closing:
            if not self._queue:
                await self._until(1)
            elif not self._closing:
                # Who was answered just now is about to pay again: in this batch, if it waits for him a little.
                await self._until(len(self._queue) + answered, at_most_s=min(_GATHER_S, took_s * _GATHER_SHARE))
            began_s = now_s()
            if batch := self._queue.take(self._rules.batch_max):
                await self._accept(batch)
            answered, took_s = len(batch), now_s() - began_s

    async def _until(self, enough: int, at_most_s: float | None = None) -> None:
        """Return when so many wait, or as many as a batch takes, or nobody else may come."""
        self._enough = min(enough, self._rules.batch_max)
        if len(self._queue) < self._enough:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(at_most_s):
                    await self._arrived.wait()

    async def _accept(self, batch: Sequence[_Submission]) -> None:
        try:
            await self._accept_together(batch)
        except DatabaseBusyError as error:
            # Somebody holds a channel's lock: the payments of the other channels need not wait for him.
            logger.warning("batch_timed_out", packages=len(batch), error=str(error))
            await self._accept_apart(_by_channel(batch))
        except DatabaseUnavailableError as error:
            logger.warning("database_unavailable", packages=len(batch), error=str(error))
            _fail(batch, database_unavailable())
        except Exception:
            # Whatever one package provokes must not touch its neighbours.
            logger.exception("batch_failed", packages=len(batch))
            await self._accept_apart([[submission] for submission in batch])

    async def _accept_apart(self, parts: Sequence[Sequence[_Submission]]) -> None:
        """Give every part of a failed batch one more try, on its own."""
        gate = asyncio.Semaphore(_PARALLEL_RETRIES)

        async def retry(part: Sequence[_Submission]) -> None:
            try:
                async with gate:
                    await self._accept_together(part)
            except DatabaseUnavailableError:
                _fail(part, database_unavailable())
            except Exception as error:  # noqa: BLE001 - reported to the one it belongs to
                if len(part) > 1:
                    await self._accept_apart([[submission] for submission in part])
                else:
                    _fail(part, error)

        await asyncio.gather(*map(retry, parts))

    async def _accept_together(self, batch: Sequence[_Submission]) -> None:
        async with self._database.transaction() as conn:
            judge, receipts = await self._read(conn, batch)
            outcomes = [judge.judge(submission.payment, submission.message) for submission in batch]
            written = await _write(conn, judge)
            ripened = judge.ripened()
            sweeps = await exposure.order_sweeps(conn, ripened) if ripened else []
            revived = await channels.revive(conn, judge.wanted) if judge.wanted else []
            if refused := self._worth_telling(batch, outcomes):
                await events.add(conn, *refused)
        receipts |= written
        for submission, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Credited):
                terms = submission.payment.terms
                self._queue.remember((terms.aa_address, terms.signer))
            _answer(submission.answer, outcome, receipts)
        for receipt in written.values():
            self._bus.publish(PAYMENT, receipt.as_event())
        for command_id in sweeps:
            self._bus.publish(COMMAND, {"id": command_id})
        for aa_address in revived:
            self._bus.publish(CHANNEL_CHANGED, {"aa_address": aa_address})
        if refused:
            self._bus.publish(EVENT, {})

    def _worth_telling(self, batch: Sequence[_Submission], outcomes: Sequence[Outcome]) -> list[NewEvent]:
        now_s = asyncio.get_running_loop().time()
        return [
            event
            for submission, outcome in zip(batch, outcomes, strict=True)
            if isinstance(outcome, Refusal)
            and (event := self._refusals.event_of(submission.payment.terms, outcome, now_s=now_s)) is not None
        ]

    async def _read(self, conn: Connection, batch: Sequence[_Submission]) -> tuple[Judge, dict[PaymentKey, Receipt]]:
        """Lock and read what the batch is judged on; also return the receipts of packages credited earlier.

        The lock is needed for those, too: it is a write, so a batch of nothing but repeated packages commits as any
        other. A payment that is committed here and not yet on the stand-by that commits wait for is visible, and its
        receipt has to wait as it would have waited the first time.
        """
        packages = [submission.payment for submission in batch]
        locked = await channels.lock(conn, {package.terms.aa_address for package in packages})
        repeated = {
            package.terms.key
            for package in packages
            if (found := locked.get(package.terms.aa_address)) and may_be_duplicate(found.channel, package.terms)
        }
        finished = {key for key in repeated if key[1] < locked[key[0]].channel.current_period}
        earlier = await payments.find(conn, repeated, finished=finished) if repeated else {}
        with_units = [address for address, found in locked.items() if found.has_peer_units]
        units = await peer_units.of(conn, with_units) if with_units else {}
        at_hand = {
            address: ChannelAtHand(
                found.channel,
                found.created_by_me,
                units.get(address, ()),
                asset_is_stopped=found.asset_is_stopped,
                is_expired=found.is_expired,
            )
            for address, found in locked.items()
        }
        fresh = [package for package in packages if package.terms.key not in earlier]
        used_of_asset: dict[str, int] = {}
        if wanted := assets_to_lock(at_hand, fresh, self._rules.limits):
            await assets.lock(conn, wanted)
            used_of_asset = await channels.unconfirmed_used(conn, wanted)
        judge = Judge(
            at_hand,
            accepted_before=earlier.keys(),
            limits=self._rules.limits,
            exposure=self._rules.exposure,
            used_of_asset=used_of_asset,
            now_s=max((found.now_s for found in locked.values()), default=0.0),
            watcher_silent=any(self._rules.is_silent(found.watcher_age_s) for found in locked.values()),
        )
        return judge, {key: Receipt.of(payment) for key, payment in earlier.items()}


async def _write(conn: Connection, judge: Judge) -> dict[PaymentKey, Receipt]:
    """Write the new payments and their channels; return the receipts, which count once this is committed."""
    if not judge.payments:
        return {}
    changed = dict.fromkeys(payment.aa_address for payment in judge.payments.values())
    ids = await payments.record_batch(
        conn, [judge.channels[address] for address in changed], list(judge.payments.values())
    )
    return {
        key: Receipt(
            payment_id=payment_id,
            aa_address=payment.aa_address,
            asset=judge.channels[payment.aa_address].asset,
            period=payment.period,
            amount_spent=payment.amount_spent,
            amount=payment.payment_amount,
            message=payment.message,
        )
        for payment_id, (key, payment) in zip(ids, judge.payments.items(), strict=True)
    }


def _answer(
    answer: asyncio.Future[Receipt | Refusal], outcome: Outcome, receipts: Mapping[PaymentKey, Receipt]
) -> None:
    if answer.done():  # its caller was cancelled
        return
    match outcome:
        case Credited(key=key, duplicate=duplicate):
            receipt = receipts[key]
            answer.set_result(msgspec.structs.replace(receipt, duplicate=True) if duplicate else receipt)
        case WatcherSilent():
            answer.set_exception(UnavailableError("watcher_silent", _WATCHER_SILENT, retry_after_s=5))
        case Refusal():
            answer.set_result(outcome)


def _fail(part: Sequence[_Submission], error: Exception) -> None:
    for submission in part:
        if not submission.answer.done():
            submission.answer.set_exception(error)


def _by_channel(batch: Sequence[_Submission]) -> list[list[_Submission]]:
    parts: dict[str, list[_Submission]] = {}
    for submission in batch:
        parts.setdefault(submission.payment.terms.aa_address, []).append(submission)
    return list(parts.values())
