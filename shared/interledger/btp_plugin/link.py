"""One BTP connection on one WebSocket: `BtpConnection` says what to do, here it is done.

The reader takes one message after the other, and sends what it has to send before it takes the next: who does not read
our answers is not listened to either. Requests are answered by tasks of their own. A peer that takes nothing for as
long as an answer may take is cut off, for the WebSocket's pings would wait behind what it does not take.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from shared.interledger.btp import refusals
from shared.interledger.btp.connection import BtpConnection
from shared.interledger.btp.events import (
    Answered,
    Close,
    CloseCode,
    DataRequested,
    Event,
    Failed,
    Ignored,
    LoggedIn,
    LoginRefused,
    LoginRequested,
    MessageRequested,
    Refused,
    Send,
    TransferRequested,
)
from shared.interledger.btp.subprotocols import entries_for, ilp_of
from shared.interledger.errors import EncodingError, StateError
from shared.interledger.plugin.errors import (
    BtpError,
    InvalidFieldsError,
    LedgerPluginError,
    MoneyNotSentError,
    NotConnectedError,
    UnreachableError,
    refusal_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from websockets.asyncio.connection import Connection

    from shared.interledger.btp.connection import Role
    from shared.interledger.btp.frames import Entries
    from shared.interledger.btp.limits import Limits
    from shared.interledger.btp.login import Login
    from shared.interledger.btp.subprotocols import Value
    from shared.interledger.btp_plugin.workers import Workers
    from shared.interledger.plugin.log import Log

_MAX_REASON_BYTES = 123


class FrameTooLargeError(InvalidFieldsError, MoneyNotSentError):
    """What should be sent fits into no frame. Its name is InvalidFieldsError."""

    name = "InvalidFieldsError"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has links: what a peer asks is for him, and what becomes of the connection.

    `judge` gives the reason for which a peer is not let in, None to let it in. `opened` takes a link whose two sides
    know each other. `on_data` gives the reply to an ILP packet, `on_message` the answer to a message of one of the
    names in `reads`, `on_transfer` the answer to money, which is stored by then; what they raise becomes a refusal.
    """

    judge: Callable[[Login], str | None]
    opened: Callable[[Link], None]
    on_data: Callable[[bytes], Awaitable[bytes]]
    on_message: Callable[[str, Entries], Awaitable[Entries]]
    on_transfer: Callable[[int, Entries], Awaitable[Entries]]
    reads: frozenset[str]
    limits: Limits
    workers: Workers
    utc: Callable[[], datetime]
    log: Log


