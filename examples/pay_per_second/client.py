"""Watches the stream for a while, paying a few seconds ahead."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import httpx

from examples.wallet import open_wallet
from sluice.httpx import Budget, PayingTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluice import Payer

AHEAD_S = 5
BUDGET = Budget(per_request=500, total=20_000, deposit=200_000)


async def watch(payer: Payer, url: str, seconds: int) -> AsyncIterator[str]:
    """Give the lines of so many seconds, which are bought piece by piece while they come."""
    async with httpx.AsyncClient(base_url=url, transport=PayingTransport(payer, BUDGET), timeout=30) as http:
        for first in range(0, seconds, AHEAD_S):
            wanted = {"seconds": min(AHEAD_S, seconds - first), "first": first}
            async with http.stream("GET", "/ticks", params=wanted) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    yield line


async def main() -> None:
    """Print the lines of twenty seconds."""
    async with open_wallet() as payer:
        async for line in watch(payer, sys.argv[1], 20):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
