from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.channels.exposure import AssetAtRisk, ChannelAtRisk, ExposureRules, at_risk, is_closable, is_ripe
from shared.channels.model import Channel, ExposureLimits, Status
from shared.store import assets, channels, commands, deposits, exposure
from tests.integration.store.builders import ASSET, address, insert_open, new_channel, unit

if TYPE_CHECKING:
    from shared.store.database import Connection, Database

LIMITS = ExposureLimits(max_by_channel=1_000, sweep_above=500, max_own_deposit=300, max_total=10_000)
RULES = ExposureRules({"base": LIMITS, "*": replace(LIMITS, sweep_above=200)})


async def measure(conn: Connection, *, limit: int = 10_000) -> dict[str, AssetAtRisk]:
    found: dict[str, AssetAtRisk] = {}
    after: str | None = ""
    while after is not None:
        page = await exposure.measure(conn, RULES, after, limit=limit)
        for asset, part in page.found.items():
            found[asset] = found.get(asset, AssetAtRisk()).joined(part)
        after = page.last
    return found


def by_the_rules(every: list[Channel]) -> dict[str, AssetAtRisk]:
    """What measuring has to find, by the functions that the fronts ask."""
    found: dict[str, AssetAtRisk] = {}
    for channel in every:
        risk, limits = at_risk(channel), RULES.of(channel.asset)
        if not risk:
            continue
        here = (ChannelAtRisk(channel.aa_address, risk),)
        can_be_closed = is_closable(channel) and not channel.is_unsure
        is_settling = channel.is_closing or (channel.status is Status.OPEN and not is_closable(channel))
        part = AssetAtRisk(
            total=risk,
            settling=risk if is_settling else 0,
            greatest=risk,
            ripe=here if can_be_closed and is_ripe(channel, limits) else (),
            closable=here if can_be_closed else (),
        )
        found[channel.asset] = found.get(channel.asset, AssetAtRisk()).joined(part)
    return found


def some_state(chance: random.Random) -> dict[str, object]:
    status = chance.choice([Status.OPEN, Status.OPEN, Status.OPEN, *Status])
    spent = chance.choice([0, chance.randrange(1_000)])
    is_closing = status in (Status.CLOSING_BY_ME, Status.CLOSING_BY_PEER)
    return {
        "status": status,
        "period": 2,
        "deposited_by_peer": 0 if status is Status.CLOSED else chance.randrange(2_000),
        "deposited_by_me": 0 if status is Status.CLOSED else chance.choice([0, chance.randrange(500)]),
        "spent_by_peer": spent,
        "spent_by_me": chance.choice([0, chance.randrange(700)]),
        "credit": chance.choice([0, chance.randrange(spent + 1)]),
        "claim": "claim" if spent else None,
        "period_closed_by_me": chance.choice([0, 1, 2]),
        "unsure_period": chance.choice([0, 0, 1, 2, 3]),
        "close_started_at_s": 1 if is_closing else None,
        "claimed_by_peer": 0 if status is Status.CLOSING_BY_PEER else None,
    }


@pytest.mark.parametrize("seed", range(3))
async def test_measuring_finds_what_the_rules_say_in_pages_of_any_size(worker: Database, seed: int) -> None:
    chance = random.Random(seed)
    every = []
    async with worker.transaction() as conn:
        for number in range(60):
            version = chance.choice(["1.1", "1.1", "1.2"])
            asset = chance.choice(["base", ASSET])
            await channels.insert(conn, new_channel(number, asset=asset, version=version))
            channel = await channels.lock_one(conn, address(number))
            assert channel is not None
            after = replace(channel, **some_state(chance))  # type: ignore[arg-type]
            await channels.save_transition(conn, after)
            every.append(after)
        expected = by_the_rules(every)
        assert len(expected) == 2
        for limit in (7, 20, 60, 10_000):
            assert await measure(conn, limit=limit) == expected


async def test_an_empty_database_has_nothing_at_risk(worker: Database) -> None:
    async with worker.connection() as conn:
        assert await exposure.measure(conn, RULES) == exposure.Page(None, {})


