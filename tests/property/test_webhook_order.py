"""Whatever happens to senders and servers, a webhook sees each event at least once, and each channel in its order.

Bounds are small, so that channels are held back and planned on all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.store import events, webhook_claims, webhook_holding, webhook_planning, webhooks
from shared.store.database import Database, Role
from shared.store.errors import LeaseLostError
from shared.store.events import EventKind, NewEvent
from shared.store.webhook_claims import Outcome
from shared.store.webhook_deliveries import Attempt
from shared.store.webhooks import WebhookState
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.attempts import after, fault_of, judge
from shared.webhooks.calling import Caller
from tests.integration.webhooks.support import CHANNELS, LOOPBACK, Office, guard_of
from tests.receiving_support import database_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.store.webhook_claims import Claim
    from worker.guard import Guard

    Lane: TypeAlias = tuple[Guard, Sequence[Claim]]

LANES = [*CHANNELS[:2], None]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("happen", "happen", "flood", "spoil", "plan", "plan_badly", "claim", "send", "send", "succeed"),
                *("together", "fail", "later", "crash", "pause", "replay"),
            ]
        ),
        st.integers(0, 7),
    ),
    max_size=60,
)


class SpoiltError(Exception):
    """What ends a transaction before its commit."""


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (webhook_planning, "MAX_PAGE", 5),
        (webhook_planning, "MAX_PENDING", 12),
        (webhook_planning, "LANE_BOUNDS", ((4, 3), (8, 2))),
        (webhook_planning, "LEAST_OF_A_LANE", 1),
        (webhook_holding, "EXTRA_PENDING", 2),
        (webhook_planning, "WINDOW", 7),
    ):
        monkeypatch.setattr(module, name, value)


@dataclass
class Play:
    """Senders that hold claims, of which some are frozen or dead, and a server that sees what they send."""

    office: Office
    webhook_id: int
    guard: Guard
    count: int = 0
    held: list[Lane] = field(default_factory=list)
    """Lanes of which the next delivery was not sent yet, also those whose claim has ended."""
    sent: list[Lane] = field(default_factory=list)
    """Those of which it was sent and not settled."""
    begin: int = 0
    """Where the webhook stood at first."""
    seen: dict[str | None, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By channel the events that the server has seen, in its order."""
    now: datetime = datetime(2027, 1, 1, tzinfo=UTC)

    async def happen(self, number: int) -> None:
        lane = LANES[number % len(LANES)]
        self.count += 1
        await self.office.happen(self.count, channel=lane)

    async def flood(self, number: int) -> None:
        for _ in range(2 + number):
            await self.happen(number)

    async def spoil(self, number: int) -> None:
        """Numbers are given out for events that never are."""
        with contextlib.suppress(SpoiltError):
            async with self.office.database.transaction() as conn:
                event = NewEvent(EventKind.CHANNEL_REFILLED, LANES[number % len(LANES)], {})
                await events.add(conn, *[event] * (1 + number))
                raise SpoiltError

    async def plan_badly(self, number: int) -> None:
        """A worker ends at the commit of a step."""
        position = await self.office.position()
        with contextlib.suppress(SpoiltError):
            async with self.guard.transaction() as conn:
                if number % 2:
                    await webhook_planning.plan(conn, self.webhook_id, until=position, now=self.now)
                else:
                    await webhook_holding.plan_on(conn, self.webhook_id, turn=number, now=self.now)
                raise SpoiltError

    async def replay(self, number: int) -> None:
        async with self.office.database.transaction() as conn:
            await webhooks.rewind(conn, self.webhook_id, self.begin + 4 * number)

    async def plan(self, _: int) -> None:
        self.office.now_s = self.now.timestamp()
        await self.office.planning.round()

    async def claim(self, number: int) -> None:
        until = self.now + timedelta(seconds=60)
        async with self.guard.transaction() as conn:
            if await webhook_claims.due(conn, self.now):
                lanes = await webhook_claims.claim(
                    conn,
                    self.webhook_id,
                    now=self.now,
                    until=until,
                    term=self.guard.lease.term,
                    limit=1 + number % 3,
                    each=1 + number // 2,
                )
                self.held += [(self.guard, claims) for claims in lanes]

    async def send(self, number: int) -> None:
        if self.held:
            guard, claims = self.held.pop(number % len(self.held))
            self.sent.append((guard, claims))
            self.seen[claims[0].delivery.aa_address].append(claims[0].delivery.event_id)

    async def succeed(self, number: int) -> None:
        if self.sent:
            await self.settle([self.sent.pop(number % len(self.sent))], number, 200)

    async def fail(self, number: int) -> None:
        if self.sent:
            await self.settle([self.sent.pop(number % len(self.sent))], number, 500)

    async def together(self, number: int) -> None:
        """Everything that a sender has under way is settled in one transaction."""
        together = [lane for lane in self.sent if lane[0] is self.guard]
        self.sent = [lane for lane in self.sent if lane[0] is not self.guard]
        await self.settle(together, number, 200)

    async def settle(self, lanes: list[Lane], number: int, status: int) -> None:
        """Written down as `Recording` does it; an even number keeps the lane for what was claimed with it."""
        if not lanes:
            return
        guard, attempt = lanes[0][0], Attempt(self.now, 1, status, fault_of(status))
        try:
            async with guard.transaction() as conn:
                standing, still = await webhook_claims.lock_to_settle(
                    conn, self.webhook_id, [claims[0] for _, claims in lanes]
                )
                assert standing is not None
                outcomes, going_on = [], []
                for _, claims in lanes:
                    if not any(claims[0] is claim for claim in still):
                        continue
                    settlement = judge(
                        attempt,
                        tries=claims[0].delivery.tries,
                        standing=standing,
                        now=self.now,
                        retry_after_s=None,
                        jitter=0.5,
                        disable_after_s=1e9,
                    )
                    standing = after(standing, settlement, self.now)
                    keeps = status == 200 and number % 2 == 0 and standing.is_active and len(claims) > 1
                    keeps_until = self.now + timedelta(seconds=60) if keeps else None
                    outcomes.append(Outcome(claims[0], settlement, attempt, keeps_until))
                    going_on += [(guard, claims[1:])] if keeps else []
                if outcomes:
                    await webhook_claims.settle(conn, self.webhook_id, outcomes, standing=standing, now=self.now)
            self.held += going_on
        except LeaseLostError:
            assert guard is not self.guard

    async def later(self, number: int) -> None:
        self.now += timedelta(seconds=4**number)

    async def crash(self, _: int) -> None:
        """Another worker takes over; the old one may be frozen, and wake up later."""
        self.guard = self.office.guard = await guard_of(self.office.database, f"worker-{self.guard.lease.term}")
        self.office.planning._guard = self.guard
        async with self.guard.transaction() as conn:
            await webhook_claims.unclaim(conn, self.guard.lease.term, self.now)

    async def pause(self, number: int) -> None:
        state = WebhookState.PAUSED if number % 2 else WebhookState.ACTIVE
        await self.office.set_state(self.webhook_id, state)

    async def finish(self) -> None:
        """From now on everything works."""
        await self.pause(0)
        for _ in range(20 * self.count + 100):
            await self.plan(0)
            self.now += timedelta(hours=9)
            self.held.clear()
            await self.claim(2)
            if not self.held and not self.office.planning.has_held:
                return
            while self.held:
                await self.send(0)
                self.sent = self.sent[-1:]
                await self.succeed(0)
        raise AssertionError("it does not end")


