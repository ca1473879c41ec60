"""Payments of finished periods move to the archive: everything still finds them, and nothing else moves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from shared.channels.model import Status
from shared.store import archive, channels, events, payments
from shared.store.archive import DroppedMonth, Moved
from shared.store.database import Database, Role
from shared.store.errors import DatabaseBusyError, StoreError
from shared.store.migrations import migrate
from shared.store.payments import ANY, Filter
from tests.integration.store.builders import address, insert_open
from tests.integration.store.test_store_plans import nodes
from tests.integration.store.waiting import blocked

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from shared.store.database import Connection
    from shared.store.payments import PaymentKey

DAY_S = 86_400.0
OLD = datetime(2024, 1, 31, 23, 30, tzinfo=UTC)


async def pay(conn: Connection, channel: Channel, spent: int, *, at: datetime = OLD, message: str | None = None) -> int:
    """Credit a payment in the channel's period, as if it had come at another time; its number."""
    number = int(channel.aa_address)
    new = payments.NewPayment(address(number), channel.current_period, spent, 1, message)
    id_: int = await conn.fetchval(
        "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset, message, accepted_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        *(new.aa_address, new.period, new.amount_spent, new.payment_amount, channel.asset, new.message, at),
    )
    return id_


async def close(conn: Connection, channel: Channel, *, days_ago: float = 100) -> Channel:
    """End the channel's period, so many days ago."""
    await conn.execute(
        "INSERT INTO ledger_events (aa_address, event_id, kind, period, unit, payload, mci, unit_timestamp_s, seen_at)"
        " VALUES ($1, $2::bigint, 'closed', $3, $4, '{}', 1, 1, now() - make_interval(days => $5))",
        *(channel.aa_address, channel.last_event_id + 1, channel.period, "u" * 43 + "=", int(days_ago)),
    )
    await conn.execute(
        "UPDATE channels SET status = 'closed', deposited_by_peer = 0, last_event_id = last_event_id + 1"
        " WHERE aa_address = $1",
        channel.aa_address,
    )
    found = (await channels.find(conn, [channel.aa_address]))[channel.aa_address].channel
    assert found.status is Status.CLOSED
    return found


async def forget_events(conn: Connection) -> None:
    """Leave no event but payments, as after a long time."""
    await conn.execute("DELETE FROM events")


@pytest.fixture
async def finished(owner: asyncpg.Connection[asyncpg.Record]) -> Channel:
    """A channel with three payments, whose period has ended long ago."""
    channel = await insert_open(owner)
    for spent in (1, 2, 3):
        await pay(owner, channel, spent)
    await forget_events(owner)
    return await close(owner, channel)


async def move(worker: Database, *, older_than_s: float = 30 * DAY_S, limit: int = 100, after: str = "") -> Moved:
    async with worker.transaction() as conn:
        return await archive.move(conn, after, older_than_s, channels=10, limit=limit)


def key(spent: int, period: int = 1) -> PaymentKey:
    return (address(0), period, spent, 1)


async def counts(conn: Connection) -> tuple[int, int]:
    row = await conn.fetchrow(
        "SELECT (SELECT count(*) FROM payments) AS here, (SELECT count(*) FROM payments_archive) AS there"
    )
    assert row is not None
    return row["here"], row["there"]


async def test_payments_of_a_finished_period_move_a_few_at_a_time(
    finished: Channel, worker: Database, owner: Connection
) -> None:
    assert await move(worker, limit=2) == Moved(2, finished.aa_address)
    assert await counts(owner) == (1, 2)
    assert await move(worker, limit=2) == Moved(1, finished.aa_address)
    assert await move(worker, after=finished.aa_address) == Moved(0, None)
    assert await counts(owner) == (0, 3)


