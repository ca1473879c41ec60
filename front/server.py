"""The front under gunicorn: one arbiter, one or more serving processes on the same listeners, which leave in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import sys
import time
from socket import create_server
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from front.app import create_app
from front.bodies import MAX_BODY_BYTES
from front.connections import FRESH_S, REQUEST_S, BoundedHttp, Stage, raise_file_limit
from front.draining import ClosingConnections, Phase, has_queue, turn_away
from front.hot_posts import HotHttp
from front.rpc.local import HOST
from shared.logs import configure_logging, get_logger
from shared.receiving.answers_over_http import answer_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket
    from types import FrameType

    from fastapi import FastAPI
    from uvicorn.config import Config

    from shared.settings import Settings

logger = get_logger(__name__)

FINISH_S = 15
"""What is being answered when a front leaves is finished within this; a payment may wait 8 s for its funding and its
answer, an order 10 s for its outcome."""
STREAMS_S = 3.0
"""Sockets finish the calls under way, and say goodbye, within this."""
CLOSE_S = 7
"""For what is left then: committing what waits, closing the pool."""

BACKLOG = 2048
_HANDED_OVER = "fd://"
KEEP_ALIVE_S = 75
"""Longer than balancers keep their idle connections (60 s), so that the side that closes is never us in mid-request."""

_HANDSHAKE_S = 0.02
"""A handshake with a balancer that has begun is over within this."""
_LOOK_S = 0.02
_TICKS_PER_S = 10
_ALLOCATIONS = 20_000
"""Between two garbage collections, instead of 700."""


def stop_bound_s(settings: Settings) -> float:
    """Return within how many seconds a front that is told to stop has stopped. Whoever kills must wait longer."""
    return settings.drain_wait_s + STREAMS_S + FINISH_S + CLOSE_S


class DrainingServer(Server):
    """Serves in one process, and leaves as `front.draining` describes."""

    def __init__(self, config: Config, app: FastAPI, phase: Phase, *, wait_s: float) -> None:
        config.app = ClosingConnections(app)
        super().__init__(config)
        self._state = app.state
        self._phase = phase
        self._wait_s = wait_s
        self._leaves_at_s: float | None = None
        self._stopped_listening = False
        self._sockets: list[socket] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave at the first SIGTERM; hasten at the second, or at once when told by SIGINT."""
        if sig != signal.SIGTERM or self._leaves_at_s is not None:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        self._leaves_at_s = time.monotonic() + self._wait_s
        self._state.draining.is_announced = self._phase.is_leaving
        self._state.draining.closes_connections = True

    def hasten(self) -> None:
        """Leave without waiting for balancers."""
        self.should_exit = True

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to serve."""
        self._sockets = sockets or []
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections, ten times a second; return whether to leave now."""
        if counter % _TICKS_PER_S == 0:
            self._give_up_slow_ones()
        if self._leaves_at_s is not None:
            if not self._phase.is_leaving:
                # Another process of this front listens on: nothing new is for this one.
                await self._stop_listening()
            if time.monotonic() >= self._leaves_at_s or not (self._phase.is_leaving or self.server_state.connections):
                return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:  # noqa: ARG002 - we know them
        """Turn new ones away, let streams and sockets end, finish what is being answered, and stop."""
        logger.info("front_leaves", connections=len(self.server_state.connections))
        self._state.draining.is_announced = self._phase.is_leaving
        self._state.draining.closes_connections = True
        await self._stop_listening()
        self._state.draining.streams_end.set()
        self._state.feed.end()
        self._state.rpc.end()
        await self._close_idle_ones()
        await super().shutdown()  # the listeners are closed

    async def _stop_listening(self) -> None:
        if self._stopped_listening:
            return
        self._stopped_listening = True
        if self._phase.listeners_are_ours:
            for listener in self._sockets:
                turn_away(listener)
            await self._accept_who_waits()
        for server in self.servers:
            server.close()
        for listener in self._sockets:
            listener.close()

    async def _accept_who_waits(self) -> None:
        """Return when nobody waits any more; the loop accepts meanwhile."""
        latest_s = time.monotonic() + FRESH_S
        await asyncio.sleep(_HANDSHAKE_S)
        while any(has_queue(listener) for listener in self._sockets):
            await asyncio.sleep(_LOOK_S)
            if time.monotonic() > latest_s:
                return

    async def _close_idle_ones(self) -> None:
        """Close connections that nobody uses; return when only those are left that are being answered."""
        began_s = time.monotonic()
        while True:
            passed_s = time.monotonic() - began_s
            others = [each for each in self.server_state.connections if not isinstance(each, BoundedHttp)]
            https = [each for each in self.server_state.connections if isinstance(each, BoundedHttp)]
            # What has arrived at this very moment is read first; whoever has just connected is about to ask.
            unread = [each for each in https if each.has_unread] if passed_s < FRESH_S else []
            fresh = [each for each in https if each.stage is Stage.FRESH] if passed_s < FRESH_S else []
            for each in https:
                if each.stage is Stage.IDLE and each not in unread:
                    each.transport.close()
            waits = bool(unread or fresh) or (bool(others) and passed_s < STREAMS_S)
            if self.force_exit or not waits:
                return
            await asyncio.sleep(_LOOK_S)

    def _give_up_slow_ones(self) -> None:
        given_up_s = time.monotonic() - REQUEST_S
        for each in list(self.server_state.connections):
            if isinstance(each, BoundedHttp) and each.waits_since_s is not None and each.waits_since_s < given_up_s:
                each.give_up()


