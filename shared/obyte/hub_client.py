"""One WebSocket connection to a hub, for a light client (Obyte, network protocol).

A `HubClient` lives as long as its connection: it never reconnects. Its owner makes a new one with back-off and repeats
watches and history, because a hub forgets them with the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from shared.obyte.errors import HubError
from shared.obyte.hub_errors import HubClosedError, HubRequestError, HubTimeoutError
from shared.obyte.hub_protocol import (
    MAX_FRAME_BYTES,
    Event,
    Fatal,
    HubProtocol,
    Justsaying,
    Liveness,
    PeerVersion,
    Reply,
    Response,
)
from shared.obyte.hub_requests import LightRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MAX_NOTIFICATIONS = 10_000
HEARTBEAT_CHECK_S = 3.0


class HubClient(LightRequests):
    """A connection to the hub at `url` (`wss://…`; plain `ws://` only on devnet or to the own machine).

    `notifications` holds what the hub says unasked, in order. It is bounded: when its reader is too slow the
    connection is closed with `notifications_overflow`, because a lost notification would be worse. `clock` gives
    monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 (all but two are tuning)
        self,
        url: str,
        network: Network,
        *,
        program: str = "sluice",
        program_version: str = "0.1.0",
        request_timeout_s: float = 30,
        max_notifications: int = MAX_NOTIFICATIONS,
        heartbeat_check_s: float = HEARTBEAT_CHECK_S,
        clock: Callable[[], float] = time.monotonic,
        tag_factory: Callable[[], str] | None = None,
        connect_to: str | None = None,
    ) -> None:
        """Take the URL; `connect_to` is an IP address to connect to in place of what the host's name says then."""
        self.url = url
        self._connect_to = connect_to
        self.network = network
        self.notifications: asyncio.Queue[Justsaying] = asyncio.Queue(max_notifications)
        self._protocol = HubProtocol(
            "client", network, program=program, program_version=program_version, tag_factory=tag_factory
        )
        self._request_timeout_s = request_timeout_s
        self._heartbeat_check_s = heartbeat_check_s
        self._clock = clock
        self._liveness = Liveness(clock())
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[JsonValue]] = {}
        self._introduced = asyncio.Event()
        self._closed = asyncio.Event()
        self._news = asyncio.Event()
        self._close_error: HubClosedError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_open(self) -> bool:
        """Whether requests can be made now."""
        return self._introduced.is_set() and not self._closed.is_set()

    async def __aenter__(self) -> Self:
        """Connect; the connection is closed on leaving."""
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the connection and wait for the hub's version; once per object.

        Raises HubClosedError (`unreachable`, `insecure_url`, `wrong_network`, `bad_version`, …) or HubTimeoutError.
        """
        if self._socket is not None or self._closed.is_set():
            raise HubClosedError("not_connected", "a hub client connects once: make a new one")
        _check_url(self.url, self.network)
        # A checked address is used as checked: no other one of the name, no proxy, no redirect to elsewhere.
        pinned: dict[str, Any] = {} if self._connect_to is None else {"host": self._connect_to, "proxy": None}
        try:
            self._socket = await connect(
                self.url,
                max_size=MAX_FRAME_BYTES,
                open_timeout=self._request_timeout_s,
                close_timeout=2,
                ping_interval=None,
                **pinned,
            )
        except (OSError, TimeoutError, WebSocketException, ValueError) as error:
            self._finish(HubClosedError("unreachable", f"cannot connect to the hub: {error}"))
            raise HubClosedError("unreachable", f"cannot connect to the hub: {error}") from error
        self._liveness = Liveness(self._clock())
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._stay_alive())]
        try:
            async with asyncio.timeout(self._request_timeout_s):
                await self._send(self._protocol.version())
                await self._introduced.wait()
        except TimeoutError:
            await self.close()
            raise HubTimeoutError("version", self._request_timeout_s) from None
        except BaseException:
            await self.close()
            raise
        if self._close_error is not None:
            await self.close()
            raise self._close_error

    async def request(self, command: str, params: JsonValue = None, *, timeout_s: float | None = None) -> JsonValue:
        """Ask the hub and return its answer (None when it has none).

        Raises HubRequestError, HubTimeoutError, HubClosedError, or HubProtocolError when too many are pending.
        """
        self._check_open()
        limit_s = self._request_timeout_s if timeout_s is None else timeout_s
        tag, frame = self._protocol.request(command, params)
        answer: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
        self._answers[tag] = answer
        try:
            async with asyncio.timeout(limit_s):
                await self._send(frame)
                return await answer
        except _RefusedError as refusal:
            raise HubRequestError(command, str(refusal)) from None
        except TimeoutError:
            raise HubTimeoutError(command, limit_s) from None
        finally:
            del self._answers[tag]
            self._protocol.give_up(tag)

    async def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Tell the hub something that has no answer. Raises HubClosedError."""
        self._check_open()
        await self._send(self._protocol.justsaying(subject, body))

    async def next_notification(self) -> Justsaying:
        """Return the next notification; when none is left on a closed connection, raises its HubClosedError."""
        while self.notifications.empty():
            if self._closed.is_set():
                raise self._reason()
            self._news.clear()
            await self._news.wait()
        return self.notifications.get_nowait()

    async def wait_closed(self) -> HubClosedError:
        """Wait until the connection has ended and return why."""
        await self._closed.wait()
        return self._reason()

    async def close(self) -> None:
        """End the connection; pending requests fail with HubClosedError `closed_by_us`. May be called again."""
        self._finish(HubClosedError("closed_by_us", "the connection to the hub was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    async def _read(self) -> None:
        assert self._socket is not None  # noqa: S101 (the task starts after the connection is made)
        reason = HubClosedError("closed_by_hub", "the hub closed the connection")
        try:
            async for message in self._socket:
                self._liveness.heard(self._clock())
                if isinstance(message, str):
                    for event in self._protocol.receive(message):
                        await self._handle(event)
        except HubClosedError as error:
            reason = error
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == _MESSAGE_TOO_BIG:
                reason = HubClosedError("frame_too_large", "the hub sent a frame over the limit")
        finally:
            self._finish(reason)
        with contextlib.suppress(WebSocketException, OSError):
            await self._socket.close()

    async def _handle(self, event: Event) -> None:
        match event:
            case Response(tag=tag, value=value, error=error):
                answer = self._answers.get(tag)
                if answer is not None and not answer.done():
                    answer.set_result(value) if error is None else answer.set_exception(_RefusedError(error))
            case Justsaying():
                try:
                    self.notifications.put_nowait(event)
                except asyncio.QueueFull:
                    raise HubClosedError("notifications_overflow", "notifications were not read in time") from None
                self._news.set()
            case Reply(frame=frame):
                await self._send(frame)
            case PeerVersion():
                self._introduced.set()
            case Fatal(code=code, text=text):
                raise HubClosedError(code, text)
            case _:
                pass

    async def _stay_alive(self) -> None:
        with contextlib.suppress(HubError):
            while True:
                await asyncio.sleep(self._heartbeat_check_s)
                match self._liveness.check(self._clock()):
                    case "ask":
                        frame = self._protocol.heartbeat()
                        if frame is not None:
                            await self._send(frame)
                    case "dead" if self._protocol.peer_wants_heartbeats:
                        self._finish(HubClosedError("hub_silent", "the hub did not answer a heartbeat"))
                        self._tasks[0].cancel()
                        if self._socket is not None:
                            self._socket.transport.abort()
                        return
                    case _:
                        pass

    async def _send(self, frame: str) -> None:
        if self._socket is None or self._closed.is_set():
            raise self._reason()
        try:
            await self._socket.send(frame)
        except (ConnectionClosed, OSError) as error:
            raise HubClosedError("closed_by_hub", "the hub closed the connection") from error

    def _finish(self, reason: HubClosedError) -> None:
        if self._closed.is_set():
            return
        self._close_error = reason
        self._protocol.close()
        self._closed.set()
        self._introduced.set()
        self._news.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._reason())

    def _check_open(self) -> None:
        if not self.is_open:
            raise self._reason()

    def _reason(self) -> HubClosedError:
        error = self._close_error
        if error is None:
            return HubClosedError("not_connected", "not connected to the hub")
        return HubClosedError(error.code, error.text)


class _RefusedError(Exception):
    """Carries the hub's error text from the reader to the request that waits."""


_MESSAGE_TOO_BIG = 1009


def _check_url(url: str, network: Network) -> None:
    parts = urlsplit(url)
    if parts.scheme == "wss" or (
        parts.scheme == "ws" and (network.name == "devnet" or _is_own_machine(parts.hostname))
    ):
        return
    raise HubClosedError("insecure_url", "the hub's URL must start with wss:// (ws:// only on devnet or loopback)")


def _is_own_machine(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
