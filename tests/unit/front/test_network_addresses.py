"""From which network address a request comes: what a proxy of ours says counts, and nobody else's word."""

from __future__ import annotations

import pytest

from front.limits import Addresses

LOOPBACK = ("127.0.0.0/8", "::1/128", "10.0.0.0/8")


def address_of(client: str | None, *forwarded: str) -> str:
    scope = {
        "client": None if client is None else (client, 1),
        "headers": [(b"host", b"front"), *((b"x-forwarded-for", value.encode()) for value in forwarded)],
    }
    return Addresses(LOOPBACK).of(scope)


@pytest.mark.parametrize(
    ("client", "forwarded", "found"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["192.0.2.1:4711"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7", "192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["192.0.2.1, 10.0.0.3"], "192.0.2.1"),
        ("10.0.0.2", ["10.0.0.3"], "10.0.0.3"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1, nonsense, 10.0.0.3"], "10.0.0.3"),
        ("127.0.0.1", [""], "127.0.0.1"),
        # Who is no proxy of ours may say what he likes.
        ("192.0.2.1", ["127.0.0.1"], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        # A socket file: only this machine's proxy connects to it.
        (None, ["192.0.2.1"], "192.0.2.1"),
        (None, [], "local"),
        # A site has a whole /64, and an old address in a new form is the old one.
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("127.0.0.1", ["[2001:db8:1:2::9]:80"], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("::ffff:127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("::1", ["192.0.2.1"], "192.0.2.1"),
    ],
)
def test_the_nearest_that_a_proxy_vouches_for(client: str | None, forwarded: list[str], found: str) -> None:
    assert address_of(client, *forwarded) == found


def test_a_long_tail_of_hops_costs_nothing() -> None:
    assert address_of("127.0.0.1", ", ".join(["10.0.0.1"] * 10_000)) == "10.0.0.1"


def test_without_proxies_nobody_is_believed() -> None:
    scope = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"192.0.2.1")]}
    assert Addresses(()).of(scope) == "127.0.0.1"
