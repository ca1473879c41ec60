"""Sockets of JSON-RPC in a process that leaves: calls under way are answered, then the other side is sent elsewhere."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from starlette.websockets import WebSocketState

from front.draining import Draining
from front.rpc.sockets import Conversation

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from shared.strict_json import JsonValue

BOUND_S = 10.0


class Wire:
    """A socket whose other side has asked what it is told to, and then only listens."""

    def __init__(self, *texts: str) -> None:
        self.draining = Draining()
        self.app = SimpleNamespace(state=SimpleNamespace(draining=self.draining))
        self.application_state = WebSocketState.CONNECTED
        self.said: list[Any] = []
        self._texts = list(texts)

    async def receive(self) -> dict[str, Any]:
        if not self._texts:
            await asyncio.Event().wait()
        return {"type": "websocket.receive", "text": self._texts.pop(0)}

    async def send_text(self, text: str) -> None:
        self.said.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.application_state = WebSocketState.DISCONNECTED
        self.said.append((code, reason))


class Speech:
    """Answers when it is allowed to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def answer(self, said: JsonValue) -> Any:
        self.asked.set()
        await self.may_answer.wait()
        return said

    def complaint(self, error: Exception) -> Any:
        raise error


def conversation(wire: Wire, speech: Speech) -> Conversation:
    return Conversation(cast("WebSocket", wire), speech, None)


async def test_who_hears_no_events_is_sent_elsewhere_too() -> None:
    wire = Wire()
    talking = asyncio.create_task(conversation(wire, Speech()).run())
    await asyncio.sleep(0)
    wire.draining.streams_end.set()
    async with asyncio.timeout(BOUND_S):
        await talking
    assert wire.said == [(1012, "stream_ended")]


async def test_a_call_under_way_is_answered_before_the_socket_ends() -> None:
    wire, speech = Wire('{"id":7}'), Speech()
    talking = asyncio.create_task(conversation(wire, speech).run())
    async with asyncio.timeout(BOUND_S):
        await speech.asked.wait()
        wire.draining.streams_end.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert wire.said == []
        speech.may_answer.set()
        await talking
    assert wire.said == ['{"id":7}', (1012, "stream_ended")]