async def test_a_moved_payment_is_as_it_was(finished: Channel, worker: Database, front: Database) -> None:
    async with front.connection() as conn:
        before = await payments.page(conn)
        totals = await payments.totals(conn)
        await move(worker)
        assert await payments.page(conn) == before
        assert await payments.page_back(conn) == before[::-1]
        assert await payments.page(conn, after=before[0].id, limit=1) == before[1:2]
        assert [await payments.get(conn, one.id) for one in before] == before
        assert await payments.totals(conn) == totals
        assert len(before) == 3
    async with front.transaction() as conn:
        assert [one async for one in payments.export(conn, Filter(aa_address=finished.aa_address))] == before


async def test_a_package_that_is_sent_again_finds_its_payment_in_the_archive(
    finished: Channel, worker: Database, front: Database
) -> None:
    await move(worker)
    async with front.connection() as conn:
        assert await payments.find(conn, [key(1)]) == {}
        found = await payments.find(conn, [key(1), key(4)], finished=[key(1), key(4)])
    assert [(one.key, one.payment_amount) for one in found.values()] == [(key(1), 1)]
    assert finished.current_period == 2


@pytest.mark.usefixtures("finished")
async def test_what_the_application_said_moves_along_and_stays_the_first(worker: Database, front: Database) -> None:
    async with front.connection() as conn:
        first, second, _ = [one.id for one in await payments.page(conn)]
        await payments.keep_response(conn, first, '"early"')
        await move(worker)
        assert await payments.keep_response(conn, first, '"late"') == '"early"'
        assert await payments.keep_response(conn, second, '"late"') == '"late"'
        assert await payments.keep_response(conn, second, '"later"') == '"late"'
        assert await payments.keep_response(conn, 12345, '"nobody"') is None
        again = await payments.get(conn, second)
    assert again is not None
    assert again.response == '"late"'


@pytest.mark.usefixtures("finished")
async def test_an_answer_that_comes_while_its_payment_moves_is_kept(
    worker: Database, front: Database, owner: Connection
) -> None:
    async with front.connection() as conn:
        first = (await payments.page(conn))[0].id
    async with front.transaction() as answering:
        await payments.keep_response(answering, first, '"in time"')
        moving = asyncio.create_task(move(worker))
        await blocked(owner)
    assert (await moving).payments == 3
    async with front.connection() as conn:
        found = await payments.get(conn, first)
    assert found is not None
    assert found.response == '"in time"'


async def test_the_running_period_stays(worker: Database, owner: asyncpg.Connection[asyncpg.Record]) -> None:
    channel = await insert_open(owner)
    await pay(owner, channel, 1)
    await forget_events(owner)
    assert (await move(worker)).payments == 0