class Link:
    """One connection, until it is over."""

    def __init__(self, role: Role, socket: Connection, owner: Owner) -> None:
        self.socket = socket
        self.was_open = False
        self.refused: LoginRefused | None = None
        self._owner = owner
        self._log = owner.log
        self._loop = asyncio.get_running_loop()
        self._connection = BtpConnection(
            role, now_s=self._loop.time(), utc=owner.utc, reads=owner.reads, limits=owner.limits
        )
        self._answers: dict[int, asyncio.Future[Entries]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Its whole life

    async def log_in(self, *, username: str, token: str, flags: Mapping[str, Value]) -> None:
        """Say who we are; then `run`. Raises EncodingError."""
        frame = self._connection.log_in(self._loop.time(), username=username, token=token, flags=flags)
        await self._send(frame)

    async def run(self) -> None:
        """Return when the connection is over; what we asked over it has failed by then."""
        self._arm()
        try:
            async for message in self.socket:
                await self._take(self._connection.receive(message))
        except ConnectionClosed:
            pass
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for event in self._connection.lost():
                self._settle(event)

    def replace(self) -> None:
        """Close because the peer has come by another socket (BTP-12)."""
        events = self._connection.close(CloseCode.REPLACED, "replaced by a newer connection")
        for event in events:
            self._settle(event)
        self._later(events)

    # Asking

    async def ask_data(self, data: bytes) -> bytes:
        """Send an ILP packet and return the reply, empty if there was none in the answer (BTP-20). Raises as `ask`."""
        return ilp_of(await self.ask(entries_for(ilp=data))) or b""

    async def ask(self, entries: Entries) -> Entries:
        """Send a MESSAGE and return the answer.

        Raises BtpError; UnreachableError if nobody knows; NotConnectedError or FrameTooLargeError if nothing was sent.
        """
        return await self._asked(lambda: self._connection.ask(entries, self._loop.time()))

    async def pay(self, amount: int, entries: Entries) -> Entries:
        """Send a TRANSFER and return the answer. Raises as `ask`."""
        return await self._asked(lambda: self._connection.pay(amount, entries, self._loop.time()))

    async def _asked(self, make: Callable[[], tuple[int, bytes]]) -> Entries:
        try:
            request_id, frame = make()
        except StateError as error:
            raise NotConnectedError(str(error)) from None
        except EncodingError as error:
            raise FrameTooLargeError(str(error)) from None
        answer: asyncio.Future[Entries] = self._loop.create_future()
        self._answers[request_id] = answer
        self._arm()
        try:
            await self._send(frame)
            return await answer
        finally:
            # Also if nobody waits any longer: a late answer is ignored then (LPI-26).
            self._answers.pop(request_id, None)
            self._connection.forget(request_id)

    # What the connection says

    async def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Send(frame):
                    await self._send(frame)
                case Close(code, reason):
                    short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
                    await self.socket.close(int(code), short)
                case LoginRequested(login):
                    await self._judge(login)
                case LoggedIn():
                    self.was_open = True
                    self._owner.opened(self)
                case DataRequested(request_id, data):
                    self._answer(request_id, lambda data=data: self._data(data))  # type: ignore[misc]
                case MessageRequested(request_id, name, entries):
                    self._answer(request_id, lambda n=name, e=entries: self._owner.on_message(n, e))  # type: ignore[misc]
                case TransferRequested(request_id, amount, entries):
                    self._answer(request_id, lambda a=amount, e=entries: self._owner.on_transfer(a, e))  # type: ignore[misc]
                case _:
                    self._settle(event)
        self._arm()

    def _settle(self, event: Event) -> None:
        match event:
            case Answered(request_id, entries):
                self._answered(request_id, entries)
            case Refused(request_id, error):
                self._answered(request_id, BtpError.of(error))
            case Failed(request_id, "timed_out"):
                self._answered(request_id, UnreachableError("the peer has not answered in time"))
            case Failed(request_id):
                self._answered(request_id, UnreachableError("the connection was lost before the answer came"))
            case LoginRefused():
                self.refused = event
            case Ignored(reason):
                self._log.debug("a frame was ignored: %s", reason)

    def _answered(self, request_id: int, outcome: Entries | LedgerPluginError) -> None:
        answer = self._answers.get(request_id)
        if answer is None or answer.done():
            return
        if isinstance(outcome, LedgerPluginError):
            answer.set_exception(outcome)
            answer.exception()  # who asked may be about to give up, and that is no fault
        else:
            answer.set_result(outcome)

    async def _judge(self, login: Login) -> None:
        refusal = self._owner.judge(login)
        if refusal is not None:
            await self._take(self._connection.reject(refusal))
            return
        events = self._connection.accept()
        self.was_open = True
        self._owner.opened(self)
        await self._take(events)

    # Answering

    async def _data(self, data: bytes) -> Entries:
        return entries_for(ilp=await self._owner.on_data(data))

    def _answer(self, request_id: int, work: Callable[[], Awaitable[Entries]]) -> None:
        if self._owner.workers.has_room:
            self._owner.workers.start(self._answer_by(request_id, work))
        else:
            frame = self._connection.refuse(request_id, refusals.UNREACHABLE, "too many requests are being answered")
            self._later([Send(frame)])

    async def _answer_by(self, request_id: int, work: Callable[[], Awaitable[Entries]]) -> None:
        try:
            frame = await self._answer_of(request_id, work)
        except StateError:
            return  # the connection is gone, and who asked with it
        await self._send(frame)

    async def _answer_of(self, request_id: int, work: Callable[[], Awaitable[Entries]]) -> bytes:
        try:
            entries = await work()
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a refusal
            if not isinstance(error, LedgerPluginError):
                self._log.error("a request could not be handled: %s", type(error).__name__)
            return self._connection.refuse(request_id, *refusal_of(error))
        try:
            return self._connection.respond(request_id, entries)
        except EncodingError:
            return self._connection.refuse(request_id, refusals.NOT_ACCEPTED, "the answer fits into no frame")

    # The socket and the clock

    async def _send(self, frame: bytes) -> None:
        try:
            async with asyncio.timeout(self._owner.limits.response_s):
                await self.socket.send(frame)
        except TimeoutError:
            self._log.warn("the peer takes nothing any longer: cut off")
            self.socket.transport.abort()
        except ConnectionClosed:
            pass  # `run` sees it, too, and fails what was asked

    def _arm(self) -> None:
        deadline = self._connection.next_deadline_s
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._later(self._connection.tick(self._loop.time()))

    def _later(self, events: list[Event]) -> None:
        task = self._loop.create_task(self._take(events))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
