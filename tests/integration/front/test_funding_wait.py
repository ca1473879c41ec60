"""A package may come before the watcher has seen its channel's funding (the reference's R2: a fixed sleep)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from shared.bus import CHANNEL_CHANGED, Bus
from shared.settings import Settings
from shared.settings_types import UnconfirmedLimit
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, administrator, all_rows, payer_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

AGE_S = 0.2
LONG_S = 8.0


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    limit = UnconfirmedLimit(max_by_asset=10_000, max_by_channel=10_000, min_age_s=AGE_S)
    return Settings(
        database_url=database_url, redis_url=redis_url, funding_wait_s=LONG_S, unconfirmed_limits={"base": limit}
    )


@pytest.fixture
async def worker_bus(redis_url: str) -> AsyncIterator[Bus]:
    bus = Bus(redis_url)
    yield bus
    await bus.close()


async def until_known(database_url: str, payer: Payer) -> None:
    async with asyncio.timeout(5):
        while not any(payer.channel in row for row in (await all_rows(database_url))["channels"]):  # noqa: ASYNC110 - rows ring no bell
            await asyncio.sleep(0.01)


async def test_r02_an_unknown_channel_is_saved_and_waits_for_the_watcher_no_longer_than_needed(
    front: Front, worker: Worker, worker_bus: Bus, database_url: str
) -> None:
    payer = Payer()
    paying = asyncio.create_task(front.pay(payer.first_package(500, 500)))
    await until_known(database_url, payer)
    assert not paying.done()
    await worker.see_unit(payer, amount=5000)
    started_s = time.monotonic()
    worker_bus.publish(CHANNEL_CHANGED, {"aa_address": payer.channel})
    answer = await asyncio.wait_for(paying, 5)
    assert answer["receipt"]["amount"] == 500
    assert time.monotonic() - started_s >= AGE_S * 0.9


async def test_r02_the_channel_is_judged_anew_after_the_wait(
    front: Front, worker: Worker, worker_bus: Bus, database_url: str
) -> None:
    payer = Payer()
    paying = asyncio.create_task(front.pay(payer.first_package(500, 500)))
    await until_known(database_url, payer)
    await worker.see_unit(payer, amount=5000)
    await worker.see_unit(payer, "closing", closes=True)
    worker_bus.publish(CHANNEL_CHANGED, {"aa_address": payer.channel})
    answer = await asyncio.wait_for(paying, 5)
    assert answer["code"] == "unconfirmed_closing"


async def test_r02_two_fronts_take_the_first_package_once(
    front: Front, settings: Settings, worker: Worker, worker_bus: Bus, database_url: str
) -> None:
    payer = Payer()
    async with running_front(settings) as other:
        package = payer.first_package(500, 500)
        paying = [asyncio.create_task(one.pay(package)) for one in (front, other)]
        await until_known(database_url, payer)
        await worker.open(payer, deposit=5000)
        worker_bus.publish(CHANNEL_CHANGED, {"aa_address": payer.channel})
        answers = await asyncio.wait_for(asyncio.gather(*paying), 5)
    assert sorted(answer["receipt"]["duplicate"] for answer in answers) == [False, True]
    assert len((await all_rows(database_url))["payments"]) == 1


async def test_without_redis_the_funding_is_found_by_polling(database_url: str, worker: Worker) -> None:
    payer = Payer()
    async with running_front(Settings(database_url=database_url, funding_wait_s=LONG_S)) as front:
        paying = asyncio.create_task(front.pay(payer.first_package(500, 500)))
        await until_known(database_url, payer)
        await worker.open(payer, deposit=5000)
        assert (await asyncio.wait_for(paying, 5))["receipt"]["amount"] == 500


async def test_the_wait_has_an_end(database_url: str, worker: Worker) -> None:
    del worker
    payer = Payer()
    async with running_front(Settings(database_url=database_url, funding_wait_s=0.2)) as front:
        started_s = time.monotonic()
        answer = await front.pay(payer.first_package(500, 500))
        assert time.monotonic() - started_s < 2
        assert answer["error"] == "AA definition was not published"
        assert answer["channel"] == {"period": 1, "amount_spent": 0, "credit": 0, "status": "closed"}


async def test_an_open_channel_without_funds_is_refused_at_once(front: Front, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer, deposit=100)
    answer = await asyncio.wait_for(front.pay(payer.first_package(500, 500)), 5)
    assert answer["error"] == "AA not funded enough."


async def test_channels_that_nobody_funds_are_limited_per_peer(database_url: str, worker: Worker) -> None:
    del worker
    settings = Settings(database_url=database_url, max_unfunded_channels_per_peer=2, max_unfunded_channels=3)
    async with running_front(settings) as front:
        for salt in ("a", "b"):
            assert "response" in await front.command("create_channel", Payer(salt=salt).parameters)
        refused = await front.command("create_channel", Payer(salt="c").parameters)
        assert refused["code"] == "too_many_channels"
        assert "response" in await front.command("create_channel", Payer(salt="a").parameters)
        assert "response" in await front.command("create_channel", Payer(payer_key(2)).parameters)
        everyone = await front.command("create_channel", Payer(payer_key(3)).parameters)
        assert everyone["code"] == "too_many_channels"
        paying = await front.pay(Payer(payer_key(3)).first_package(5, 5))
        assert paying["code"] == "too_many_channels"


async def test_the_address_in_create_channel_is_kept_and_never_one_from_a_package(
    front: Front, database_url: str
) -> None:
    payer = Payer()
    await front.command("create_channel", {**payer.parameters, "url": "https://payer.example.org/"})
    async with administrator(database_url) as conn:
        assert await conn.fetchval("SELECT peer_url FROM channels") == "https://payer.example.org/"