async def test_a_sum_may_be_greater_than_any_amount_on_the_ledger(worker: Database) -> None:
    async with worker.transaction() as conn:
        for number in range(2):
            await insert_open(conn, number, spent_by_peer=9 * 10**15, claim="claim")
        await conn.execute("UPDATE channels SET deposited_by_me = 9000000000000000")
        found = await measure(conn)
        assert found["base"].total == 36 * 10**15
        await assets.record_exposures(conn, [("base", 10**30, True)])
        assert (await assets.exposures(conn))["base"].at_risk == 2**63 - 1


async def test_fronts_order_a_sweep_once_for_each_period(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, 1)
    async with front.transaction() as conn:
        [first] = await exposure.order_sweeps(conn, [(address(1), 1)])
        assert await exposure.order_sweeps(conn, [(address(1), 1)]) == []
        [second] = await exposure.order_sweeps(conn, [(address(1), 1), (address(1), 2)])
        command = await commands.get(conn, first)
    assert second != first
    assert command is not None
    assert (command.kind, command.aa_address, command.params) == ("sweep", address(1), {"period": 1})


async def test_a_failed_sweep_is_ordered_again_after_pauses_that_double(worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, 1)

        async def end_all(age_s: float) -> None:
            await conn.execute(
                "UPDATE commands SET state = 'failed', error = 'x', "
                "finished_at = clock_timestamp() - make_interval(secs => $1)",
                age_s,
            )

        ordered = await exposure.order_sweep_again(conn, address(1), 1)
        assert ordered is not None
        assert await exposure.order_sweep_again(conn, address(1), 1) is None  # it is under way
        for pause_s in (2, 4, 8):
            await end_all(pause_s - 1)
            assert await exposure.order_sweep_again(conn, address(1), 1) is None
            await end_all(pause_s)
            assert await exposure.order_sweep_again(conn, address(1), 1) is not None
        assert await exposure.order_sweep_again(conn, address(1), 2) is not None  # another period, another story


async def test_a_stopped_asset_is_seen_under_the_lock_of_its_channels(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, 1)
        await insert_open(conn, 2, asset=ASSET)
    for is_stopped in (True, False):
        async with worker.transaction() as conn:
            await assets.record_exposures(conn, [(ASSET, 7, is_stopped), ("base", 5, False)])
        async with front.transaction() as conn:
            locked = await channels.lock(conn, [address(1), address(2)])
            assert [locked[address(number)].asset_is_stopped for number in (1, 2)] == [False, is_stopped]
            assert [await assets.is_stopped(conn, asset) for asset in ("base", ASSET)] == [False, is_stopped]


async def test_what_was_measured_is_read_with_its_age(front: Database, worker: Database) -> None:
    async with worker.connection() as conn:
        assert await assets.exposures(conn) == {}
        assert (await assets.exposures(conn, ["base", "unknown"]))["base"].age_s is None
    async with worker.transaction() as conn:
        await assets.record_exposures(conn, [("base", 5, False)])
    async with front.connection() as conn:
        found = await assets.exposures(conn)
    assert (found["base"].at_risk, found["base"].is_stopped) == (5, False)
    assert found["base"].age_s is not None
    assert found["base"].age_s < 60


async def test_deposits_of_ours_are_counted_while_they_are_on_their_way(worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, 1)
        await channels.insert(conn, new_channel(2, version="1.2"))
        for number, there in enumerate([address(1), address(1), address(2)]):
            await deposits.add(conn, there, unit(number), 100)
        await deposits.settle(conn, address(1), unit(0), deposits.DepositState.CONFIRMED)
        assert await exposure.deposits_on_their_way(conn) == {"base": 100}


async def test_pages_follow_each_other_without_gap_or_overlap(worker: Database) -> None:
    async with worker.transaction() as conn:
        for number in range(5):
            await insert_open(conn, number, spent_by_peer=10, claim="claim")
        pages = []
        after: str | None = ""
        while after is not None:
            page = await exposure.measure(conn, RULES, after, limit=2)
            pages.append([one.aa_address for one in page.found["base"].closable])
            after = page.last
    assert list(itertools.chain(*pages)) == [address(number) for number in range(5)]
    assert [len(page) for page in pages] == [2, 2, 1]
