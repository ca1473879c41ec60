from __future__ import annotations

import asyncio

from shared.bus import Bus, Doorbell, Event

NOBODY = "redis://127.0.0.1:1/0"


async def test_subscribers_of_the_process_hear_without_redis() -> None:
    bus = Bus(None)
    with bus.subscribe("payment") as payments, bus.subscribe("command", "payment") as both:
        bus.publish("payment", {"payment_id": 1})
        bus.publish("command", {"id": 2})
        assert await anext(payments) == Event("payment", {"payment_id": 1})
        assert [await anext(both), await anext(both)] == [
            Event("payment", {"payment_id": 1}),
            Event("command", {"id": 2}),
        ]
    await bus.close()


async def test_a_closed_subscription_ends() -> None:
    bus = Bus(None)
    subscription = bus.subscribe("payment")
    heard = asyncio.create_task(anext(subscription, None))
    await asyncio.sleep(0)
    await bus.close()
    assert await asyncio.wait_for(heard, 1) is None


async def test_a_slow_reader_loses_the_oldest_events_and_knows_it() -> None:
    bus = Bus(None)
    with bus.subscribe("payment", limit=2) as payments:
        for number in range(5):
            bus.publish("payment", {"payment_id": number})
        assert payments.missed == 3
        assert (await anext(payments)).body == {"payment_id": 3}
    await bus.close()


async def test_publishing_without_a_redis_server_neither_fails_nor_waits() -> None:
    bus = Bus(NOBODY)
    with bus.subscribe("payment") as payments:
        bus.publish("payment", {"payment_id": 1})
        assert (await asyncio.wait_for(anext(payments), 1)).body == {"payment_id": 1}
        assert not bus.hears("payment")
    await asyncio.wait_for(bus.close(), 5)


async def test_a_bell_without_a_broker_says_so() -> None:
    assert await Doorbell(None).ring("sluice.run_command", 1) is False
    bell = Doorbell(NOBODY)
    assert await asyncio.wait_for(bell.ring("sluice.run_command", 1), 10) is False
    await bell.close()