async def play(url: str, steps: list[tuple[str, int]]) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DELETE FROM webhooks; DELETE FROM events")
    database = await Database.connect(url, role=Role.WORKER, max_connections=2)
    try:
        guard = await guard_of(database)
        async with Caller(AddressGuard(LOOPBACK)) as caller:
            office = Office(database, caller, guard)
            webhook_id, _ = await office.add("https://shop.example/")
            run = Play(office, webhook_id, guard, begin=await office.position())
            for name, number in steps:
                await getattr(run, name)(number)
            await run.finish()
        with psycopg.connect(url) as owner:
            happened = owner.execute("SELECT aa_address, id FROM events ORDER BY id").fetchall()
            delivered = owner.execute(
                "SELECT aa_address, event_id FROM webhook_deliveries ORDER BY event_id"
            ).fetchall()
            left = (
                owner.execute("TABLE webhook_held_lanes").fetchall() + owner.execute("TABLE webhook_lanes").fetchall()
            )
    finally:
        await database.close()
    assert delivered == happened
    assert left == []
    for lane in LANES:
        first_seen = list(dict.fromkeys(run.seen[lane]))
        assert first_seen == [number for of, number in happened if of == lane]


@pytest.fixture(scope="module")
def common_url(postgres_url: str, _template: str) -> Iterator[str]:
    with database_of(postgres_url, _template, "webhook_order") as url:
        yield url


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_each_event_is_seen_and_each_channel_in_its_order(common_url: str, steps: list[tuple[str, int]]) -> None:
    """Events that were given up after all attempts cannot occur: there are too few steps for that."""
    asyncio.run(play(common_url, steps))