def _spare_garbage_collection() -> None:
    """Look through what was made at the start no more, and through what is made for requests less often.

    Nearly all of it goes without: what is left are the cycles that exceptions and closed connections leave behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)


class FrontWorker(UvicornWorker):  # type: ignore[misc]
    """A worker process that serves HTTP as uvicorn does, and tells nobody which software it is."""

    CONFIG_KWARGS = {  # noqa: RUF012 - the base class's own hook
        "loop": "auto",
        "http": HotHttp,
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # whose word is taken for whom is for `front.limits` to say
        "timeout_graceful_shutdown": FINISH_S,
        "ws_max_size": MAX_BODY_BYTES,
    }

    async def _serve(self) -> None:
        """Serve as the base class does, with a server that drains."""
        _spare_garbage_collection()
        server = DrainingServer(self.config, self.wsgi, self.app.phase, wait_s=self.app.settings.drain_wait_s)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.hasten)
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class FrontArbiter(Arbiter):  # type: ignore[misc]
    """Tells its processes whether all of them leave, and passes on that somebody is in a hurry."""

    _is_stopping = False
    _hastened = False

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - as the base class has it
        """Stop all processes; returns when they have ended."""
        inherited = self.systemd or any(address.startswith(_HANDED_OVER) for address in self.cfg.bind)
        replaced = self.reexec_pid != 0 or self.master_pid != 0
        self.app.phase.leave(listeners_are_ours=not inherited and not replaced)
        self._is_stopping = True
        super().stop(graceful)

    def signal(self, sig: int, frame: FrameType | None) -> None:
        """Pass a second SIGTERM or SIGINT on; the one after it ends everything soon, as gunicorn does."""
        if self._is_stopping and not self._hastened and sig in {signal.SIGTERM, signal.SIGINT}:
            self._hastened = True
            self.kill_workers(signal.SIGQUIT)
            return
        super().signal(signal.SIGINT if self._is_stopping and sig == signal.SIGTERM else sig, frame)


class FrontLogger(Logger):  # type: ignore[misc]
    """Sends gunicorn's own messages the way of all others, through `shared.logs`."""

    def setup(self, cfg: Any) -> None:
        """Take the handlers of the root logger instead of gunicorn's."""
        super().setup(cfg)
        self.error_log.handlers = logging.getLogger().handlers
        self.access_log.handlers = []


class FrontServer(BaseApplication):  # type: ignore[misc]
    """Gunicorn with our settings in place of its command line and files."""

    def __init__(self, settings: Settings, options: dict[str, Any], *, local_rpc_port: int | None = None) -> None:
        """Raise SettingsError for what every serving process would fail at."""
        answer_server(settings)
        self.settings = settings
        self.phase = Phase()
        self._options = options
        self._local_rpc_port = local_rpc_port
        configure_logging(settings)
        raise_file_limit()
        super().__init__()

    def run(self) -> None:
        """Serve until told to stop."""
        FrontArbiter(self).run()

    def load_config(self) -> None:
        """Give gunicorn its options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> FastAPI:
        """Make the application, in each worker process."""
        return create_app(self.settings, local_rpc_port=self._local_rpc_port)


class ListenersError(Exception):
    """The front cannot listen on these addresses together."""

    code = "bad_listeners"


def gunicorn_options(
    settings: Settings,
    *,
    binds: Sequence[str] = (),
    workers: int = 1,
    reuse_port: bool = False,
    local_rpc_port: int | None = None,
) -> dict[str, Any]:
    """Return gunicorn's options.

    `binds`: each `host:port`, `unix:/path` or `fd://N`; none means the address of the settings. `local_rpc_port`: for
    JSON-RPC without a key on loopback, which all serving processes share. Raises ListenersError.
    """
    host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host
    addresses = list(binds) or [f"{host}:{settings.port}"]
    if local_rpc_port is not None:
        if any(address.rpartition(":")[2] == str(local_rpc_port) for address in addresses):
            raise ListenersError(f"port {local_rpc_port} is the front's own: JSON-RPC without a key needs another one")
        # On loopback and nowhere else: whoever reaches it can spend.
        addresses.append(f"{HOST}:{local_rpc_port}")
    if any(address.startswith(_HANDED_OVER) for address in addresses):
        # Beside listeners that it was handed over gunicorn opens none, and says nothing.
        addresses = [each if each.startswith(_HANDED_OVER) else _opened(each, local_rpc_port) for each in addresses]
    return {
        "bind": addresses,
        "workers": workers,
        "reuse_port": reuse_port,
        "worker_class": FrontWorker,
        "logger_class": FrontLogger,
        "loglevel": settings.log_level,
        "proc_name": "sluice-front",
        "keepalive": KEEP_ALIVE_S,
        "graceful_timeout": math.ceil(stop_bound_s(settings)),
        "timeout": 30,
        "backlog": BACKLOG,
        "control_socket_disable": True,
    }


def _opened(address: str, local_rpc_port: int | None) -> str:
    if address != f"{HOST}:{local_rpc_port}":
        raise ListenersError(f"{address}: the front opens no address beside listeners that it was handed over")
    try:
        listener = create_server((HOST, local_rpc_port), backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ListenersError(f"cannot listen on {address}: {reason}") from error
    return f"{_HANDED_OVER}{listener.detach()}"


def serve(
    settings: Settings,
    *,
    binds: Sequence[str] = (),
    workers: int = 1,
    reuse_port: bool = False,
    local_rpc_port: int | None = None,
) -> None:
    """Run the front until it is told to stop. Options as in `gunicorn_options`."""
    options = gunicorn_options(
        settings, binds=binds, workers=workers, reuse_port=reuse_port, local_rpc_port=local_rpc_port
    )
    FrontServer(settings, options, local_rpc_port=local_rpc_port).run()
