"""Hubs that die, several hubs of one ledger: over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from devnet.door import Door
from devnet.hub import Hub
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubClosedError, HubError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET

if TYPE_CHECKING:
    from devnet.server import Devnet

PATIENCE_S = 10.0
ADDRESS = KeyPair(b"\5" * 32).address


async def frames_until_dead(socket: ClientConnection, questions: int = 10) -> list[Any]:
    """Ask again and again until the connection is gone, and return all that came."""
    with contextlib.suppress(ConnectionClosed):
        for tag in range(questions):
            await socket.send(json.dumps(["request", {"command": "get_witnesses", "tag": str(tag)}]))
    async with asyncio.timeout(PATIENCE_S):
        return await heard_until_dead(socket)


async def heard_until_dead(socket: ClientConnection) -> list[Any]:
    """Return all frames that still come."""
    came: list[Any] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            came.append(json.loads(await socket.recv()))
    return came


@pytest.mark.parametrize("mid_frame", [False, True])
@pytest.mark.parametrize("frames", [0, 3, 7])
async def test_connection_dies_after_some_frames(devnet: Devnet, frames: int, *, mid_frame: bool) -> None:
    devnet.faults.kill_connections(frames, mid_frame=mid_frame)
    assert len(await frames_until_dead(await connect(devnet.url))) == frames
    async with HubClient(devnet.url, DEVNET) as again:
        assert await again.get_witnesses() == devnet.witnesses


async def test_half_a_frame_arrives(devnet: Devnet) -> None:
    devnet.faults.kill_connections(0, mid_frame=True)
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", devnet.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        broken = await reader.read()
        writer.close()
    assert broken[:2] == b"\x81\x7f"
    assert broken[10:].startswith(b'["justsaying"')
    assert len(broken) - 10 == int.from_bytes(broken[2:10]) // 2


async def test_several_connections_die(devnet: Devnet) -> None:
    devnet.faults.kill_connections(1, connections=2)
    assert [len(await frames_until_dead(await connect(devnet.url))) for _ in range(2)] == [1, 1]
    async with HubClient(devnet.url, DEVNET) as third:
        assert await third.get_witnesses() == devnet.witnesses


async def test_hubs_of_one_ledger_fail_each_for_itself(devnet: Devnet) -> None:
    second = await devnet.add_hub()
    devnet.faults.hidden.add("x")
    assert not second.faults.hidden
    async with HubClient(devnet.url, DEVNET) as one, HubClient(second.url, DEVNET) as two:
        unit = (await one.request("devnet/fund", {"address": ADDRESS, "amount": 5_000}))["unit"]
        assert await two.get_joint(unit) is not None
        await two.watch_address(ADDRESS)
        await one.request("devnet/fund", {"address": ADDRESS, "amount": 6_000})
        async with asyncio.timeout(PATIENCE_S):
            assert (await two.next_notification()) is not None
        await devnet.doors[0].stop()
        with pytest.raises(HubError):
            await one.get_witnesses()
        assert await two.get_witnesses() == devnet.witnesses
        await devnet.doors[0].start()
        async with HubClient(devnet.url, DEVNET) as again:
            assert await again.get_joint(unit) is not None


async def test_all_hubs_end_with_the_ledger(devnet: Devnet) -> None:
    second = await devnet.add_hub()
    client = HubClient(second.url, DEVNET)
    await client.connect()
    devnet.drop_connections()
    async with asyncio.timeout(PATIENCE_S):
        await client.wait_closed()
    await devnet.stop()
    for url in (devnet.url, second.url):
        with pytest.raises(HubClosedError):
            await HubClient(url, DEVNET).connect()
    await devnet.start()
    async with HubClient(second.url, DEVNET) as again:
        assert await again.get_witnesses() == devnet.witnesses


@pytest.mark.parametrize("garbage", ["{", "[]", "null", '["response",{}]', "\0", b"\xff\0"])
async def test_garbage_can_be_sent_and_survived(devnet: Devnet, garbage: str | bytes) -> None:
    devnet.faults.greeting = (garbage,)
    async with HubClient(devnet.url, DEVNET) as client:
        devnet.hub.send_raw(garbage)
        assert await client.get_witnesses() == devnet.witnesses


async def test_door_knows_who_is_on_this_machine(devnet: Devnet) -> None:
    door = Door(Hub(devnet.ledger), "::1", 0)
    try:
        await door.start()
    except OSError:
        pytest.skip("no IPv6 here")
    async with HubClient(f"ws://[::1]:{door.port}", DEVNET) as client:
        assert "unit" in await client.request("devnet/fund", {"address": ADDRESS, "amount": 5_000})
    await door.stop()
