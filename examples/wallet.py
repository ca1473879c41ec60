"""The clients' wallet: a payer of its own on the local ledger."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sluice import Payer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOME = Path(".sluice/examples")
HUB_URL = "ws://127.0.0.1:6611"
NEEDED = 1_000_000


@asynccontextmanager
async def open_wallet() -> AsyncIterator[Payer]:
    """Open the wallet; ends the program with a hint when there is no money in it."""
    async with Payer.open(HOME, hub_url=HUB_URL, network="devnet") as payer:
        if not payer.channels() and (await payer.balance()).stable < NEEDED:
            raise SystemExit(f"no money yet: sluice devnet fund {payer.address} 10000000")
        yield payer
