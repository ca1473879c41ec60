"""The local hub on a socket: one ledger, any number of WebSocket clients, a timer for the order provider."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from devnet.faults import Faults
from devnet.ledger import Ledger, LedgerEvent, UnitAdded
from devnet.session import Devices, Session
from devnet.watching import Watches
from shared.obyte.hub_protocol import MAX_FRAME_BYTES, Liveness
from shared.obyte.networks import DEVNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.networks import Network

log = logging.getLogger(__name__)

DEFAULT_PORT = 6611
PROVIDER_UNITS_TO_PROOF = 3
"""Two provider units make a unit stable, the third one vouches for that."""
MAX_WAITING_FRAMES = 10_000
LIVENESS_CHECK_S = 3.0


class Devnet:
    """A local ledger that speaks the hub's protocol on `ws://host:port`.

    `stabilise_after_s` is how long after its arrival a unit can be proven stable to a light client; one on stale
    parents takes up to a third longer. `port` 0 takes a free one. `clock` returns seconds since 1970; `seed` makes keys
    reproducible. All state is in memory, in `ledger`.
    """

    def __init__(
        self,
        port: int = DEFAULT_PORT,
        stabilise_after_s: float = 1.0,
        *,
        host: str = "127.0.0.1",
        network: Network = DEVNET,
        seed: bytes | None = None,
        clock: Callable[[], float] = time.time,
        tps_interval: float = 1_000,
    ) -> None:
        self.ledger = Ledger(network, seed=seed, clock=clock, tps_interval=tps_interval)
        self.faults = Faults()
        self._host = host
        self._port = port
        self._interval_s = stabilise_after_s / PROVIDER_UNITS_TO_PROOF
        self._watches = Watches()
        self._devices = Devices()
        self._links: set[_Link] = set()
        self._has_work = asyncio.Event()
        self._may_work = asyncio.Event()
        self._may_work.set()
        self._server: Server | None = None
        self._provider: asyncio.Task[None] | None = None
        self.ledger.subscribe(self._watches.tell)
        self.ledger.subscribe(self._notice)

    @property
    def url(self) -> str:
        """Where clients connect, once started."""
        return f"ws://{self._host}:{self.port}"

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        if self._server is not None:
            for socket in self._server.sockets:
                return int(socket.getsockname()[1])
        return self._port

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The order providers, for clients that pin them."""
        return self.ledger.state.system_vars.op_list

    async def start(self) -> None:
        """Listen and let time run; after `stop` on the same port and with the same ledger. Raises OSError."""
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            max_size=MAX_FRAME_BYTES,
            ping_interval=None,
            close_timeout=1,
            compression=None,
        )
        self._port = self.port
        self._provider = asyncio.create_task(self._provide())
        self._provider.add_done_callback(_report_failure)

    async def stop(self) -> None:
        """Close every connection. Raises what the order provider failed of, if it did."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        if self._provider is not None:
            self._provider.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._provider

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def pause(self) -> None:
        """Hold back stabilisation: units are taken, but the order provider posts nothing more."""
        self._may_work.clear()

    def resume(self) -> None:
        """Let the order provider post again."""
        self._may_work.set()

    async def stabilise(self) -> None:
        """Make all that was posted stable and provable now, paused or not, and let the news go out."""
        self.ledger.settle()
        await asyncio.sleep(0)

    def skip_time(self, seconds: float) -> None:
        """Let time pass at once on the ledger; clients whose clocks do not follow refuse its units from then on."""
        self.ledger.skip_time(seconds)

    def skip_agent_time(self, seconds: int) -> None:
        """Let channel timeouts elapse while clients keep their clocks."""
        self.ledger.skip_agent_time(seconds)

    def drop_connections(self) -> None:
        """Cut every connection without a word."""
        for link in list(self._links):
            link.cut()

    def _notice(self, event: LedgerEvent) -> None:
        if isinstance(event, UnitAdded) and not event.record.is_provider:
            self._has_work.set()

    async def _provide(self) -> None:
        while True:
            await self._has_work.wait()
            await asyncio.sleep(self._interval_s)
            await self._may_work.wait()
            if self.ledger.is_settled:
                self._has_work.clear()
            else:
                self.ledger.advance()

    async def _serve(self, connection: ServerConnection) -> None:
        link = _Link(connection)
        session = Session(
            self.ledger,
            self._watches,
            self._devices,
            self.faults,
            send=link.send,
            close=link.close_when_sent,
            cut=link.cut,
        )
        self._links.add(link)
        try:
            session.open()
            await link.run(session)
        finally:
            self._links.discard(link)
            session.end()


def _report_failure(provider: asyncio.Task[None]) -> None:
    if not provider.cancelled() and provider.exception() is not None:
        log.critical("the order provider has failed, nothing becomes stable any more", exc_info=provider.exception())


class _Link:
    """Moves frames between a socket and a session, in order, without letting one slow client hold up the ledger."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._frames: asyncio.Queue[str | None] = asyncio.Queue(MAX_WAITING_FRAMES)
        self._loop = asyncio.get_running_loop()

    async def run(self, session: Session) -> None:
        """Serve until either side ends the connection."""
        liveness = Liveness(self._loop.time())
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write())
            checker = tasks.create_task(self._check(session, liveness))
            try:
                async for frame in self._connection:
                    liveness.heard(self._loop.time())
                    if isinstance(frame, str):
                        session.receive(frame)
            except ConnectionClosed:
                pass
            finally:
                writer.cancel()
                checker.cancel()

    def send(self, frame: str, delay_s: float) -> None:
        """Queue a frame, now or later; a client that reads nothing for too long is cut off."""
        if delay_s:
            self._loop.call_later(delay_s, self._queue, frame)
        else:
            self._queue(frame)

    def close_when_sent(self) -> None:
        """End the connection after what is queued."""
        self._queue(None)

    def cut(self) -> None:
        """End the connection at once."""
        self._connection.transport.abort()

    def _queue(self, frame: str | None) -> None:
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            log.warning("a client does not read its frames, cutting it off")
            self.cut()

    async def _write(self) -> None:
        while True:
            frame = await self._frames.get()
            try:
                if frame is None:
                    await self._connection.close()
                    return
                await self._connection.send(frame)
            except ConnectionClosed:
                return

    async def _check(self, session: Session, liveness: Liveness) -> None:
        while True:
            await asyncio.sleep(LIVENESS_CHECK_S)
            match liveness.check(self._loop.time()):
                case "ask":
                    session.heartbeat()
                case "dead":
                    self.cut()
                case _:
                    pass
