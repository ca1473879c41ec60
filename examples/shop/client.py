"""Orders a cup and pays for it, half now and half later."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import httpx

from examples.wallet import open_wallet

if TYPE_CHECKING:
    from sluice import Payer

DEPOSIT = 200_000
OPENING_S = 120


async def buy(payer: Payer, url: str, item: str) -> list[Any]:
    """Order an item and pay for it in two parts; return what the shop said to each."""
    async with httpx.AsyncClient(base_url=url) as http:
        order = (await http.post("/orders", json={"item": item})).raise_for_status().json()
    channels = [channel for channel in payer.channels() if channel.url == order["pay_to"]]
    channel = channels[0] if channels else await payer.open_channel(order["pay_to"], DEPOSIT)
    await channel.wait_open(OPENING_S)
    first = order["due"] // 2
    said = []
    for amount in (first, order["due"] - first):
        receipt = await channel.pay(amount, message={"order": order["order"]})
        said.append(receipt.response)
    return said


async def main() -> None:
    """Print what the shop said."""
    async with open_wallet() as payer:
        for said in await buy(payer, sys.argv[1], "cup"):
            print(said)


if __name__ == "__main__":
    asyncio.run(main())
