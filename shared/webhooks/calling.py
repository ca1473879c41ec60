"""One POST to a server that somebody else has named: to a checked address, within a time, up to a size.

No redirect is followed, no proxy of the environment is used, no cookie is kept and nothing is unpacked. Connections
are kept for the next call to the same server; each new one is checked again, and leads to the address that was
checked, while the name in the URL is what the certificate must be for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpcore
import httpx

from shared.webhooks.errors import CallTimeoutError, UnreachableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from shared.webhooks.addresses import AddressGuard, Target

KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which common servers close: a call must not meet a connection that is just closing."""
_OK = range(200, 300)


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


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered. `headers`: names in small letters. `is_cut`: the body was longer than we read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_cut: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the status says that the call was taken."""
        return self.status in _OK


class Caller:
    """Calls servers, with a pool of connections. To be closed."""

    def __init__(
        self, guard: AddressGuard, *, max_connections: int = 20, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._guard = guard
        tls = ssl_context or httpx.create_ssl_context()
        # Two pools: what goes unencrypted may go to the allowed networks only.
        self._pools = {
            is_plain: httpcore.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=KEEPALIVE_S,
                network_backend=_CheckedNetwork(guard, is_plain=is_plain),
            )
            for is_plain in (False, True)
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            await pool.aclose()

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
        try:
            async with asyncio.timeout(limits.total_s):
                return await self._post(target, body, headers, limits)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise CallTimeoutError(f"{target.host} did not answer in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise UnreachableError(f"the connection to {target.host} failed ({type(error).__name__})") from error

    async def _post(self, target: Target, body: bytes, headers: Mapping[str, str], limits: Limits) -> Reply:
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        times = {"connect": limits.connect_s, "read": limits.read_s, "write": limits.read_s, "pool": limits.total_s}
        async with self._pools[target.is_plain].stream(
            "POST",
            url,
            headers=[("host", target.authority), ("user-agent", "Sluice"), *headers.items()],
            content=body,
            extensions={"timeout": times},
        ) as answer:
            content = bytearray()
            is_cut = False
            async for piece in answer.aiter_stream():
                content += piece
                if len(content) > limits.max_bytes:
                    is_cut = True
                    break
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        return Reply(answer.status, found, bytes(content[: limits.max_bytes]), is_cut)


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the guard has looked at, and to these exactly."""

    def __init__(self, guard: AddressGuard, *, is_plain: bool) -> None:
        self._guard = guard
        self._is_plain = is_plain
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that lets us. Raises CallError too."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.addresses(host, is_plain=self._is_plain)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)
