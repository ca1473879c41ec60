from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from shared.bus import Bus, Doorbell, Event
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def buses(redis_url: str) -> AsyncIterator[tuple[Bus, Bus]]:
    one, other = Bus(redis_url), Bus(redis_url)
    yield one, other
    await one.close()
    await other.close()


async def until_heard(bus: Bus, topic: str) -> None:
    async with asyncio.timeout(5):
        while not bus.hears(topic):  # noqa: ASYNC110 - a connection rings no bell
            await asyncio.sleep(0.01)


async def test_other_processes_hear_events_in_order(buses: tuple[Bus, Bus]) -> None:
    one, other = buses
    with other.subscribe("payment") as payments:
        await until_heard(other, "payment")
        for number in range(1500):
            one.publish("payment", {"payment_id": number})
        async with asyncio.timeout(5):
            assert [(await anext(payments)).body["payment_id"] for _ in range(1500)] == list(range(1500))


async def test_a_process_hears_its_own_events_once(buses: tuple[Bus, Bus]) -> None:
    one, other = buses
    with one.subscribe("payment") as own, other.subscribe("payment") as theirs:
        await until_heard(one, "payment")
        await until_heard(other, "payment")
        one.publish("payment", {"payment_id": 1})
        other.publish("payment", {"payment_id": 2})
        async with asyncio.timeout(5):
            assert {(await anext(own)).body["payment_id"] for _ in range(2)} == {1, 2}
            assert {(await anext(theirs)).body["payment_id"] for _ in range(2)} == {1, 2}
        one.publish("payment", {"payment_id": 3})
        async with asyncio.timeout(5):
            assert await anext(own) == Event("payment", {"payment_id": 3})


async def test_topics_are_apart(buses: tuple[Bus, Bus]) -> None:
    one, other = buses
    with other.subscribe("command", "channel_changed") as events:
        await until_heard(other, "command")
        await until_heard(other, "channel_changed")
        one.publish("payment", {"payment_id": 1})
        one.publish("command", {"id": 2})
        async with asyncio.timeout(5):
            assert await anext(events) == Event("command", {"id": 2})


async def test_a_lost_connection_comes_back_by_itself(buses: tuple[Bus, Bus], redis_url: str) -> None:
    one, other = buses
    with other.subscribe("payment") as payments:
        await until_heard(other, "payment")
        one.publish("payment", {"payment_id": 1})
        async with asyncio.timeout(5):
            await anext(payments)
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.client_kill_filter(_type="pubsub")
            await client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(10):
            while True:
                one.publish("payment", {"payment_id": 2})
                try:
                    event = await asyncio.wait_for(anext(payments), 0.2)
                except TimeoutError:
                    continue
                assert event.body == {"payment_id": 2}
                break


async def test_a_malformed_message_of_a_stranger_is_passed_over(buses: tuple[Bus, Bus], redis_url: str) -> None:
    one, other = buses
    with other.subscribe("payment") as payments:
        await until_heard(other, "payment")
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            for junk in ("", "nonsense", "[]", '{"origin":1}', '{"origin":"x","bodies":[5]}'):
                await client.publish("sluice:payment", junk)
        one.publish("payment", {"payment_id": 1})
        async with asyncio.timeout(5):
            assert (await anext(payments)).body == {"payment_id": 1}


async def test_the_bell_leaves_the_task_for_the_worker(redis_url: str) -> None:
    bell = Doorbell(Settings(redis_url=redis_url).broker_url)
    assert await bell.ring("sluice.run_command", 7)
    await bell.close()
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        [task] = await client.lrange("celery", 0, -1)
    assert json.loads(task)["headers"]["task"] == "sluice.run_command"
