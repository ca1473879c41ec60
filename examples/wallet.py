"""The clients' wallet: the one that `sluice pay` uses too, on the local ledger of `make up`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shared.settings import load_settings
from sluice.cli.common import open_payer
from sluice.home import attached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluice import Payer

NEEDED = 1_000_000


@asynccontextmanager
async def open_wallet() -> AsyncIterator[Payer]:
    """Open the wallet; ends the program with a hint when there is no money in it."""
    async with open_payer(attached(load_settings())) as payer:
        if not payer.channels() and (await payer.balance()).stable < NEEDED:
            raise SystemExit(f"no money yet: sluice devnet fund {payer.address} 10000000")
        yield payer
