"""A channel with too much to tell is held back, and nobody else: real rows, small bounds, a clock that stands still."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.store import webhook_deliveries, webhook_holding, webhook_planning, webhooks
from shared.store.webhooks import WebhookState
from shared.webhooks import managing
from shared.webhooks.calling import Limits
from shared.webhooks.managing import Change
from tests.integration.webhooks.support import CHANNELS, Answer, Office, Receiver, guard_of
from tests.receiving_support import administrator

if TYPE_CHECKING:
    from shared.store.database import Database
    from shared.webhooks.calling import Caller

A, B, C = CHANNELS
BOUND = 4
"""Deliveries of a lane that may wait in these tests."""


class GivenUpError(Exception):
    """A worker that ends in the middle of a transaction."""


@pytest.fixture
async def office(worker: Database, caller: Caller) -> Office:
    """Servers may take their time: what fails is not tried again while the clock stands still."""
    patient = Limits(connect_s=10.0, read_s=20.0, total_s=20.0, max_bytes=2_000)
    return Office(worker, caller, await guard_of(worker), limits=patient)


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_planning, "LANE_BOUNDS", ((20, BOUND),))
    monkeypatch.setattr(webhook_planning, "LEAST_OF_A_LANE", 1)
    monkeypatch.setattr(webhook_planning, "WINDOW", 10)


async def held(office: Office, webhook: int) -> dict[str, int]:
    """By lane, how far behind the webhook's position it is held, in numbers of events."""
    async with office.database.connection() as conn:
        rows = await conn.fetch(
            "SELECT lane, position - held_from + 1 AS behind FROM webhook_held_lanes JOIN webhooks ON id = webhook_id"
            " WHERE webhook_id = $1 ORDER BY held_from",
            webhook,
        )
    return {row["lane"]: row["behind"] for row in rows}


async def drain(office: Office) -> None:
    """Send until nothing is left to be sent or to be planned on."""
    async with asyncio.timeout(60):
        idle = 0
        while idle < 2:
            idle = 0 if await office.work() or office.planning.has_held else idle + 1


def amounts(receiver: Receiver, channel: str | None) -> list[int]:
    return [amount for of, amount in receiver.events if of == channel]


async def test_who_has_too_much_is_held_and_nobody_waits_for_it(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(100))
    await office.happen(1, 2, channel=B)
    await office.planning.round()
    found = await office.of(webhook)
    assert (found.pending, found.held_channels) == (BOUND + 2, 1)
    assert await held(office, webhook) == {A: 98}
    await office.happen(3, channel=B)
    await office.work()
    assert amounts(receiver, B) == [1, 2, 3]
    assert amounts(receiver, A) == list(range(BOUND))
    await drain(office)
    assert amounts(receiver, A) == list(range(100))
    assert (await office.of(webhook)).held_channels == 0
    assert receiver.requests[0].id != receiver.requests[1].id
    assert len({request.id for request in receiver.requests}) == len(receiver.requests) == 103


async def test_events_without_a_channel_are_a_lane_too(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(30), channel=None)
    await office.happen(1)
    await office.work()
    assert amounts(receiver, A) == [1]
    assert list(await held(office, webhook)) == [""]
    await drain(office)
    assert amounts(receiver, None) == list(range(30))


