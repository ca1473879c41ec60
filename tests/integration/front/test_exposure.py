"""Channels of agent 1.1 are held below their limits by every front, and closed before by order of the fronts."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from shared.bus import COMMAND
from shared.settings import Settings
from shared.store import assets
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, administrator, payer_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

LIMITS = {"max_by_channel": 1_000, "sweep_above": 600, "max_own_deposit": 100, "max_total": 5_000}


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, funding_wait_s=0.3, exposure_limits={"base": LIMITS})


@pytest.fixture
async def fronts(settings: Settings, worker: Worker) -> AsyncIterator[list[Front]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_front(settings)) for _ in range(2)]


async def sweeps(database_url: str) -> list[tuple[str, str]]:
    async with administrator(database_url) as conn:
        rows = await conn.fetch("SELECT aa_address, params FROM commands WHERE kind = 'sweep' ORDER BY id")
    return [(row["aa_address"], row["params"].replace(" ", "")) for row in rows]


async def stop(worker: Worker, asset: str, *, is_stopped: bool = True) -> None:
    async with worker.database.transaction() as conn:
        await assets.record_exposures(conn, [(asset, 5_000, is_stopped)])


async def is_ready(front: Front, payer: Payer) -> dict[str, Any]:
    return await front.command("is_ready", {"aa_address": payer.channel})


async def test_many_payments_at_once_stop_exactly_at_the_limit(
    fronts: list[Front], worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    packages = [payer.package(number * 10, 10) for number in range(1, 151)]
    answers = await asyncio.gather(*(fronts[n % 2].pay(package) for n, package in enumerate(packages)))
    channel = await worker.read(payer)
    assert channel.spent_by_peer - channel.credit == 1_000
    assert sum("receipt" in answer for answer in answers) == 100
    assert {answer["code"] for answer in answers if "error" in answer} == {"exposure_limit"}
    assert await sweeps(database_url) == [(payer.channel, '{"period":1}')]


async def test_a_refusal_says_what_to_do_and_where_the_payer_stands(fronts: list[Front], worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    await fronts[0].pay(payer.package(700, 700))
    answer = await fronts[1].pay(payer.package(1_001, 301))
    assert answer == {
        "error": "the channel is being settled, pay again in the next period",
        "code": "exposure_limit",
        "channel": {"period": 1, "amount_spent": 700, "credit": 0, "status": "open"},
    }


async def test_what_was_credited_keeps_its_receipt_at_the_limit(fronts: list[Front], worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    package = payer.package(1_000, 1_000)
    first = await fronts[0].pay(package)
    assert (await is_ready(fronts[0], payer))["code"] == "exposure_limit"
    await stop(worker, "base")
    again = await fronts[1].pay(package)
    assert again["receipt"] == {**first["receipt"], "duplicate": True}


async def test_a_stopped_asset_is_refused_by_every_front_until_it_is_released(
    fronts: list[Front], worker: Worker
) -> None:
    payer = Payer()
    await worker.open(payer)
    await stop(worker, "base")
    for front in fronts:
        refused = await front.pay(payer.package(1, 1))
        assert refused["error"] == "too much is unsettled in this asset now, pay again later"
        assert (await is_ready(front, payer))["error"].startswith("not ready, too much is unsettled")
    await stop(worker, "base", is_stopped=False)
    for number, front in enumerate(fronts, start=1):
        assert await is_ready(front, payer) == {"response": True}
        assert "receipt" in await front.pay(payer.package(number, 1))


async def test_repaired_channels_go_on_whatever_is_at_risk(fronts: list[Front], worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    async with worker.database.transaction() as conn:
        await conn.execute("UPDATE channels SET version = '1.2'")
    await stop(worker, "base")
    assert "receipt" in await fronts[0].pay(payer.package(500_000, 500_000))
    assert await is_ready(fronts[0], payer) == {"response": True}


async def test_an_asset_without_limits_is_not_taken(fronts: list[Front], worker: Worker) -> None:
    payer = Payer(payer_key(2), asset="a" * 42 + "A=")
    await worker.open(payer)
    assert (await fronts[0].pay(payer.package(1, 1)))["code"] == "exposure_limit"
    assert (await is_ready(fronts[0], payer))["code"] == "exposure_limit"


async def test_the_worker_is_rung_for_when_a_channel_is_ripe_and_once(
    fronts: list[Front], worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    with fronts[0].app.state.receiver._acceptor._bus.subscribe(COMMAND) as events:
        await fronts[0].pay(payer.package(599, 599))
        assert await sweeps(database_url) == []
        await fronts[0].pay(payer.package(600, 1))
        async with asyncio.timeout(1):
            event = await anext(aiter(events))
    assert await sweeps(database_url) == [(payer.channel, '{"period":1}')]
    assert isinstance(event.body["id"], int)
    await fronts[1].pay(payer.package(650, 50))
    assert len(await sweeps(database_url)) == 1


async def test_a_channel_that_is_not_open_yet_is_not_ordered_closed(
    fronts: list[Front], worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.insert(payer)
    await worker.see_unit(payer, amount=100_000)
    async with administrator(database_url) as conn:
        await conn.execute("UPDATE peer_units SET first_seen_at = now() - interval '1 hour'")
    assert "receipt" in await fronts[0].pay(payer.package(900, 900))
    assert (await fronts[0].pay(payer.package(1_100, 200)))["code"] == "exposure_limit"
    assert await sweeps(database_url) == []
