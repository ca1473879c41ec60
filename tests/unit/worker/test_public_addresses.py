from __future__ import annotations

import pytest

from worker.public_addresses import ForbiddenAddressError, is_public, public_address


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.5", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",  # noqa: S104
        "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:5",
        "nonsense", "",
    ],
)  # fmt: skip
def test_addresses_that_only_we_can_reach(address: str) -> None:
    assert not is_public(address)


async def test_every_address_of_a_name_must_be_public() -> None:
    async def says(*addresses: str) -> str:
        async def resolve(_: str) -> list[str]:
            return list(addresses)

        return await public_address("hub.example", resolve)

    assert await says("93.184.216.34", "93.184.216.35") == "93.184.216.34"
    for addresses in [(), ("127.0.0.1",), ("93.184.216.34", "10.0.0.1")]:
        with pytest.raises(ForbiddenAddressError):
            await says(*addresses)


async def test_a_name_that_nobody_knows_is_refused() -> None:
    async def resolve(_: str) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(ForbiddenAddressError):
        await public_address("hub.invalid", resolve)


async def test_an_address_in_place_of_a_name_is_checked_like_one() -> None:
    with pytest.raises(ForbiddenAddressError):
        await public_address("127.0.0.1")
