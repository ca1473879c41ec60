"""`GET /v1/events`: what has happened, as server-sent events, and the same over a WebSocket at the same address.

Both begin with `aa_channels_ready`, which carries the cursor to begin again from, and go on with every event of the
stream in its order. A reader that comes back with the last cursor it has seen misses nothing. One that takes nothing
for half a minute is cut off: it may come back, and what it missed waits in the database.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from front.answering import Responses, problems
from front.callers import Reader
from front.problems import NO_STORE, Problem, unavailable
from front.websocket_keys import authorization_of, subprotocol_of
from shared.events.cursors import (
    Cursor,
    EventsError,
    ExpiredCursorError,
    InvalidCursorError,
    StreamEndedError,
)
from shared.events.feed import Follower
from shared.events.forms import READY, api_text
from shared.logs import get_logger
from shared.obyte.chash import is_valid_address
from shared.receiving.errors import UnavailableError, database_errors
from shared.store.api_keys import Scope as KeyScope
from shared.store.errors import StoreError
from shared.store.events import Event, EventKind

logger = get_logger(__name__)

PATH = "/v1/events"
HEARTBEAT_S = 15.0
"""Something is sent at least this often, so that balancers keep the connection and readers see that it lives."""
SEND_S = 30.0
"""A reader that takes nothing for so long is cut off."""
_RETRY_MS = 1_000
_CHUNK_CHARACTERS = 65_536
_PAUSE_S = 1.0
_EVERY_KIND = frozenset(kind.value for kind in EventKind)

router = APIRouter(tags=["events"])

_EXAMPLE = (
    f"retry: {_RETRY_MS}\n\n"
    f'id: 5c0a81f2-40\nevent: {READY}\ndata: {{"id":"5c0a81f2-40","type":"{READY}",…}}\n\n'
    'id: 5c0a81f2-41\nevent: payment_received\ndata: {"id":"5c0a81f2-41","type":"payment_received",…}\n\n'
)
_STREAM: Responses = {
    200: {
        "description": "The stream. It ends when the server stops or the key is revoked: come back with the last `id`",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    },
}
_RESPONSES = _STREAM | problems(
    401,
    403,
    503,
    status_410=(
        "expired_cursor",
        "events after this cursor were forgotten, or the stream was begun anew",
        "Something would be skipped: read `/v1/payments`, then begin without a cursor",
    ),
    status_422=(
        "invalid_cursor",
        "the cursor should be one that came with an event",
        "A parameter breaks a rule: `invalid_cursor`, `unknown_event_type` or `invalid_aa_address`",
    ),
)


class EventsQuery(BaseModel):
    """From where on, and of what."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, description="A cursor: begin after it instead of now")
    types: str | None = Field(None, description="Names of events, separated by commas")
    aa_address: str | None = Field(None, description="Events of this channel only")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader wants to hear of; None is everything."""

    types: frozenset[str] | None
    aa_address: str | None

    @classmethod
    def read(cls, types: str | None, aa_address: str | None) -> "Wanted":
        """Read the parameters. Raises Problem."""
        named = None if types is None else frozenset(types.split(","))
        if named is not None and not named <= _EVERY_KIND:
            raise Problem(422, "unknown_event_type", "types should be names of events, separated by commas")
        if aa_address is not None and not is_valid_address(aa_address):
            raise Problem(422, "invalid_aa_address", "aa_address should be the address of a channel")
        return cls(named, aa_address)

    def includes(self, event: Event) -> bool:
        """Whether the reader wants to hear of it."""
        return (self.types is None or event.kind in self.types) and self.aa_address in (None, event.aa_address)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reader's way through the stream."""

    follower: Follower
    wanted: Wanted
    until_ended: Callable[[], Coroutine[Any, Any, None]]
    """Runs for as long as the reader's key holds, then raises Problem."""

    async def messages(self) -> AsyncGenerator[list[tuple[Cursor, str, str]], None]:
        """Yield what to send, as (cursor, type, JSON): an empty list is a sign of life.

        Ends when the stream does. Raises EventsError when it cannot go on.
        """
        cursor = self.follower.cursor
        yield [(cursor, READY, _ready(cursor))]
        told_s = time.monotonic()
        while True:
            try:
                # The last thing that can fail: what it returns is told, since the place has moved on.
                found = await self.follower.next(HEARTBEAT_S)
            except (StoreError, UnavailableError):
                found = ()  # the stream goes on where it was when the database comes back
                await asyncio.sleep(_PAUSE_S)
            told = [
                (cursor := self.follower.cursor_of(event), event.kind, api_text(event, cursor))
                for event in found
                if self.wanted.includes(event)
            ]
            if told or time.monotonic() - told_s >= HEARTBEAT_S:
                told_s = time.monotonic()
                yield told


@contextlib.asynccontextmanager
async def _reading(
    state: State, authorization: str | None, *, after: str | None, types: str | None, aa_address: str | None
) -> AsyncIterator[Reading]:
    """Let an allowed reader begin. Raises Problem and UnavailableError."""

    async def until_ended() -> None:
        await state.api_keys.until_ended(authorization, KeyScope.READ)

    wanted = Wanted.read(types, aa_address)
    async with contextlib.AsyncExitStack() as stack:
        try:
            with database_errors():
                follower = await stack.enter_async_context(state.feed.follow(after))
        except InvalidCursorError as error:
            raise Problem(422, error.code, str(error)) from None
        except ExpiredCursorError as error:
            raise Problem(410, error.code, str(error)) from None
        except EventsError as error:
            raise Problem(503, error.code, str(error), headers={"retry-after": "1"}) from None
        yield Reading(follower, wanted, until_ended)


