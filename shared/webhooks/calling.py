"""One POST to a server that somebody else has named: to a checked address, within a time, up to a size.

No redirect is followed, no proxy of the environment is used, no cookie is kept and nothing is unpacked. Connections
are kept for the next call to the same server; each new one is checked again, and leads to the address that was
checked, while the name in the URL is what the certificate must be for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import httpx

from shared.webhooks.connections import BrokenConnectionError, Connection, Reply, connect
from shared.webhooks.errors import CallTimeoutError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from shared.webhooks.addresses import AddressGuard, Target

KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which common servers close: a call must not meet a connection that is just closing."""

_Server: TypeAlias = tuple[str, int, bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take."""

    connect_s: float = 5.0
    """Looking the name up, connecting and agreeing on TLS, each."""
    read_s: float = 10.0
    """Between one piece of the answer and the next."""
    total_s: float = 15.0
    """The whole call, waiting for a free connection included."""
    max_bytes: int = 65_536
    """Of the answer's body; the rest is not read."""


class Caller:
    """Calls servers, with a pool of connections. To be closed."""

    def __init__(
        self, guard: AddressGuard, *, max_connections: int = 20, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._guard = guard
        self._tls = ssl_context or httpx.create_ssl_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._room = asyncio.Semaphore(max_connections)
        self._max_kept = max_connections
        self._kept: OrderedDict[Connection, _Server] = OrderedDict()
        """Connections that are free, the one that is free for the longest time first."""
        self._used: set[Connection] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        for connection in [*self._kept, *self._used]:
            connection.close()
        self._kept.clear()

    async def post(
        self,
        url: Target | str,
        body: bytes,
        headers: Mapping[str, str],
        limits: Limits = Limits(),
    ) -> Reply:
        """Post a body; return the answer, whatever its status. Header names are in small letters.

        Raises InvalidUrlError, and CallError: ForbiddenAddressError and UnknownHostError (nothing was sent),
        UnreachableError, CallTimeoutError. A server that closes a kept connection at the wrong moment is such a
        failure too: nothing is sent twice here.
        """
        target = self._guard.read(url) if isinstance(url, str) else url
        request = _request(target, body, headers)
        try:
            async with asyncio.timeout(limits.total_s), self._room:
                return await self._exchange(target, request, limits)
        except TimeoutError as error:
            raise CallTimeoutError(f"{target.host} did not answer in time") from error
        except (BrokenConnectionError, OSError) as error:
            raise UnreachableError(f"the connection to {target.host} failed ({type(error).__name__})") from error

    async def _exchange(self, target: Target, request: bytes, limits: Limits) -> Reply:
        server = (target.host, target.port, target.is_plain)
        connection = self._free(server) or await self._connect(target, limits)
        self._used.add(connection)
        try:
            return await connection.exchange(request, read_s=limits.read_s, max_bytes=limits.max_bytes)
        finally:
            self._used.discard(connection)
            if connection.is_usable:
                self._keep(connection, server)

    def _free(self, server: _Server) -> Connection | None:
        """Return the connection to a server that was used last."""
        while connection := next((found for found, of in reversed(self._kept.items()) if of == server), None):
            del self._kept[connection]
            if connection.is_usable and connection.is_quiet:
                break
            connection.close()
        return connection

    def _keep(self, connection: Connection, server: _Server) -> None:
        self._kept[connection] = server
        connection.keep(KEEPALIVE_S)
        while len(self._kept) > self._max_kept or not next(iter(self._kept)).is_usable:
            self._kept.popitem(last=False)[0].close()

    async def _connect(self, target: Target, limits: Limits) -> Connection:
        """Connect to the first address of the host that lets us; unencrypted in the allowed networks only."""
        async with asyncio.timeout(limits.connect_s):
            addresses = await self._guard.addresses(target.host, is_plain=target.is_plain)
        tls = None if target.is_plain else self._tls
        for address in addresses[:-1]:
            try:
                return await connect(address, target.port, name=target.host, tls=tls, connect_s=limits.connect_s)
            except ssl.SSLError:
                raise
            except OSError:  # a time limit, too
                continue
        return await connect(addresses[-1], target.port, name=target.host, tls=tls, connect_s=limits.connect_s)


def _request(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a request. Raises ValueError for a header that would be more than one."""
    lines = [f"POST {target.path} HTTP/1.1", f"host: {target.authority}", "user-agent: Sluice"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}"]
    if any(character in line for line in lines for character in "\r\n\0"):
        raise ValueError("a header must be one line")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
