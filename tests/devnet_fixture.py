"""The fixture `devnet`: a running local ledger on a free loopback port that stabilises within a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from devnet.server import Devnet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STABILISE_AFTER_S = 0.05


@pytest_asyncio.fixture
async def devnet() -> AsyncIterator[Devnet]:
    """A local hub at `devnet.url`; `devnet.witnesses` is its provider list, `devnet.faults` makes it misbehave."""
    async with Devnet(port=0, stabilise_after_s=STABILISE_AFTER_S) as running:
        yield running