def _ready(cursor: Cursor) -> str:
    told: dict[str, Any] = {
        "id": str(cursor),
        "type": READY,
        "time": datetime.now(UTC).isoformat(),
        "aa_address": None,
        "data": {},
    }
    return json.dumps(told, separators=(",", ":"))


# -------------------------------------------------------------------------------------------------- server-sent events


@router.get(PATH, summary="What has happened, as it happens", response_class=Response, responses=_RESPONSES)
async def events(
    request: Request,
    _caller: Reader,
    query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[str | None, Header(description="A cursor, as browsers send it; it comes first")] = None,
) -> Response:
    """Follow the stream. Reconnect with the `id` of the last event that was handled, and nothing is skipped."""
    stack = contextlib.AsyncExitStack()
    begun = _reading(
        request.app.state,
        request.headers.get("authorization"),
        after=last_event_id or query.after,
        types=query.types,
        aa_address=query.aa_address,
    )
    reading = await stack.enter_async_context(begun)
    return EventStream(reading, stack)


class EventStream(Response):
    """The body of a stream; what it reads from is given back when it ends."""

    media_type = "text/event-stream"

    def __init__(self, reading: Reading, stack: contextlib.AsyncExitStack) -> None:
        super().__init__(headers={**NO_STORE, "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._reading = reading
        self._stack = stack

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the reader leaves, is too slow, or the stream ends."""
        async with self._stack:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

            async def write(text: str, *, more: bool = True) -> None:
                async with asyncio.timeout(SEND_S):
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

            async def gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass

            try:
                await _until_any(_send_frames(self._reading, write), gone(), self._reading.until_ended())
            except (EventsError, Problem) as error:
                with contextlib.suppress(TimeoutError):
                    if not isinstance(error, StreamEndedError):
                        await write(f"event: end\ndata: {json.dumps({'code': error.code})}\n\n")
                    await write("", more=False)


async def _send_frames(reading: Reading, write: Callable[..., Awaitable[None]]) -> None:
    """Send until the reader is too slow. Raises EventsError."""
    await write(f"retry: {_RETRY_MS}\n\n")
    with contextlib.suppress(TimeoutError):
        async with contextlib.aclosing(reading.messages()) as messages:
            async for told in messages:
                frames = [f"id: {cursor}\nevent: {kind}\ndata: {text}\n\n" for cursor, kind, text in told]
                for chunk in _chunks(frames or [f": still here\nid: {reading.follower.cursor}\n\n"]):
                    await write(chunk)
    logger.info("event_reader_too_slow", cursor=str(reading.follower.cursor))


def _chunks(frames: list[str]) -> list[str]:
    """Join small frames: a reader that has fallen behind is served in few writes, and none is large without need."""
    chunks = [""]
    for frame in frames:
        if chunks[-1] and len(chunks[-1]) + len(frame) > _CHUNK_CHARACTERS:
            chunks.append("")
        chunks[-1] += frame
    return chunks


# ---------------------------------------------------------------------------------------------------------- WebSocket


@router.websocket(PATH)
async def follow(websocket: WebSocket) -> None:
    """Follow the stream: one text message, the same JSON, for each event; `{"type": "still_here"}` in silence."""
    query = websocket.query_params
    after, types, aa_address = query.get("after"), query.get("types"), query.get("aa_address")
    try:
        address = websocket.app.state.address_limits.address_of(websocket.scope)
        authorization = authorization_of(websocket)
        await websocket.app.state.api_keys.require(authorization, KeyScope.READ, address=address)
        async with _reading(
            websocket.app.state, authorization, after=after, types=types, aa_address=aa_address
        ) as reading:
            await websocket.accept(subprotocol_of(websocket))
            await _talk(websocket, reading)
    except Problem as problem:
        await websocket.send_denial_response(problem.response())
    except UnavailableError as error:
        await websocket.send_denial_response(unavailable(error).response())


async def _talk(websocket: WebSocket, reading: Reading) -> None:
    """Send until the reader leaves, is too slow, or the stream ends; then say why."""
    code, reason = 1013, "too_slow"
    try:
        await _until_any(_send_messages(websocket, reading), _hang_up(websocket), reading.until_ended())
    except StreamEndedError as error:
        code, reason = 1012, error.code
    except (EventsError, Problem) as error:
        code, reason = 1008, error.code
    with contextlib.suppress(TimeoutError, WebSocketDisconnect):
        if WebSocketState.DISCONNECTED not in (websocket.application_state, websocket.client_state):
            async with asyncio.timeout(_PAUSE_S):
                await websocket.close(code, reason)


async def _send_messages(websocket: WebSocket, reading: Reading) -> None:
    """Send until the reader is too slow or gone. Raises EventsError."""
    with contextlib.suppress(TimeoutError, WebSocketDisconnect):
        async with contextlib.aclosing(reading.messages()) as messages:
            async for told in messages:
                silence = json.dumps({"id": str(reading.follower.cursor), "type": "still_here"})
                for text in [text for _, _, text in told] or [silence]:
                    async with asyncio.timeout(SEND_S):
                        await websocket.send_text(text)


async def _hang_up(websocket: WebSocket) -> None:
    """Return when the reader has gone. What he says is not listened to."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _until_any(*several: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends. Raises what that one raised."""
    tasks = [asyncio.ensure_future(one) for one in several]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
