from __future__ import annotations

import pytest

from shared.webhooks.resolving import Resolver
from worker.public_addresses import ForbiddenAddressError, public_address


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
        await public_address("127.0.0.1", Resolver())
