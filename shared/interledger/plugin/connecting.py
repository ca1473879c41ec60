"""The connection of a ledger plugin while time passes: one attempt for all who wait for it, one ending for all.

`life` says which step leads where; here the steps are waited for. Requests in flight fail at the moment the connection
goes: for data that is all, for money it means that nobody knows.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shared.interledger.plugin.errors import NotConnectedError, UnreachableError
from shared.interledger.plugin.life import Life, State, Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import TypeVar

    from shared.interledger.plugin.listeners import Listeners
    from shared.interledger.plugin.log import Log

    Result = TypeVar("Result")

GRACE_S = 2.0
"""How long an ending waits for replies that we owe, and a failed attempt for what it has to let go of (LPI-27)."""

_TOO_EARLY = "disconnected before the connection was made"


class Connecting:
    """The connection of one plugin. `connect` and `disconnect` are what the plugin does at its beginning and end."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[None]],
        disconnect: Callable[[], Awaitable[None]],
        listeners: Listeners,
        log: Log,
    ) -> None:
        self._connect = connect
        self._disconnect = disconnect
        self._listeners = listeners
        self._log = log
        self._life = Life()
        self._error: BaseException | None = None
        self._waiting = 0
        self._attempt: asyncio.Task[None] | None = None
        self._given_up: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._cleaning: asyncio.Task[None] | None = None
        self._settled: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._owed: set[asyncio.Future[None]] = set()

    @property
    def state(self) -> State:
        """Where the plugin is in its life."""
        return self._life.state

    def refuse_if_failed(self) -> None:
        """Raise the error that has ended the plugin, if one has (LPI-13)."""
        if self._error is not None:
            raise self._error

    def went(self, step: Step, error: BaseException | None = None) -> None:
        """Take a step of the plugin's own, with the error that is the reason.

        While it ends, only a failure counts; while it connects, it is ready when its `connect` returns and not before.
        """
        is_coming = step is Step.READY and self._life.state is State.CONNECTING
        if not is_coming and (self._ending is None or step is Step.FAIL):
            self._take(step, error)

    def _take(self, step: Step, error: BaseException | None = None) -> None:
        before = self._life.state
        told = self._life.take(step)
        after = self._life.state
        if after is before:
            return
        if before is State.CONNECTED:
            self._drop()
        if after in (State.CONNECTING, State.RECONNECTING):
            self._settled = asyncio.get_running_loop().create_future()
        elif after is State.CONNECTED:
            self._gone = asyncio.get_running_loop().create_future()
            self._settle(None)
        else:
            self._settle(error or UnreachableError("disconnected"))
        if after is State.FAILED:
            self._error = error or UnreachableError("failed")
            self._cleaning = self._stop()
        for event in told:
            self._listeners.tell(event, *((self._error,) if event == "error" else ()))

    async def connect(self, limit_s: float | None) -> None:
        """Return when connected. Raises what refused the plugin, UnreachableError, or the error that has ended it."""
        while (ending := self._ending or self._given_up) is not None:
            await asyncio.wait({ending})
        self.refuse_if_failed()
        if self._life.state is State.CONNECTED:
            return
        if self._life.state is State.NEW:
            self._take(Step.CONNECT)
            self._attempt = asyncio.create_task(self._try(limit_s))
            self._attempt.add_done_callback(self._attempt_over)
            # The attempt keeps the time; only if it cannot be stopped, nobody waits for it for ever.
            limit_s = None if limit_s is None else limit_s + GRACE_S
        await self._until_settled(limit_s)

    async def disconnect(self) -> None:
        """Return when everything has ended; at once if nothing has begun."""
        if self._cleaning is not None:
            await asyncio.wait({self._cleaning})
        if self._ending is None:
            if self._life.state in (State.NEW, State.FAILED):
                return
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def while_connected(self, request: Coroutine[Any, Any, Result]) -> Result:
        """Return what the request returns; it is given up when the connection goes (UnreachableError).

        Raises NotConnectedError, and then the request has not begun.
        """
        if self._error is not None or self._gone is None or self._ending is not None:
            request.close()
            self.refuse_if_failed()
            raise NotConnectedError("not connected")
        task = asyncio.create_task(request)
        ends: set[asyncio.Future[Any]] = {task, self._gone}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise UnreachableError("the connection was lost before the answer came")
        finally:
            task.cancel()

    @contextmanager
    def owing(self) -> Iterator[None]:
        """Have an ending wait for this block: the peer is owed a reply."""
        reply = asyncio.get_running_loop().create_future()
        self._owed.add(reply)
        try:
            yield
        finally:
            self._owed.discard(reply)
            if not reply.done():
                reply.set_result(None)

    async def _try(self, limit_s: float | None) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._connect()
        except TimeoutError:
            error: Exception = UnreachableError("not connected in time")
        except asyncio.CancelledError:
            error = UnreachableError(_TOO_EARLY)
        except Exception as refused:  # noqa: BLE001 - whatever it is, it is for who waits
            error = refused
        else:
            if self._ending is None and self._life.state is State.CONNECTING:
                self._take(Step.READY)
                return
            error = UnreachableError(_TOO_EARLY)
        try:
            await self._let_go()
        finally:
            self._take(Step.REFUSED, error)

    def _attempt_over(self, attempt: asyncio.Task[None]) -> None:
        if self._given_up is attempt:
            self._given_up = None
        # One that was cancelled before its first step has told nobody.
        if self._attempt is attempt:
            self._attempt = None
            self._take(Step.REFUSED, UnreachableError(_TOO_EARLY))

    async def _until_settled(self, limit_s: float | None) -> None:
        if self._settled is None:
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(self._settled)
        except TimeoutError:
            raise UnreachableError("not connected in time") from None
        finally:
            self._waiting -= 1
            if self._waiting == 0 and self._life.state is State.CONNECTING and self._attempt is not None:
                # Everybody has gone who wanted this.
                self._given_up = self._attempt
                self._attempt.cancel()

    async def _end(self) -> None:
        try:
            if self._attempt is not None:
                self._attempt.cancel()
                await asyncio.wait({self._attempt})
            if self._life.state not in (State.CONNECTED, State.RECONNECTING):
                return
            if self._owed:
                await asyncio.wait(tuple(self._owed), timeout=GRACE_S)
            self._drop()
            try:
                await self._disconnect()
            finally:
                self._take(Step.DISCONNECT)
        finally:
            self._ending = None

    def _stop(self) -> asyncio.Task[None]:
        attempt = self._attempt
        is_own = attempt is asyncio.current_task()
        if attempt is None:
            return asyncio.create_task(self._let_go())
        if not is_own:
            attempt.cancel()
        return attempt  # which lets go of everything itself

    async def _let_go(self) -> None:
        try:
            await self._disconnect()
        except Exception as error:  # noqa: BLE001 - what went wrong before is what counts
            self._log.warn("letting go has failed: %s", type(error).__name__)

    def _drop(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None and not gone.done():
            gone.set_result(None)

    def _settle(self, error: BaseException | None) -> None:
        settled, self._settled = self._settled, None
        if settled is None or settled.done():
            return
        if error is None:
            settled.set_result(None)
        else:
            settled.set_exception(error)
            settled.exception()  # nobody may be waiting, and that is no fault
