"""Which hosts we connect to when a stranger has named them: none that only we, from where we stand, can reach.

The name is resolved once, what it says is checked, and the connection is made to the address that was checked: a name
that says something else a moment later leads nowhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, TypeAlias

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddressError(WorkerError):
    """A host that a stranger has named is not to be connected to: it does not exist, or it is not public."""

    code = "forbidden_address"


async def resolve(host: str) -> list[str]:
    """Return the IP addresses of a host. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def public_address(host: str, resolve: Callable[[str], Awaitable[list[str]]] = resolve) -> str:
    """Return an address of a host to connect to. Raises ForbiddenAddressError if any of its addresses is not public."""
    try:
        addresses = await resolve(host)
    except (OSError, UnicodeError) as error:
        raise ForbiddenAddressError(f"the host {host} is not known") from error
    if not addresses or not all(map(is_public, addresses)):
        raise ForbiddenAddressError(f"the host {host} has no public address")
    return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open Internet, also in IPv6's ways of writing an IPv4 address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(_is_public(form) for form in (ip, *_inside(ip)))


def _inside(ip: _Address) -> list[_Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found: list[_Address | None] = [ip.ipv4_mapped, ip.sixtofour]
    if ip.teredo is not None:
        found += ip.teredo
    if ip in _NAT64:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
    return [form for form in found if form is not None]


def _is_public(ip: _Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return True  # what it leads to is looked at by itself
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
