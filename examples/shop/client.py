"""Orders a cup and pays for it at the page that the shop names, half now and half later."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import httpx

from examples.wallet import open_wallet

if TYPE_CHECKING:
    from sluice import Payer

DEPOSIT = 200_000
LOOKS, PAUSE_S = 200, 0.1


async def buy(payer: Payer, url: str, item: str) -> list[dict[str, Any]]:
    """Order an item and pay for it in two parts; return what the shop said of the order after each, and in the end."""
    async with httpx.AsyncClient(base_url=url) as http:
        order = (await http.post("/orders", json={"item": item})).raise_for_status().json()
        page = order["pay_at"]
        said = []
        await payer.pay_request(page, order["missing"] // 2, deposit=DEPOSIT)
        said.append(await _look(http, order))
        await payer.pay_request(page)
        said.append(await _look(http, order))
        for _ in range(LOOKS):
            if said[-1]["is_delivered"]:
                break
            await asyncio.sleep(PAUSE_S)
            said[-1] = await _look(http, order)
        return said


async def _look(http: httpx.AsyncClient, order: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"/orders/{order['order']}")).raise_for_status().json()
    return found


async def main() -> None:
    """Print what the shop said."""
    async with open_wallet() as payer:
        for said in await buy(payer, sys.argv[1], "cup"):
            print(said)


if __name__ == "__main__":
    asyncio.run(main())
