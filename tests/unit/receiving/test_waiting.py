from __future__ import annotations

import asyncio

import pytest

from shared.bus import CHANNEL_CHANGED, Bus
from shared.receiving.errors import UnavailableError
from shared.receiving.waiting import ChannelWaits

LONG_S = 30.0


@pytest.fixture
def bus() -> Bus:
    return Bus(None)


def waits(bus: Bus, **options: float) -> ChannelWaits:
    return ChannelWaits(bus, poll_s=options.get("poll_s", LONG_S), max_waiters=int(options.get("max_waiters", 10)))


async def test_a_change_of_the_channel_wakes_its_waiter(bus: Bus) -> None:
    waiting = waits(bus)
    with waiting.waiter("AA") as waiter:
        woken = asyncio.create_task(waiter.wait(LONG_S))
        await asyncio.sleep(0)
        bus.publish(CHANNEL_CHANGED, {"aa_address": "AA"})
        await asyncio.wait_for(woken, 1)
    await waiting.close()


async def test_a_change_before_the_wait_is_not_missed(bus: Bus) -> None:
    waiting = waits(bus)
    with waiting.waiter("AA") as waiter:
        bus.publish(CHANNEL_CHANGED, {"aa_address": "AA"})
        await asyncio.wait_for(waiter.wait(LONG_S), 1)
    await waiting.close()


async def test_a_change_of_another_channel_does_not_wake(bus: Bus) -> None:
    waiting = waits(bus)
    with waiting.waiter("AA") as waiter:
        woken = asyncio.create_task(waiter.wait(LONG_S))
        await asyncio.sleep(0)
        bus.publish(CHANNEL_CHANGED, {"aa_address": "BB"})
        bus.publish(CHANNEL_CHANGED, {})
        done, _ = await asyncio.wait([woken], timeout=0.05)
        assert not done
        woken.cancel()
    await waiting.close()


async def test_without_events_from_other_processes_it_polls(bus: Bus) -> None:
    waiting = waits(bus, poll_s=0.01)
    with waiting.waiter("AA") as waiter:
        await asyncio.wait_for(waiter.wait(LONG_S), 1)
    await waiting.close()


async def test_the_number_of_waiters_is_bounded(bus: Bus) -> None:
    waiting = waits(bus, max_waiters=1)
    with waiting.waiter("AA"):
        with pytest.raises(UnavailableError) as caught, waiting.waiter("BB"):
            pass
        assert caught.value.code == "overloaded"
    with waiting.waiter("BB"):
        pass
    await waiting.close()
