"""The front under gunicorn: one arbiter, one or more worker processes on the same listeners, stopped by draining."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from front.app import create_app
from front.bodies import MAX_BODY_BYTES
from front.rpc.local import HOST
from shared.logs import configure_logging
from shared.receiving.answers_over_http import answer_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

    from fastapi import FastAPI

    from shared.settings import Settings

DRAIN_S = 15
"""A stopping worker finishes requests that are under way within this; a payment may wait 8 s for its funding."""

KEEP_ALIVE_S = 75
"""Longer than balancers keep their idle connections (60 s), so that the side that closes is never us in mid-request."""


class DrainingServer(Server):
    """A server that ends the streams of events when it stops: they would hold it up until they are cut off."""

    app: FastAPI

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Tell those who follow or wait to go elsewhere, then stop in order."""
        self.app.state.feed.end()
        self.app.state.rpc.end()
        await super().shutdown(sockets)


class FrontWorker(UvicornWorker):  # type: ignore[misc]
    """A worker process that serves HTTP as uvicorn does, and tells nobody which software it is."""

    CONFIG_KWARGS = {  # noqa: RUF012 - the base class's own hook
        "loop": "auto",
        "http": "auto",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # whose word is taken for whom is for `front.limits` to say
        "timeout_graceful_shutdown": DRAIN_S,
        "ws_max_size": MAX_BODY_BYTES,
    }

    async def _serve(self) -> None:
        """Serve as the base class does, with a server that lets readers of streams go when it stops."""
        self.config.app = self.wsgi
        server = DrainingServer(self.config)
        server.app = self.wsgi
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


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
        self._settings = settings
        self._options = options
        self._local_rpc_port = local_rpc_port
        configure_logging(settings)
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> FastAPI:
        """Make the application, in each worker process."""
        return create_app(self._settings, local_rpc_port=self._local_rpc_port)


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
    return {
        "bind": addresses,
        "workers": workers,
        "reuse_port": reuse_port,
        "worker_class": FrontWorker,
        "logger_class": FrontLogger,
        "loglevel": settings.log_level,
        "proc_name": "sluice-front",
        "keepalive": KEEP_ALIVE_S,
        "graceful_timeout": DRAIN_S + 5,
        "timeout": 30,
        "backlog": 2048,
        "control_socket_disable": True,
    }


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
