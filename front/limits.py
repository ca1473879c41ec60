"""How much callers may ask of the fronts: by network address where nobody has to say who he is, else by API key.

Payments and whatever else is looked at in memory go on when Redis is away. What moves our money or administers does
not: its limit is looked at in Redis, and without it refused.
"""

from __future__ import annotations

import ipaddress
from asyncio import sleep
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from shared.limits.accounts import AccountsAwayError
from shared.limits.buckets import Limit
from shared.receiving.errors import LimitedError, UnavailableError
from shared.store.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, MutableMapping
    from typing import Any

    from shared.limits.limiter import Limiter
    from shared.settings import Settings

_MINUTE_S = 60.0
REFUSED_UNHEARD = 20
"""So many requests a second that no database was asked about are refused at once to one address."""
LONGEST_HOLD_UP_S = 1.0
MOST_HELD_UP = 256
"""Answers that wait at once, each on a connection; beyond that they do not, so that connections are left for others."""
_MOST_HOPS = 32
_SITE_BITS = 64
"""Whoever has an IPv6 address has all of its /64."""
_HERE = "local"
"""Who comes by a way that has no network address: a socket file."""


class Addresses:
    """From which network address a request comes. `proxies`: networks whose word is taken for it."""

    def __init__(self, proxies: Iterable[str]) -> None:
        networks = tuple(ipaddress.ip_network(proxy) for proxy in proxies)

        @lru_cache(maxsize=4_096)
        def is_proxy(host: str) -> bool:
            address = _parsed(host)
            return address is None or any(
                address.version == network.version and address in network for network in networks
            )

        self._is_proxy = is_proxy

    def of(self, connection: MutableMapping[str, Any]) -> str:
        """Return the address, as far as one place has one: of IPv6 the /64. `connection`: its ASGI scope."""
        client = connection.get("client")
        nearest = client[0] if client else ""
        told = [value for name, value in connection["headers"] if name == b"x-forwarded-for"]
        if told and self._is_proxy(nearest):
            for hop in reversed(b",".join(told).decode("latin-1").split(",")[-_MOST_HOPS:]):
                # Beyond what a proxy cannot have written nothing is believed.
                if _parsed(host := _host_of(hop)) is None:
                    break
                nearest = host
                if not self._is_proxy(host):
                    break
        return _site_of(nearest)


class AddressLimits:
    """Limits for those who need no key."""

    def __init__(self, limiter: Limiter, addresses: Addresses, *, posts: Limit, public: Limit) -> None:
        self._limiter = limiter
        self._unheard = Limit("refused_unheard", REFUSED_UNHEARD)
        self._held_up = 0
        self._addresses = addresses
        self._posts = posts
        self._public = public

    @classmethod
    def of(cls, settings: Settings, limiter: Limiter) -> Self:
        """Read them from the settings."""
        return cls(
            limiter,
            Addresses(settings.trusted_proxies),
            posts=Limit("posts", settings.limit_posts_per_address),
            public=Limit("public", settings.limit_public_per_address),
        )

    def address_of(self, connection: MutableMapping[str, Any]) -> str:
        """Return from where a request comes. `connection`: its ASGI scope."""
        return self._addresses.of(connection)

    def admit_peer(self, connection: MutableMapping[str, Any]) -> str:
        """Count a request of the peer protocol, and return from where it comes. Raises LimitedError."""
        return self._admit(self._posts, connection)

    def admit_public(self, connection: MutableMapping[str, Any]) -> str:
        """Count a request for what everybody may see, and return from where it comes. Raises LimitedError."""
        return self._admit(self._public, connection)

    async def hold_up(self, address: str) -> None:
        """Count a request that is refused before any database was asked, and return when it may be answered.

        Whoever gets such answers at once, and goes on, has every turn of a front to himself. Nobody is refused for it:
        others may be behind the same address.
        """
        wait_s = self._limiter.wait_s(self._unheard, address)
        self._limiter.count(self._unheard, address)
        if wait_s and self._held_up < MOST_HELD_UP:
            self._held_up += 1
            try:
                await sleep(min(wait_s, LONGEST_HOLD_UP_S))
            finally:
                self._held_up -= 1

    def _admit(self, limit: Limit, connection: MutableMapping[str, Any]) -> str:
        address = self._addresses.of(connection)
        if wait_s := self._limiter.take(limit, address):
            text = "too many requests from this network address"
            raise LimitedError("too_many_requests", text, wait_s=wait_s, limit=limit)
        return address


class KeyLimits:
    """Limits for API keys, and for those who guess them."""

    def __init__(self, limiter: Limiter, *, reads: Limit, receives: Limit, orders: Limit, failures: Limit) -> None:
        self._limiter = limiter
        self._reads = reads
        self._receives = receives
        self._orders = orders
        self._failures = failures

    @classmethod
    def of(cls, settings: Settings, limiter: Limiter) -> Self:
        """Read them from the settings."""
        return cls(
            limiter,
            reads=Limit("reads", settings.limit_reads_per_key),
            receives=Limit("receives", settings.limit_receives_per_key),
            orders=Limit("orders", settings.limit_orders_per_key),
            failures=Limit("failures", settings.limit_failed_keys_per_address, _MINUTE_S),
        )

    async def admit(self, key: str, scopes: Collection[Scope]) -> None:
        """Count a request of a key that needs one of these scopes. Raises LimitedError and UnavailableError."""
        if Scope.READ in scopes or Scope.RECEIVE in scopes:
            limit = self._reads if Scope.READ in scopes else self._receives
            wait_s = self._limiter.take(limit, key)
        else:
            limit = self._orders
            try:
                wait_s = await self._limiter.take_surely(limit, key)
            except AccountsAwayError:
                text = "what moves money or administers is refused while its limits cannot be looked at"
                raise UnavailableError("limits_unavailable", text) from None
        if wait_s:
            raise LimitedError("too_many_requests", "too many requests with this API key", wait_s=wait_s, limit=limit)

    def check_guess(self, address: str | None) -> None:
        """Refuse to look a key up for who has tried too many wrong ones. Raises LimitedError."""
        if address is not None and (wait_s := self._limiter.wait_s(self._failures, address)):
            text = "too many wrong API keys from this network address"
            raise LimitedError("too_many_failures", text, wait_s=wait_s, limit=self._failures)

    def failed_guess(self, address: str | None) -> None:
        """Count a wrong key."""
        if address is not None:
            self._limiter.count(self._failures, address)


def _host_of(hop: str) -> str:
    """Return the host of an entry, which some proxies give with its port."""
    hop = hop.strip()
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


@lru_cache(maxsize=4_096)
def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4_096)
def _site_of(host: str) -> str:
    address = _parsed(host)
    if address is None:
        return _HERE
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address), _SITE_BITS), strict=False))
