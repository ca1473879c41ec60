"""The whole of it, as the vault runs it: bells, housekeeping, outages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest

from shared.bus import EVENT, Bus
from shared.events.horizon import Horizon
from shared.store import events, webhook_deliveries, webhooks
from shared.store.alarms import AlarmKind
from shared.store.errors import DatabaseBusyError, LeaseLostError
from shared.store.events import EventKind, NewEvent
from shared.store.webhooks import WebhookState
from shared.webhooks import managing
from tests.integration.webhooks.support import CHANNELS, Answer, Office, Receiver, guard_of, hours, until
from tests.receiving_support import administrator
from worker.alarms import Alarms
from worker.metrics import REGISTRY
from worker.webhooks import sending
from worker.webhooks.terms import WebhookPace
from worker.webhooks.webhooks import AWAY_S, Webhooks, forget, tell_lag, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

A = CHANNELS[0]
PACE = WebhookPace(poll_s=0.05, gather_s=0.01, retry_s=0.05, lag_s=0.05)


@contextlib.asynccontextmanager
async def term(office: Office, bus: Bus, *, pace: WebhookPace = PACE) -> AsyncIterator[asyncio.Task[None]]:
    terms = replace(office.terms, pace=pace)
    running = Webhooks(
        office.guard.lease,
        terms,
        bus,
        Alarms(office.guard),
        clock=time.time,
        monotonic=time.monotonic,
        jitter=lambda: 0.5,
    )
    task = asyncio.create_task(running.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    bus = Bus(None)
    yield bus
    await bus.close()


async def test_what_the_bus_rings_for_is_sent_at_once(office: Office, receiver: Receiver, bus: Bus) -> None:
    await office.add(receiver.url)
    async with term(office, bus, pace=replace(PACE, poll_s=60.0)):
        for number in (1, 2):  # the first one may be found without a bell, when it begins
            await office.happen(number)
            await until(lambda: bus.publish(EVENT, {}) or len(receiver.requests) == number)  # noqa: B023
    assert receiver.events == [(A, 1), (A, 2)]


async def test_who_signs_is_declared_and_a_webhook_made_then_is_sent_to(
    office: Office, receiver: Receiver, bus: Bus
) -> None:
    async with term(office, bus):
        await until_declared(office)
        made = await managing.make(office.database, managing.Wish(receiver.url), at_most=20, random_bytes=os.urandom)
        async with office.database.transaction() as conn:
            await managing.send_test(conn, made.webhook.id)
        await until(lambda: receiver.requests)
    assert receiver.requests[0].event["type"] == "webhook_test"


async def until_declared(office: Office) -> None:
    async with asyncio.timeout(10):
        while True:
            async with office.database.connection() as conn:
                if await webhooks.signer(conn) == office.terms.reader.public_key:
                    return
            await asyncio.sleep(0.01)


async def test_it_goes_on_after_faults_of_all_kinds(
    office: Office, receiver: Receiver, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.add(receiver.url)
    faults = iter([DatabaseBusyError("busy"), RuntimeError("a surprise")])
    find = events.find

    async def fails_twice(*given: object, **named: object) -> object:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return await find(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(sending.events, "find", fails_twice)
    async with term(office, bus, pace=replace(PACE, claim_s=0.1)):
        await office.happen(1)
        await until(lambda: receiver.requests)
    assert receiver.events == [(A, 1)]


async def test_who_has_lost_the_lease_stops(office: Office, receiver: Receiver, bus: Bus) -> None:
    await office.add(receiver.url)
    await guard_of(office.database, "another")
    async with term(office, bus) as task:
        with pytest.raises(BaseExceptionGroup) as raised:
            await asyncio.wait_for(task, 10)
    assert raised.group_contains(LeaseLostError)


async def test_old_deliveries_are_forgotten_and_the_lag_is_told(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.now_s = time.time()
    webhook, _ = await office.add(receiver.url)
    await office.happen(1)
    await office.work()
    receiver.answer = Answer(status=500)
    await office.happen(2)
    await office.work()
    week_s = office.terms.retention_s
    await forget(office.guard, office.now + timedelta(days=6), kept_s=week_s)
    await tell_lag(office.guard, office.now + timedelta(days=6))
    assert len(await office.deliveries(webhook)) == 2
    shown = generate_latest(REGISTRY).decode()
    [line] = [line for line in shown.splitlines() if line.startswith("sluice_webhook_oldest_pending_seconds{")]
    assert line.startswith(f'sluice_webhook_oldest_pending_seconds{{webhook="{webhook}"}}')
    assert float(line.split()[-1]) == pytest.approx(6 * 86_400, abs=60)

    await forget(office.guard, office.now + timedelta(days=8), kept_s=week_s)
    [left] = await office.deliveries(webhook)
    assert left.state == "pending"  # however old it is
    async with office.database.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM webhook_attempts") == 1

    receiver.answer = Answer()
    for number in range(5):
        await office.happen(number)
    await office.later(hours(1))
    monkeypatch.setattr(webhook_deliveries, "MAX_KEPT", 2)
    await forget(office.guard, office.now, kept_s=week_s)
    kept = await office.deliveries(webhook)
    assert len(kept) == 2
    assert kept[-1].event_id == max(delivery.event_id for delivery in kept)


async def test_who_takes_nothing_for_an_hour_or_is_disabled_is_a_reason_for_alarm(
    office: Office, receiver: Receiver
) -> None:
    alarms = Alarms(office.guard)

    async def standing() -> frozenset[str]:
        await watch(office.guard, alarms, office.now)
        return alarms.subjects(AlarmKind.WEBHOOK_AWAY)

    failing, _ = await office.add(receiver.url, types=("channel_refilled",))
    receiver.answer = Answer(status=500)
    await office.happen(1)
    await office.work()
    office.now_s += AWAY_S - 1
    assert not await standing()
    office.now_s += 1
    assert await standing() == {str(failing)}
    receiver.answer = Answer()
    await office.work()
    assert not await standing()

    receiver.answer = Answer(status=410)
    await office.happen(2)
    await office.work()
    assert await standing() == {str(failing)}
    await office.set_state(failing, WebhookState.PAUSED)
    assert not await standing()


async def test_that_a_webhook_fails_rings_the_bus(office: Office, receiver: Receiver, bus: Bus) -> None:
    receiver.answer = Answer(status=410)
    await office.add(receiver.url, types=("channel_refilled",))
    with bus.subscribe(EVENT) as subscription:
        async with term(office, bus, pace=replace(PACE, lag_s=60.0)):
            await office.happen(1)
            async with asyncio.timeout(20):
                await anext(aiter(subscription))
    assert len(await office.told(EventKind.WEBHOOK_DISABLED)) == 1


async def test_no_more_than_so_many_wait_as_rows_and_nothing_is_lost(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.store.webhook_planning.MAX_PENDING", 3)
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(8))
    await office.planning.round()
    assert (await office.of(webhook)).pending == 3
    for _ in range(4):
        await office.work()
    assert receiver.events == [(A, number) for number in range(8)]


async def test_an_event_that_commits_late_is_not_skipped(
    office: Office, receiver: Receiver, webhooks_database_url: str
) -> None:
    """Numbers are given out before the commit: a later number may be there first."""
    await office.add(receiver.url)
    async with administrator(webhooks_database_url) as slow:
        transaction = slow.transaction()
        await transaction.start()
        await events.add(slow, NewEvent(EventKind.CHANNEL_REFILLED, A, {"amount": 1}))
        await office.happen(2)
        assert await office.work() == 0
        await transaction.commit()
    assert await office.work() == 2
    assert receiver.events == [(A, 1), (A, 2)]


async def test_the_horizon_stands_still_while_a_transaction_is_open(office: Office, webhooks_database_url: str) -> None:
    horizon = Horizon()
    await office.happen(1)
    before = await horizon.look(office.database)
    async with administrator(webhooks_database_url) as slow:
        transaction = slow.transaction()
        await transaction.start()
        await events.add(slow, NewEvent(EventKind.CHANNEL_REFILLED, A, {"amount": 2}))
        assert await horizon.look(office.database) == before
        await transaction.rollback()
    assert await horizon.look(office.database) > before