async def test_payments_are_planned_on_from_where_they_are(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    async with office.database.transaction() as conn:
        await conn.execute(
            "INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role)"
            " SELECT a, repeat('O', 32), repeat('P', 32), 'base', 1000, a, '1.1', 'B' FROM unnest($1::text[]) AS a",
            [A, B],
        )
    await office.happen(*range(10))
    async with office.database.transaction() as conn:
        await conn.execute(
            "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset)"
            " SELECT CASE WHEN n % 5 = 0 THEN $2 ELSE $1 END, 1, n, n, 'base' FROM generate_series(10, 59) AS n",
            A,
            B,
        )
    await office.happen(60)
    await drain(office)
    assert amounts(receiver, A) == [n for n in range(61) if n < 10 or n % 5 or n == 60]
    assert amounts(receiver, B) == list(range(10, 60, 5))
    assert (await office.of(webhook)).held_channels == 0


async def test_what_happens_in_a_held_lane_waits_behind_what_is_held(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(6))
    await office.work()
    await office.happen(6)
    decided = await office.position()
    async with office.guard.transaction() as conn:
        planned = await webhook_planning.plan(conn, webhook, until=decided, now=office.now)
    assert (planned.added, planned.position) == (0, decided)
    await drain(office)
    assert amounts(receiver, A) == list(range(7))


async def test_a_lane_is_planned_on_when_half_of_what_may_wait_is_sent(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(9))
    await office.planning.round()
    await settle(office, webhook, 1)
    await office.planning.round()
    assert (await office.of(webhook)).pending == BOUND - 1
    await settle(office, webhook, 1)
    await office.planning.round()
    assert (await office.of(webhook)).pending == BOUND
    assert await held(office, webhook) == {A: 3}


async def test_what_waits_already_counts(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    for first in (0, 3):
        await office.happen(*range(first, first + 3))
        await office.planning.round()
    assert ((await office.of(webhook)).pending, await held(office, webhook)) == (BOUND, {A: 2})


@pytest.mark.parametrize("page", [3, 4, 1_000])
async def test_lanes_are_planned_on_together_and_each_from_its_own_place(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    webhook, _ = await office.add(receiver.url)
    for number in range(12):
        await office.happen(number)
        await office.happen(number, channel=B)
        await office.happen(*[number] * (number >= 6), channel=C)
    await office.work()
    monkeypatch.setattr(webhook_planning, "MAX_PAGE", page)
    assert list(await held(office, webhook)) == [A, B, C]
    await drain(office)
    assert [amounts(receiver, channel) for channel in CHANNELS] == [[*range(12)], [*range(12)], [*range(6, 12)]]


async def settle(office: Office, webhook: int, count: int) -> None:
    """Let the oldest deliveries be over."""
    async with office.database.transaction() as conn:
        await conn.execute(
            """
            UPDATE webhook_deliveries SET state = 'delivered', finished_at = now()
             WHERE webhook_id = $1 AND event_id IN (
               SELECT event_id FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'pending'
                ORDER BY event_id LIMIT $2
             )
            """,
            webhook,
            count,
        )


async def test_who_ends_while_planning_on_loses_nothing(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(20))
    await office.work()
    before = await held(office, webhook)

    async def end_in_the_middle() -> None:
        async with office.guard.transaction() as conn:
            planned = await webhook_holding.plan_on(conn, webhook, turn=0, now=office.now)
            assert planned.added == BOUND
            raise GivenUpError

    with pytest.raises(GivenUpError):
        await end_in_the_middle()
    assert await held(office, webhook) == before
    await drain(office)
    assert amounts(receiver, A) == list(range(20))


async def test_one_that_is_far_behind_does_not_keep_others_waiting(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A's events were long ago: it is looked for them through everything that has happened since."""
    monkeypatch.setattr("worker.webhooks.planning.STEPS", 2)
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(6))
    await office.happen(*range(100), channel=C)
    await office.happen(6)
    await office.happen(*range(6), channel=B)
    await office.planning.round()
    assert list(await held(office, webhook)) == [A, C, B]
    await office.work()
    await office.work()
    assert len(amounts(receiver, B)) > BOUND
    assert 6 not in amounts(receiver, A)
    await drain(office)
    assert (amounts(receiver, A), amounts(receiver, B)) == (list(range(7)), list(range(6)))


async def test_a_replay_from_before_a_held_lane_lets_it_go(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(0, channel=B)
    second = await office.position() + 1
    await office.happen(1, 2, channel=B)
    await office.happen(*range(10))
    await office.work()
    assert list(await held(office, webhook)) == [A]
    async with office.database.transaction() as conn:
        await webhooks.rewind(conn, webhook, second - 1)
    assert await held(office, webhook) == {}
    await drain(office)
    assert amounts(receiver, A) == [*range(BOUND), *range(10)]
    assert amounts(receiver, B) == [0, 1, 2, 1, 2]


async def test_a_replay_from_behind_the_place_leaves_a_lane_held(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    await office.happen(1, channel=B)
    await office.planning.round()
    async with office.database.transaction() as conn:
        await webhooks.rewind(conn, webhook, (await office.of(webhook)).position - 1)
    assert await held(office, webhook) == {A: 6}
    await drain(office)
    assert amounts(receiver, A) == list(range(10))


async def test_the_api_replays_what_is_held(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    await office.work()
    async with office.database.transaction() as conn:
        await managing.send_since(conn, webhook, after=receiver.requests[1].id, since=None)
    await drain(office)
    assert amounts(receiver, A) == [*range(BOUND), *range(2, 10)]


async def test_a_held_lane_waits_through_a_pause(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    await office.work()
    await office.set_state(webhook, WebhookState.PAUSED)
    assert await office.work() == 0
    assert await held(office, webhook) == {A: 6}
    await office.set_state(webhook, WebhookState.ACTIVE)
    await drain(office)
    assert amounts(receiver, A) == list(range(10))


async def test_types_that_are_wanted_no_more_end_the_holding(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    await office.planning.round()
    async with office.database.transaction() as conn:
        await managing.change(conn, webhook, Change(types=["payment_received"]))
    await drain(office)
    assert amounts(receiver, A) == list(range(BOUND))
    assert await held(office, webhook) == {}


async def test_what_was_forgotten_while_it_was_held_is_passed_by(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    await office.work()
    async with office.database.transaction() as conn:
        await conn.execute("DELETE FROM events WHERE id < (SELECT max(id) FROM events)")
        await conn.execute("UPDATE event_stream SET gone_id = (SELECT max(id) FROM events) - 1")
    await drain(office)
    assert amounts(receiver, A) == [*range(BOUND), 9]
    assert await held(office, webhook) == {}


async def test_a_server_that_is_down_holds_its_lanes_and_gets_all_of_it(office: Office, receiver: Receiver) -> None:
    receiver.answer = Answer(500)
    webhook, _ = await office.add(receiver.url)
    for channel in CHANNELS:
        await office.happen(*range(10), channel=channel)
    await office.work()
    assert (await office.of(webhook)).held_channels == len(CHANNELS)
    receiver.answer = Answer()
    await office.later(3_600)
    await drain(office)
    for channel in CHANNELS:
        assert amounts(receiver, channel) == list(range(10))


async def test_new_events_stop_at_the_bound_of_the_webhook_and_held_lanes_a_little_later(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_planning, "MAX_PENDING", 6)
    monkeypatch.setattr(webhook_holding, "EXTRA_PENDING", 2)
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    await office.happen(*range(4), channel=B)
    await office.happen(1, 2, channel=C)
    await office.planning.round()
    assert (await office.of(webhook)).pending == 6
    assert list(await held(office, webhook)) == [A]
    await settle(office, webhook, 4)  # all of A
    await office.planning.round()
    assert (await office.of(webhook)).pending == 8
    await office.planning.round()
    assert (await office.of(webhook)).pending == 8
    async with office.database.transaction() as conn:
        await conn.execute("UPDATE webhook_lanes SET due_at = '-infinity'")
    await drain(office)
    assert amounts(receiver, A) == list(range(4, 10))
    assert (amounts(receiver, B), amounts(receiver, C)) == ([0, 1, 2, 3], [1, 2])


def test_the_more_waits_the_less_may_wait_of_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bounds = [webhook_planning.lane_bound(pending) for pending in (0, 4_999, 5_000, 9_999, 10_000, 24_000)]
    assert bounds == [1_000, 1_000, 100, 100, 16, 16]


async def test_how_long_it_waits_is_told_of_what_is_held_too(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(BOUND))
    await office.happen(*range(3))
    await office.planning.round()
    await settle(office, webhook, BOUND)
    async with office.database.connection() as conn:
        [[second]] = await conn.fetch("SELECT event_at FROM webhook_held_lanes WHERE webhook_id = $1", webhook)
        now = await office.database_now()
        ages_s = await webhook_deliveries.oldest_ages_s(conn, now)
    assert (await office.of(webhook)).oldest_pending_at == second
    assert ages_s == {webhook: pytest.approx((now - second).total_seconds(), abs=0.01)}


async def test_before_the_contracting_step_no_lane_is_held(
    office: Office, receiver: Receiver, webhooks_database_url: str
) -> None:
    """A worker of the release before could come next: it would write down what comes after."""
    webhook, _ = await office.add(receiver.url)
    await office.happen(*range(10))
    async with administrator(webhooks_database_url) as owner:
        await owner.execute("REVOKE INSERT ON webhook_held_lanes FROM sluice_worker")
        try:
            await office.planning.round()
        finally:
            await owner.execute("GRANT INSERT ON webhook_held_lanes TO sluice_worker")
    assert ((await office.of(webhook)).pending, await held(office, webhook)) == (10, {})
