from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.obyte.device_messages import DeviceMessage
from worker.devices import strangers
from worker.devices.strangers import AT_ONCE, ONCE_IN_S, Strangers


def message(sender: str, hub: str | None = "hub.example/bb") -> DeviceMessage:
    return DeviceMessage(sender, sender, "key", hub, "object", {"command": "create_channel"}, b"{}", "key")


class SlowCourier:
    """Counts messages and delivers none."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_away = asyncio.Event()

    async def send(self, to: Any, _subject: str, _body: Any) -> None:
        self.told.append(to.device_address)
        await self.is_away.wait()


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "TIMEOUT_S", 0.02)


def telling(*, hangs: bool = False) -> tuple[Any, Clock, Strangers]:
    courier: Any = SlowCourier()
    if not hangs:
        courier.is_away.set()
    clock = Clock()
    return courier, clock, Strangers(courier, monotonic=clock)


async def test_one_is_told_at_a_time() -> None:
    courier, _, told = telling(hangs=True)
    await asyncio.gather(*(told.tell(message(name)) for name in "ab"))
    assert courier.told == ["a"]
    await told.tell(message("b"))
    assert courier.told == ["a", "b"]


async def test_each_is_told_once_an_hour_and_then_forgotten() -> None:
    courier, clock, told = telling()
    for clock.now_s in (0.0, ONCE_IN_S - 1, ONCE_IN_S):
        await told.tell(message("a"))
    assert courier.told == ["a", "a"]
    clock.now_s = 3 * ONCE_IN_S
    await told.tell(message("b"))
    assert list(told._told_at_s) == ["b"]


async def test_many_names_get_few_messages() -> None:
    courier, clock, told = telling()
    for number in range(1_000):
        clock.now_s = number / 100
        await told.tell(message(str(number)))
    assert len(courier.told) <= AT_ONCE + 1
    assert len(told._told_at_s) == len(courier.told)


@pytest.mark.parametrize("hub", [None, "", "user@host"])
async def test_without_a_hub_nobody_is_told(hub: str | None) -> None:
    courier, _, told = telling()
    await told.tell(message("a", hub))
    assert courier.told == []