async def test_a_period_that_has_ended_lately_stays(
    worker: Database, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    channel = await insert_open(owner)
    await pay(owner, channel, 1)
    await forget_events(owner)
    await close(owner, channel, days_ago=29)
    assert (await move(worker)).payments == 0
    assert (await move(worker, older_than_s=28 * DAY_S)).payments == 1


async def test_payments_after_an_event_that_is_kept_stay(
    worker: Database, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    channel = await insert_open(owner)
    await forget_events(owner)
    await pay(owner, channel, 1)
    await events.add(owner, events.NewEvent(events.EventKind.CHANNEL_REFILLED, channel.aa_address, {}))
    await pay(owner, channel, 2)
    await close(owner, channel)
    assert (await move(worker)).payments == 1


@pytest.mark.usefixtures("finished")
async def test_readers_of_the_stream_are_told_that_something_is_missing(worker: Database, owner: Connection) -> None:
    last = (await payments.page(owner))[-1].id
    await move(worker)
    assert (await events.stream(owner)).gone_id == last


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(("state", "moves"), [("active", 1), ("paused", 3)])
async def test_a_webhook_at_work_finds_what_it_has_not_planned_yet(
    worker: Database, owner: Connection, state: str, moves: int
) -> None:
    first = (await payments.page(owner))[0].id
    await owner.execute(
        "INSERT INTO webhooks (url, position, state, creation_hash, request_hash)"
        " VALUES ('https://a.example/', $1, $2, $3, $3)",
        first,
        state,
        b"h" * 32,
    )
    assert (await move(worker)).payments == moves


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(("state", "moves"), [("active", 1), ("paused", 3)])
async def test_a_webhook_at_work_finds_what_it_holds_back(
    worker: Database, owner: Connection, state: str, moves: int
) -> None:
    [first, second, third] = [payment.id for payment in await payments.page(owner)]
    await owner.execute(
        "WITH w AS (INSERT INTO webhooks (url, position, state) VALUES ('https://a.example/', $1, $2) RETURNING id)"
        " INSERT INTO webhook_held_lanes (webhook_id, lane, held_from, event_at) SELECT id, $3, $4, now() FROM w",
        *(third, state, address(0), second),
    )
    assert first < second
    assert (await move(worker)).payments == moves


@pytest.mark.usefixtures("finished")
async def test_payments_lie_in_the_month_they_came_in(
    worker: Database, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    channel = await insert_open(owner, 1)
    await pay(owner, channel, 1, at=OLD + timedelta(hours=1))
    await forget_events(owner)
    await close(owner, channel)
    await move(worker)
    rows = await owner.fetch("SELECT tableoid::regclass::text AS part, count(*) FROM payments_archive GROUP BY 1")
    assert {row["part"]: row["count"] for row in rows} == {"payments_archive_2024_01": 3, "payments_archive_2024_02": 1}


async def test_old_months_are_dropped_whole_and_their_sums_stay(
    finished: Channel, worker: Database, front: Database
) -> None:
    await move(worker)
    age_s = (datetime.now(UTC) - datetime(2024, 2, 1, tzinfo=UTC)).total_seconds()
    async with worker.transaction() as conn:
        assert await archive.drop_month(conn, age_s + DAY_S) is None
        assert await archive.drop_month(conn, age_s - DAY_S) == date(2024, 1, 1)
        assert await archive.drop_month(conn, 0) is None
    async with front.connection() as conn:
        assert await payments.page(conn) == []
        left = [DroppedMonth(date(2024, 1, 1), "base", 3, 3)]
        assert await archive.dropped(conn, ANY) == left
        assert await archive.dropped(conn, Filter(aa_address=finished.aa_address, asset="base")) == left
        assert await archive.dropped(conn, Filter(peer_address=finished.peer_address)) == left
        assert await archive.dropped(conn, Filter(asset="other")) == []
        assert await archive.dropped(conn, Filter(min_amount=1)) == []


@pytest.mark.usefixtures("finished")
async def test_what_comes_for_a_month_that_was_dropped_is_summed_up(
    worker: Database, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await move(worker)
    async with worker.transaction() as conn:
        await archive.drop_month(conn, 0)
    channel = await insert_open(owner, 1)
    await pay(owner, channel, 5)
    await forget_events(owner)
    await close(owner, channel)
    await move(worker)
    assert await counts(owner) == (0, 0)
    assert [(month.count, month.amount) for month in await archive.dropped(owner, ANY)] == [(4, 4)]


@pytest.mark.usefixtures("finished")
async def test_dropping_waits_for_a_reader_and_not_for_long(
    worker: Database, front: Database, owner: Connection
) -> None:
    await move(worker)
    async with front.transaction() as reading:
        await payments.page(reading)
        with pytest.raises(DatabaseBusyError):
            async with worker.transaction() as conn:
                await archive.drop_month(conn, 0)
    assert await counts(owner) == (0, 3)


async def test_nothing_moves_while_the_previous_release_may_run(empty_database_url: str) -> None:
    migrate(empty_database_url, "pre")
    worker = await Database.connect(empty_database_url, role=Role.WORKER)
    async with worker.connection() as conn:
        assert not await archive.may_move(conn)
    with pytest.raises(StoreError, match="permission denied"):
        await move(worker)
    migrate(empty_database_url, "post")
    async with worker.connection() as conn:
        assert await archive.may_move(conn)
    assert await move(worker) == Moved(0, None)
    await worker.close()


@pytest.mark.parametrize("statement", ["DELETE FROM payments", "DELETE FROM payments_archive"])
async def test_nobody_may_delete_payments(worker: Database, statement: str) -> None:
    with pytest.raises(StoreError, match="permission denied"):
        async with worker.transaction() as conn:
            await conn.execute(statement)


@pytest.mark.parametrize(
    "call", ["archive_payments('', 1, 1, 0)", "drop_payments_month(0)", "make_payments_month('2024-01-01')"]
)
async def test_the_front_moves_nothing(front: Database, call: str) -> None:
    async with front.connection() as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(f"SELECT {call}")


@pytest.mark.usefixtures("finished")
async def test_the_functions_look_where_their_owner_put_the_tables(worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        await conn.execute("CREATE TEMP TABLE channels (LIKE public.channels)")
        await conn.execute("SET LOCAL search_path = pg_temp, public")
        assert (await archive.move(conn, "", 30 * DAY_S, channels=10, limit=10)).payments == 3
    assert await counts(owner) == (0, 3)


FILL_MONTHS = """
    SELECT make_payments_month(('2024-01-01'::date + n * interval '1 month')::date) FROM generate_series(0, 23) n;
    INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role)
      SELECT lpad(n::text, 32, '0'), repeat('O', 32), repeat('P', 32), 'base', 1000, n::text, '1.1', 'A'
        FROM generate_series(1, 500) n;
    INSERT INTO payments_archive (id, aa_address, period, amount_spent, payment_amount, asset, accepted_at)
      SELECT n, lpad((n % 500 + 1)::text, 32, '0'), 1, n, 1, 'base', '2024-01-01'::timestamptz + n * interval '52 min'
        FROM generate_series(1, 20000) n;
    SELECT setval('payments_id_seq', 20000);
    INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset)
      SELECT lpad((n % 500 + 1)::text, 32, '0'), 2, n, 1, 'base' FROM generate_series(1, 20000) n;
    ANALYZE;
"""


async def _plan(conn: Connection, sql: str, *arguments: object) -> list[dict[str, object]]:
    return list(nodes(json.loads(await conn.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments))[0]["Plan"]))


async def test_two_years_of_archive_are_read_by_their_indexes(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    await owner.execute(FILL_MONTHS)
    page, arguments = payments._with(payments._PAGE_BACK, ANY, 2**62, 50)
    for sql, given in (
        (page, arguments),
        (payments._FIND_ARCHIVED, ([address(1)], [1], [1], [1])),
        (payments._GET_ARCHIVED, (5,)),
        (payments._KEEP_ARCHIVED, (5, "r")),
    ):
        plan = await _plan(owner, sql, *given)
        assert {"Seq Scan", "Sort"} & {node["Node Type"] for node in plan} == set(), sql


async def test_a_day_is_looked_for_in_its_own_month(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    await owner.execute(FILL_MONTHS)
    day = datetime(2025, 6, 3, tzinfo=UTC)
    sql, arguments = payments._with(payments._TOTALS, Filter(since=day, until=day + timedelta(days=1)))
    literal = sql.replace("$1", f"'{arguments[0]}'").replace("$2", f"'{arguments[1]}'")
    plan = await _plan(owner, literal)
    assert {node.get("Relation Name") for node in plan} - {None} == {"payments", "payments_archive_2025_06"}


async def test_what_to_move_is_found_by_the_channel(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    """The function's own statement: along the keys of channels, ledger events and payments."""
    await owner.execute(FILL_MONTHS)
    source: str = await owner.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'archive_payments'")
    statement = source[source.index("SELECT array_agg(") : source.index("moved := ")].replace("INTO chosen", "")
    for name, value in (
        ("after_channel", "''"),
        ("last_channel", f"'{address(100)}'"),
        ("rows_at_once", "100"),
        ("cutoff", "now()"),
        ("horizon", "1000000000"),
    ):
        statement = statement.replace(name, value)
    plan = await _plan(owner, statement)
    assert "payments_credited_once" in {node.get("Index Name") for node in plan}
    assert "channels_pkey" in {node.get("Index Name") for node in plan}
    assert not {"channels", "payments"} & {n["Relation Name"] for n in plan if n["Node Type"] == "Seq Scan"}
