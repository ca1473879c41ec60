"""What the hot path costs: by primary key, however many rows there are, and without touching an index."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.store import channels, events, exposure, payments, webhook_claims, webhook_holding, webhook_planning
from tests.integration.store.builders import PEER, address, insert_open, payment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.store.database import Connection, Database

FILL = """
    INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role)
      SELECT lpad(n::text, 32, '0'), repeat('O', 32), repeat('P', 32), 'base', 1000, n::text, '1.1', 'A'
        FROM generate_series(1, 5000) n;
    INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset)
      SELECT lpad((n % 5000 + 1)::text, 32, '0'), 1, n, 1, 'base' FROM generate_series(1, 20000) n;
    ANALYZE;
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def plan_of(owner: Connection, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """The nodes of the plan that a prepared statement settles for, which must do for any arguments."""
    types = {int: "bigint", str: "text"}
    signature = ", ".join(f"{types[type(argument[0])]}[]" for argument in arguments if isinstance(argument, list))
    literals = ", ".join(
        "ARRAY[" + ", ".join(f"'{item}'" for item in argument) + f"]::{types[type(argument[0])]}[]"
        for argument in arguments
        if isinstance(argument, list)
    )
    await owner.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE hot ({signature}) AS {statement}")
    plan = json.loads(await owner.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot ({literals})"))
    return list(nodes(plan[0]["Plan"]))


def scans(plan: list[dict[str, Any]], relation: str) -> set[tuple[str, str | None]]:
    return {
        (node["Node Type"], node.get("Index Name"))
        for node in plan
        if node.get("Relation Name") == relation and node["Node Type"] != "ModifyTable"
    }


@pytest.fixture
async def filled(owner: Connection) -> Connection:
    await owner.execute(FILL)
    return owner


async def test_channels_are_locked_by_primary_key(filled: Connection) -> None:
    plan = await plan_of(filled, channels._LOCK, [address(1)])
    assert scans(plan, "channels") == {("Index Scan", "channels_pkey")}


async def test_what_is_stopped_is_found_without_reading_all_assets(filled: Connection) -> None:
    await filled.execute("INSERT INTO assets SELECT lpad(n::text, 44, '0') FROM generate_series(1, 5000) n")
    await filled.execute("VACUUM ANALYZE assets")
    plan = await plan_of(filled, channels._LOCK, [address(1)])
    assert scans(plan, "assets") == {("Index Only Scan", "assets_stopped")}


async def test_what_is_at_risk_is_measured_along_the_primary_key(filled: Connection) -> None:
    statement = exposure._MEASURE
    for place, value in enumerate(("''", "100", "'{1.2}'", "'{base}'", "'{5}'", "5", "100"), start=1):
        statement = statement.replace(f"${place}", value)
    plan = json.loads(await filled.fetchval("EXPLAIN (FORMAT JSON) " + statement))
    assert scans(list(nodes(plan[0]["Plan"])), "channels") == {("Index Scan", "channels_pkey")}


async def test_whether_a_peer_has_robbed_us_is_found_among_robbers_only(filled: Connection) -> None:
    statement = channels._HAS_ROBBED.replace("$1", f"'{PEER}'")
    plan = json.loads(await filled.fetchval("EXPLAIN (FORMAT JSON) " + statement))
    assert {index for _, index in scans(list(nodes(plan[0]["Plan"])), "channels")} == {"channels_of_robbers"}


async def test_duplicates_are_found_by_primary_key(filled: Connection) -> None:
    plan = await plan_of(filled, payments._FIND, [address(1)], [1], [1], [1])
    assert scans(plan, "payments") == {("Index Scan", "payments_credited_once")}


async def test_a_batch_is_written_by_primary_key(filled: Connection) -> None:
    channel_columns = [[address(1)], [1], [0], ["claim"]]
    payment_columns = [[address(1)], [1], [1], [1], ["message"]]
    plan = await plan_of(filled, payments._RECORD_BATCH, *channel_columns, *payment_columns)
    assert scans(plan, "channels") == {("Index Scan", "channels_pkey")}


async def test_the_use_of_an_asset_is_summed_over_the_channels_that_use_it_only(filled: Connection) -> None:
    plan = await plan_of(filled, channels._UNCONFIRMED_USED, ["base"])
    [(_, index)] = scans(plan, "channels")
    assert index == "channels_using_unconfirmed"


@pytest.mark.parametrize("statement", [channels._NOT_WATCHED, channels._COUNT_UNFUNDED])
async def test_what_is_new_is_found_without_reading_what_is_old(filled: Connection, statement: str) -> None:
    await filled.execute("UPDATE channels SET is_watched = true, last_event_id = 1")
    await filled.execute("VACUUM ANALYZE channels")
    parameter = "1" if "LIMIT" in statement else f"'{PEER}'"
    plan = json.loads(await filled.fetchval("EXPLAIN (FORMAT JSON) " + statement.replace("$1", parameter)))
    assert {index for _, index in scans(list(nodes(plan[0]["Plan"])), "channels")} <= {
        "channels_not_watched",
        "channels_unfunded",
    }


async def test_held_lanes_of_webhooks_are_planned_on_along_the_numbers(filled: Connection) -> None:
    await filled.execute(
        "INSERT INTO events (kind, data) SELECT 'channel_refilled', '{}' FROM generate_series(1, 5000); ANALYZE events"
    )
    await filled.execute("SET plan_cache_mode = force_generic_plan; PREPARE go_on AS " + webhook_holding._PLAN_ON)
    going_on = f"EXECUTE go_on (1, '{{{address(1)}}}', '{{1}}', '{{9}}', 1, 99, 50, 20, NULL, now())"
    plan = list(nodes(json.loads(await filled.fetchval("EXPLAIN (FORMAT JSON) " + going_on))[0]["Plan"]))
    assert {index for _, index in scans(plan, "payments")} == {"payments_by_id"}
    assert {index for _, index in scans(plan, "events")} == {"events_pkey"}


@pytest.mark.parametrize("statistics", ["", "from before"])
async def test_what_waits_of_a_lane_is_found_in_that_lane_whatever_the_statistics_say(
    filled: Connection, statistics: str
) -> None:
    """Another index was walked past all lanes, a thousand times as slow, until the statistics were renewed."""
    await filled.execute(
        """
        INSERT INTO webhooks (url, position) VALUES ('https://shop.example/', 0);
        INSERT INTO webhook_deliveries (webhook_id, event_id, stream, kind, aa_address, event_at)
          SELECT w.id, n, 's', 'k', lpad((n % 400)::text, 32, '0'), now() FROM webhooks w, generate_series(1, 20000) n;
        INSERT INTO webhook_held_lanes (webhook_id, lane, held_from, event_at)
          SELECT w.id, lpad(n::text, 32, '0'), 30000, now() FROM webhooks w, generate_series(0, 19) n;
        """
    )
    if statistics:
        await filled.execute("UPDATE webhook_deliveries SET state = 'delivered', finished_at = now()")
        await filled.execute("VACUUM ANALYZE webhook_deliveries")
        await filled.execute("UPDATE webhook_deliveries SET state = 'pending', finished_at = NULL")
    for name, statement, arguments in (
        ("heads", webhook_claims._HEADS, f"1, '{{{address(1)}}}', '{{1}}', 16"),
        ("ready", webhook_holding._READY, "1, 500, 100"),
        ("plan", webhook_planning._PLAN_AND_HOLD, "1, 1, 99, 50, NULL, now(), 1000, 20"),
    ):
        await filled.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE {name} AS {statement}")
        explained = await filled.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {name} ({arguments})")
        found = {node.get("Index Name", "") for node in nodes(json.loads(explained)[0]["Plan"])}
        assert {index for index in found if index.startswith("webhook_deliveries")} == {"webhook_deliveries_by_lane"}


async def test_a_page_of_events_is_read_along_the_numbers(filled: Connection) -> None:
    await filled.execute(
        "INSERT INTO events (kind, data) SELECT 'channel_refilled', '{}' FROM generate_series(1, 5000); ANALYZE events"
    )
    await filled.execute(
        "SET plan_cache_mode = force_generic_plan; PREPARE page (bigint, bigint, bigint) AS " + events._PAGE
    )
    plan = list(nodes(json.loads(await filled.fetchval("EXPLAIN (FORMAT JSON) EXECUTE page (1, 2, 3)"))[0]["Plan"]))
    assert scans(plan, "payments") == {("Index Scan", "payments_by_id")}
    assert scans(plan, "events") == {("Index Scan", "events_pkey")}


@pytest.mark.parametrize("statement", ["_TOTALS", "_EXPORT", "_PAGE", "_PAGE_BACK"])
async def test_a_day_among_years_is_found_by_its_time(filled: Connection, statement: str) -> None:
    await filled.execute("""
        UPDATE payments SET accepted_at = '2020-01-01'::timestamptz + amount_spent * interval '1 hour';
        CLUSTER payments USING payments_by_id; ANALYZE payments;
    """)
    day = datetime(2021, 6, 1, tzinfo=UTC)
    which = payments.Filter(since=day, until=day + timedelta(days=1))
    first = {"_PAGE": (0, 2**63 - 1, 50), "_PAGE_BACK": (2**63 - 1, 50)}.get(statement, ())
    sql, arguments = payments._with(getattr(payments, statement), which, *first)
    plan = list(nodes(json.loads(await filled.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments))[0]["Plan"]))
    assert "payments_by_time" in {node.get("Index Name") for node in plan}


async def updates(conn: Connection) -> tuple[int, int]:
    """How many updates of channels there were, and how many of them touched no index."""
    await conn.execute("SELECT pg_stat_force_next_flush()")
    row = await conn.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd, pg_stat_clear_snapshot() FROM pg_stat_user_tables WHERE relname = 'channels'"
    )
    assert row is not None
    return row["n_tup_upd"], row["n_tup_hot_upd"]


async def test_payments_change_no_index_of_their_channels(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        before = [await insert_open(conn, number) for number in range(40)]
    async with front.connection() as conn:

        async def pay(rounds: range) -> None:
            for spent in rounds:
                after = [replace(channel, spent_by_peer=spent, credit=spent % 2, claim="c" * 600) for channel in before]
                await payments.record_batch(conn, after, [payment(spent, 1, number) for number in range(40)])

        await pay(range(1, 11))  # the rows grow by their claims and find their places
        all_before, hot_before = await updates(conn)
        await pay(range(11, 31))
        all_after, hot_after = await updates(conn)
    assert all_after - all_before == 800
    assert hot_after - hot_before > 0.9 * 800
