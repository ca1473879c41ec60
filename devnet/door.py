"""A hub on a socket: any number of WebSocket clients on one port."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from websockets.asyncio.server import Server, ServerConnection, serve

from devnet.link import Link
from devnet.session import Session
from shared.obyte.hub_protocol import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from devnet.faults import Faults
    from devnet.hub import Hub


class Door:
    """One hub at `ws://host:port`; `port` 0 takes a free one and then keeps it."""

    def __init__(self, hub: Hub, host: str, port: int) -> None:
        self.hub = hub
        self._host = host
        self._port = port
        self._server: Server | None = None

    @property
    def faults(self) -> Faults:
        """What this hub does wrong."""
        return self.hub.faults

    @property
    def url(self) -> str:
        """Where clients connect, once started."""
        return f"ws://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self._port

    async def start(self) -> None:
        """Listen; after `stop` on the same port and with what the hub knows. Raises OSError."""
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            max_size=MAX_FRAME_BYTES,
            ping_interval=None,
            close_timeout=1,
            compression=None,
        )
        for socket in self._server.sockets:
            self._port = int(socket.getsockname()[1])

    async def stop(self) -> None:
        """Close every connection and listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, connection: ServerConnection) -> None:
        link = Link(connection, self.hub.faults)
        session = Session(
            self.hub, send=link.send, close=link.close_when_sent, cut=link.cut, is_local=_is_local(connection)
        )
        try:
            session.open()
            await link.run(session)
        finally:
            session.end()


def _is_local(connection: ServerConnection) -> bool:
    host = str(connection.remote_address[0]).partition("%")[0]
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
