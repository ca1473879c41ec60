"""Connections to hubs that strangers name: only where we may go, few, and not again and again to where nobody is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from devnet.server import Devnet
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubClosedError
from shared.obyte.networks import DEVNET, LIVENET
from worker.devices import hubs as hubs_module
from worker.devices.hubs import FAILURE_REMEMBERED_S, IDLE_S, HubConnections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.obyte.networks import Network


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def connections(clock: Clock, network: Network = DEVNET, *addresses: str) -> AsyncIterator[HubConnections]:
    async def resolve(_: str) -> list[str]:
        return list(addresses)

    hubs = HubConnections(network, monotonic=clock, resolve=resolve, request_timeout_s=2)
    try:
        yield hubs
    finally:
        await hubs.close()


def host_of(devnet: Devnet) -> str:
    return devnet.url.removeprefix("ws://")


async def test_a_connection_is_kept_until_it_is_idle_or_gone() -> None:
    clock = Clock()
    async with Devnet(port=0) as devnet, connections(clock) as hubs:
        host = host_of(devnet)
        first, same = await asyncio.gather(hubs.get(host), hubs.get(host))
        assert first is same
        assert await hubs.get(host) is first
        clock.now_s = IDLE_S + 1
        second = await hubs.get(host)
        assert second is not first
        assert not first.is_open
        await second.close()
        assert (await hubs.get(host)).is_open


async def test_connections_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs_module, "MAX_CONNECTIONS", 1)
    async with Devnet(port=0) as devnet, Devnet(port=0) as other, connections(Clock()) as hubs:
        first = await hubs.get(host_of(devnet))
        second = await hubs.get(host_of(other))
        assert (first.is_open, second.is_open) == (False, True)


async def test_our_own_hub_is_reached_over_the_connection_we_have() -> None:
    async with Devnet(port=0) as devnet, HubClient(devnet.url, DEVNET) as own, connections(Clock()) as hubs:
        hubs.lend(host_of(devnet), own)
        assert await hubs.get(host_of(devnet)) is own
        await own.close()
        assert await hubs.get(host_of(devnet)) is not own


async def test_a_hub_that_is_away_is_not_tried_again_at_once() -> None:
    clock = Clock()
    async with connections(clock) as hubs:
        with pytest.raises(HubClosedError):
            await hubs.get("127.0.0.1:1")
        tried: list[str] = []

        async def count(hub: str) -> HubClient:
            tried.append(hub)
            raise HubClosedError("unreachable", "nobody there")

        hubs._make = count  # type: ignore[method-assign]
        with pytest.raises(HubClosedError):
            await hubs.get("127.0.0.1:1")
        assert tried == []
        clock.now_s = FAILURE_REMEMBERED_S + 1
        with pytest.raises(HubClosedError):
            await hubs.get("127.0.0.1:1")
        assert tried == ["127.0.0.1:1"]


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1",), ("10.1.2.3",), ("169.254.169.254",), ("93.184.216.34", "::1"), ()]
)
async def test_on_real_networks_nobody_sends_us_into_our_own(addresses: tuple[str, ...]) -> None:
    async with connections(Clock(), LIVENET, *addresses) as hubs:
        with pytest.raises(HubClosedError) as refused:
            await hubs.get("hub.example/bb")
    assert "address" in refused.value.text


async def test_on_real_networks_the_checked_address_is_used_over_an_encrypted_connection() -> None:
    async with connections(Clock(), LIVENET, "93.184.216.34") as hubs:
        client = await hubs._make("hub.example/bb")
    assert (client.url, client._connect_to) == ("wss://hub.example/bb", "93.184.216.34")
