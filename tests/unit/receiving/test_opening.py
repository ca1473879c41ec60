from __future__ import annotations

from typing import Any

import pytest

from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.receiving.channel_parameters import ChannelParameters, address_of, read_create_channel, read_parameters
from shared.receiving.errors import ChannelRefused
from shared.receiving.opening import OpeningLimits, check_terms

OWN = KeyPair(bytes(31) + b"\x09").address
PEER = KeyPair(bytes(31) + b"\x01").address
LIMITS = OpeningLimits(min_timeout_s=800, max_timeout_s=1500, max_unfunded_per_peer=2, max_unfunded=3)


def params(**changes: Any) -> dict[str, Any]:
    return {"address": PEER, "timeout": 1000, "asset": "base", "version": "1.1", "salt": "s1", **changes}


def code_of(value: object) -> str:
    with pytest.raises(ChannelRefused) as caught:
        read_parameters(value)
    return caught.value.code


def test_reads_what_a_peer_sends() -> None:
    assert read_parameters(params()) == ChannelParameters(PEER, 1000, "base", "1.1", "s1")


def test_the_salt_may_be_left_out() -> None:
    given = params()
    del given["salt"]
    assert read_parameters(given).salt is None


def test_create_channel_takes_null_for_an_absent_salt_and_url() -> None:
    parameters, url = read_create_channel(params(salt=None, url=None))
    assert parameters.salt is None
    assert url is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:6800/", "https://pay.example.org/peer/"])
def test_create_channel_keeps_the_url_of_the_peer(url: str) -> None:
    assert read_create_channel(params(url=url))[1] == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "example.org",
        "http://",
        "http://u:p@example.org/",
        "http://a b/",
        "http://x:99999/",
        5,
        "x" * 2000,
        "http://\u00e9/",
    ],
)
def test_create_channel_refuses_what_is_no_http_address(url: object) -> None:
    with pytest.raises(ChannelRefused, match="url"):
        read_create_channel(params(url=url))


def test_parameters_of_a_package_carry_no_url() -> None:
    assert code_of(params(url="http://127.0.0.1/")) == "unknown_field"


def test_a_null_salt_in_a_package_is_refused() -> None:
    assert code_of(params(salt=None)) == "invalid_salt"


@pytest.mark.parametrize("name", ["address", "timeout", "asset", "version"])
def test_every_parameter_is_needed(name: str) -> None:
    given = params()
    del given[name]
    assert code_of(given) == "missing_field"


def test_the_timeout_lies_within_our_limits() -> None:
    for timeout_s, text in ((799, "too low, min acceptable: 800"), (1501, "too high, max acceptable: 1500")):
        with pytest.raises(ChannelRefused, match=text):
            check_terms(read_parameters(params(timeout=timeout_s)), OWN, LIMITS)
    for timeout_s in (800, 1500):
        check_terms(read_parameters(params(timeout=timeout_s)), OWN, LIMITS)


def test_nobody_opens_a_channel_with_himself() -> None:
    with pytest.raises(ChannelRefused, match="mine"):
        check_terms(read_parameters(params(address=OWN)), OWN, LIMITS)


def test_we_are_the_agents_a_because_we_were_asked() -> None:
    assert address_of(read_parameters(params()), OWN) == channel_address(OWN, PEER, "base", 1000, "s1", "1.1")
