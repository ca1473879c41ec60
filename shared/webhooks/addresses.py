"""Which servers may be called when somebody else has named them: none that only we, from where we stand, can reach.

A URL is read once, by our own rules, and what was read is what is called. Its host is resolved once for each
connection, every address that the name has is looked at, and the connection goes to an address that was looked at: a
name that says something else a moment later leads nowhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from shared.webhooks.errors import ForbiddenAddressError, InvalidUrlError, UnknownHostError
from shared.webhooks.resolving import Resolver

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

MAX_URL = 2048
MAX_HOST = 253
MAX_ADDRESSES = 16
"""More addresses of one name are not looked at: the name is refused."""
_FIRST_FREE_PORT = 1024
_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")

_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in [
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a provider's translation
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number, a cloud's own service by use
        "169.254.0.0/16",  # link-local: metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments: another cloud's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    ]
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""All that was ever given out; everything else is local, reserved or leads into another network."""
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in [
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    ]
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as it was read. `host` is a name in small letters or an address without brackets, `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_plain(self) -> bool:
        """Whether what is sent can be read on the way."""
        return self.scheme == "http"

    @property
    def authority(self) -> str:
        """Host and port, as the header `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def read_url(text: str, *, allows_http: bool = False) -> Target:
    """Return what a URL names. Raises InvalidUrlError.

    https (http only where allowed), a host, port 443 (80) or one from 1024 on, no user name, password or fragment,
    printable ASCII of at most 2 048 characters: a name in other letters is written as `xn--`.
    """
    if len(text) > MAX_URL:
        raise InvalidUrlError(f"must not be longer than {MAX_URL} characters")
    # Characters that parsers read in different ways; some are silently dropped.
    if not all("!" <= character <= "~" for character in text) or "\\" in text:
        raise InvalidUrlError("must be of printable ASCII characters, without spaces and backslashes")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidUrlError("must be a URL with a host and a port from 1 to 65535") from None
    if parts.scheme not in _PORTS or (parts.scheme == "http" and not allows_http):
        raise InvalidUrlError("must start with https://" + (" or http://" if allows_http else ""))
    if "@" in parts.netloc:
        raise InvalidUrlError("must not carry a user name or password")
    if "#" in text:
        raise InvalidUrlError("must not have a fragment")
    port = _PORTS[parts.scheme] if port is None else port
    if port != _PORTS[parts.scheme] and port < _FIRST_FREE_PORT:
        raise InvalidUrlError(f"must have the port of its scheme or one from {_FIRST_FREE_PORT} on")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, _host(host, is_address="[" in parts.netloc), port, path)


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks that CIDRs name. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open Internet, also in IPv6's ways of writing an IPv4 address."""
    ip = _read(address)
    return ip is not None and _is_public(ip)


class AddressGuard:
    """Says which addresses a host may be called at: public ones, and those of the networks that the operator allows."""

    def __init__(self, networks: Iterable[str] = (), resolve: Resolve | None = None) -> None:
        """`networks`: CIDRs in which receivers may be, although they are not public. Raises ValueError."""
        self._networks = read_networks(networks)
        self._resolve = resolve or Resolver()

    def read(self, text: str) -> Target:
        """Return what a URL names. Raises InvalidUrlError. http is for receivers in allowed networks only."""
        try:
            return read_url(text, allows_http=bool(self._networks))
        except InvalidUrlError as error:
            if self._networks or not text.startswith("http://"):
                raise
            raise InvalidUrlError(f"{error} (or see SLUICE_WEBHOOK_ALLOWED_NETWORKS)") from None

    async def addresses(self, host: str, *, is_plain: bool = False) -> list[str]:
        """Return the addresses of a host, to connect to these and no others.

        Raises ForbiddenAddressError if one of them must not be called (with `is_plain`: is outside the allowed
        networks), UnknownHostError if there are none.
        """
        try:
            found = list(await self._resolve(host))
        except (OSError, UnicodeError) as error:
            raise UnknownHostError(f"the host {host} is not known") from error
        if not found:
            raise UnknownHostError(f"the host {host} has no address")
        if len(found) > MAX_ADDRESSES or not all(self._is_allowed(address, is_plain=is_plain) for address in found):
            kind = "an allowed" if is_plain else "a public or allowed"
            raise ForbiddenAddressError(f"the host {host} leads to what is not {kind} address")
        return found

    def _is_allowed(self, address: str, *, is_plain: bool) -> bool:
        ip = _read(address)
        if ip is None or ip.is_multicast or ip.is_unspecified:
            return False
        return any(ip in network for network in self._networks) or (not is_plain and _is_public(ip))


def _host(host: str, *, is_address: bool) -> str:
    if is_address:
        ip = _read(host)
        if not isinstance(ip, ipaddress.IPv6Address):
            raise InvalidUrlError("must name a host or an IP address without a zone")
        return str(ip)
    labels = host.split(".")
    if len(host) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidUrlError("must name a host")
    # 127.1, 0x7f.1 and 2130706433 are addresses to some and names to others.
    if _NUMBER.fullmatch(labels[-1]) and not isinstance(_read(host), ipaddress.IPv4Address):
        raise InvalidUrlError("must write an IP address with four numbers")
    return host


def _read(address: str) -> Address | None:
    """Return an address; an IPv4 address inside an IPv6 one as what it leads to. None for zones and what is none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return None
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
    return ip


def _is_public(ip: Address) -> bool:
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not any(ip in network for network in _NOT_PUBLIC_V4)
    if ip in _NAT64:
        # What a network without IPv4 calls the rest of the world by; it leads to the IPv4 address at its end.
        return _is_public(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
    return ip in _PUBLIC_V6 and ip.is_global and not any(ip in network for network in _NOT_PUBLIC_V6)
