"""A relay on a real socket: what it forwards, whom it closes, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.frames import decode_frame, encode_clear_frame
from shared.moneysocket.limits import Limits
from shared.moneysocket.messages import NotifyRendezvousEnd, RequestRendezvous
from shared.moneysocket.stacks import ListenAt, Relay
from shared.moneysocket.stacks.relay import RelayCounts
from tests.integration.moneysocket.stack_support import PATIENCE_S, QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ASK = encode_clear_frame(
    RequestRendezvous(timestamp=1.0, request_uuid="b7c1d1f4-6a1b-4d1e-9a6c-0123456789ab", rendezvous_id="ab" * 32)
)
SECRET = bytes(range(32)) * 2


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    limits = Limits(max_diallers=3, max_refused=3)
    relay = Relay(dataclasses.replace(QUICK, limits=limits, max_unsent_bytes=200_000))
    await relay.open()
    yield relay
    await relay.close()


def url(relay: Relay) -> str:
    return relay.locations[0].url


async def heard_by(socket: ClientConnection) -> str:
    frame = await asyncio.wait_for(socket.recv(), PATIENCE_S)
    assert isinstance(frame, bytes)
    return decode_frame(frame, None).NAME


async def code_of(socket: ClientConnection) -> tuple[int, str]:
    """How the relay closes it."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(PATIENCE_S):
            async for _ in socket:
                pass
    return socket.close_code or 0, socket.close_reason or ""


async def test_two_are_joined_a_third_is_turned_away_and_frames_pass_as_they_are(relay: Relay) -> None:
    async with connect(url(relay)) as one, connect(url(relay)) as other, connect(url(relay)) as third:
        await one.send(ASK)
        assert await heard_by(one) == "NOTIFY_RENDEZVOUS_NOT_READY"
        assert relay.counts == RelayCounts(sockets=3, waiting=1, joined=0)
        await other.send(ASK)
        assert await heard_by(one) == await heard_by(other) == "NOTIFY_RENDEZVOUS"
        await third.send(ASK)
        assert await code_of(third) == (1000, "taken")
        await one.send(SECRET)
        assert await asyncio.wait_for(other.recv(), PATIENCE_S) == SECRET
        await one.close()
        assert await heard_by(other) == "NOTIFY_RENDEZVOUS_END"
        assert await code_of(other) == (1000, "rendezvous_ended")


async def test_nobody_more_comes_in_than_the_limit_says(relay: Relay) -> None:
    async with connect(url(relay)), connect(url(relay)), connect(url(relay)):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url(relay))
    assert refused.value.response.status_code == 503


async def test_who_asks_for_nobody_is_closed_after_a_while() -> None:
    relay = Relay(dataclasses.replace(QUICK, limits=Limits(answer_s=0.05)))
    await relay.open()
    async with connect(url(relay)) as idle:
        assert await code_of(idle) == (1000, "nobody_asked")
    await relay.close()


async def test_frames_that_are_too_large_close_the_socket(relay: Relay) -> None:
    async with connect(url(relay)) as loud:
        await loud.send(bytes(65_537))
        assert (await code_of(loud))[0] == 1009


async def test_text_is_dropped_and_too_much_of_it_closes(relay: Relay) -> None:
    async with connect(url(relay)) as chatty:
        for _ in range(3):
            await chatty.send(ASK.decode())
        assert await code_of(chatty) == (1000, "too_many_refused")
    assert relay.dropped.total() == 3


async def test_who_does_not_read_is_cut_off(relay: Relay) -> None:
    async with connect(url(relay), max_queue=1) as deaf, connect(url(relay)) as loud:
        for socket in (deaf, loud):
            await socket.send(ASK)
        assert await heard_by(loud) == "NOTIFY_RENDEZVOUS"
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await loud.send(bytes(65_536))
        assert loud.close_reason == "rendezvous_ended"
        deaf.transport.abort()  # it does not read its close either


async def test_a_relay_that_closes_says_so_to_all_and_listens_no_more() -> None:
    relay = Relay(QUICK)
    await relay.open(ListenAt())
    with pytest.raises(ProtocolError):
        await relay.open()
    async with connect(url(relay)) as waiting, connect(url(relay)) as silent:
        await waiting.send(ASK)
        await heard_by(waiting)
        await asyncio.wait_for(relay.close(), PATIENCE_S)
        frame = await waiting.recv()
        assert isinstance(frame, bytes)
        assert isinstance(decode_frame(frame, None), NotifyRendezvousEnd)
        assert (await code_of(waiting))[0] == (await code_of(silent))[0] == 1000
    with pytest.raises(OSError, match=r"refused|failed"):
        await connect(url(relay))
