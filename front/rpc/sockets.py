"""One WebSocket of either door: calls in, answers and events out.

    what arrives ─▶ texts ─▶ calls, at most `MAX_IN_FLIGHT` at once: beyond that nothing is read
    answers, as they are known ─┐
    events, in their order ─────┴▶ one frame after the other; who takes none for half a minute is cut off

A call that was begun goes on when its caller hangs up: what he has ordered is ordered.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.websockets import WebSocketDisconnect, WebSocketState

from front.problems import Problem
from front.rpc.errors import of_text
from front.rpc.shapes import encode
from front.rpc.texts import Texts, TextsError
from shared.events.cursors import EventsError, StreamEndedError
from shared.events.forms import reference_frame
from shared.logs import get_logger
from shared.receiving.errors import UnavailableError
from shared.store.errors import StoreError
from shared.strict_json import JsonValue, StrictJsonError, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from starlette.websockets import WebSocket

    from front.draining import Draining
    from front.rpc.errors import RpcError
    from shared.events.feed import Feed, Follower

logger = get_logger(__name__)

MAX_SOCKETS = 100
"""In one process, both doors together."""
MAX_IN_FLIGHT = 16
SEND_S = 30.0
EVENTS_WAIT_S = 15.0
LAST_ANSWERS_S = 2.0
"""A process that leaves waits for outcomes no more, so calls end soon."""
_PAUSE_S = 1.0
_TOO_LARGE: Final = 1009
_NOT_ALLOWED: Final = 1008
_RESTARTING: Final = 1012
_TOO_SLOW: Final = 1013


class Speech(Protocol):
    """How a door reads calls and writes answers."""

    async def answer(self, said: JsonValue) -> Any | None:
        """Return what to answer to one text, None for nothing."""

    def complaint(self, error: RpcError) -> Any:
        """Return what to say to what is no text."""


class Places:
    """How many sockets are open in this process."""

    def __init__(self, most: int = MAX_SOCKETS) -> None:
        self._free = most

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Take a place. Raises Problem 503 when there is none."""
        if self._free <= 0:
            raise Problem(503, "too_many_sockets", "too many sockets are open here", headers={"retry-after": "1"})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


@contextlib.asynccontextmanager
async def following(feed: Feed) -> AsyncIterator[Follower]:
    """Follow the events from now on. Raises Problem and UnavailableError."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            follower = await stack.enter_async_context(feed.follow())
        except EventsError as error:
            raise Problem(503, error.code, str(error), headers={"retry-after": "1"}) from None
        except StoreError as error:
            raise UnavailableError("database_unavailable", str(error)) from None
        yield follower


class Conversation:
    """One socket that was accepted, until either side ends it."""

    def __init__(
        self,
        websocket: WebSocket,
        speech: Speech,
        follower: Follower | None,
        until_ended: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`follower`: whose events to send, None for none; `until_ended` raises Problem when the key holds no more."""
        self._websocket = websocket
        self._speech = speech
        self._follower = follower
        self._until_ended = until_ended
        self._sending = asyncio.Lock()
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Talk until the end; return when the last call is over."""
        tasks = [asyncio.create_task(self._listen())]
        if self._follower is not None:
            tasks.append(asyncio.create_task(self._tell(self._follower)))
        if self._until_ended is not None:
            tasks.append(asyncio.create_task(self._look_after_key(self._until_ended)))
        tasks.append(asyncio.create_task(self._leave(self._websocket.app.state.draining)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        ends = [task.result() for task in done]
        if self._calls and any(code == _RESTARTING for code, _ in ends):
            # He has asked, and nobody but us can tell him: what is under way is answered first.
            await asyncio.wait(self._calls, timeout=LAST_ANSWERS_S)
        for code, reason in ends:
            if code:
                await self._close(code, reason)
        if self._calls:
            await asyncio.wait(self._calls)

    # ------------------------------------------------------------------------------------------------------- calls

    async def _listen(self) -> tuple[int, str]:
        texts = Texts()
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return 0, ""
            raw = message.get("bytes") or (message.get("text") or "").encode("utf-8", "surrogatepass")
            wrong = None
            try:
                found = texts.feed(raw)
            except TextsError as error:
                found, wrong = error.found, error.code
            for text in found:
                await self._begin(self._answer(text))
            if wrong == "not_json":
                await self._begin(self._complain(wrong))
            elif wrong is not None:
                return _TOO_LARGE, wrong

    async def _begin(self, saying: Coroutine[Any, Any, None]) -> None:
        """Let it be said when there is room; what takes no time is said in the order in which it was asked for."""
        await self._room.acquire()
        task = asyncio.create_task(saying)
        self._calls.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._room.release()

    async def _answer(self, text: bytes) -> None:
        try:
            said = decode(text)
        except StrictJsonError as error:
            await self._complain(error.code)
            return
        answer = await self._speech.answer(said)
        if answer is not None and not await self._send(answer):
            await self._close(_TOO_SLOW, "too_slow")

    async def _complain(self, code: str) -> None:
        if not await self._send(self._speech.complaint(of_text(code))):
            await self._close(_TOO_SLOW, "too_slow")

    # ------------------------------------------------------------------------------------------------------ events

    async def _tell(self, follower: Follower) -> tuple[int, str]:
        while True:
            try:
                found = await follower.next(EVENTS_WAIT_S)
            except (StoreError, UnavailableError):
                await asyncio.sleep(_PAUSE_S)
                continue
            except StreamEndedError as error:
                return _RESTARTING, error.code
            except EventsError as error:
                return _RESTARTING, error.code
            for event in found:
                frame = reference_frame(event)
                if frame is not None and not await self._send(frame):
                    return _TOO_SLOW, "too_slow"

    @staticmethod
    async def _look_after_key(until_ended: Callable[[], Awaitable[object]]) -> tuple[int, str]:
        try:
            await until_ended()
        except Problem as problem:
            return _NOT_ALLOWED, problem.code
        return 0, ""

    @staticmethod
    async def _leave(draining: Draining) -> tuple[int, str]:
        await draining.streams_end.wait()
        return _RESTARTING, StreamEndedError.code

    # ----------------------------------------------------------------------------------------------------- sending

    async def _send(self, value: Any) -> bool:
        """Send one frame; False when the other side takes none."""
        try:
            async with asyncio.timeout(SEND_S), self._sending:
                if self._websocket.application_state is WebSocketState.CONNECTED:
                    await self._websocket.send_text(encode(value))
        except TimeoutError:
            logger.info("rpc_reader_too_slow")
            return False
        except (WebSocketDisconnect, RuntimeError):
            pass  # he has gone, and nobody is left to be told
        return True

    async def _close(self, code: int, reason: str) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(TimeoutError, RuntimeError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._websocket.close(code, reason)
