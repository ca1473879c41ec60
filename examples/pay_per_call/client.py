"""Buys the meaning of every word, and never spends more than it was told."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import httpx

from examples.wallet import open_wallet
from sluice.httpx import Budget, PayingTransport

if TYPE_CHECKING:
    from sluice import Payer

BUDGET = Budget(per_request=200, total=10_000, deposit=200_000)


async def buy(payer: Payer, url: str) -> dict[str, str]:
    """Return all words with their meanings."""
    async with httpx.AsyncClient(base_url=url, transport=PayingTransport(payer, BUDGET), timeout=30) as http:
        words = (await http.get("/words")).json()
        answers = await asyncio.gather(*(http.get(f"/words/{word}") for word in words))
        return {answer.json()["word"]: answer.json()["meaning"] for answer in answers}


async def main() -> None:
    """Print what was bought."""
    async with open_wallet() as payer:
        for word, meaning in (await buy(payer, sys.argv[1])).items():
            print(f"{word}: {meaning}")


if __name__ == "__main__":
    asyncio.run(main())
