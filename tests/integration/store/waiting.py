"""Waiting for the moment at which somebody waits for a lock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.store.database import Connection

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def blocked(owner: Connection) -> None:
    """Return as soon as a connection to this database waits for a lock."""
    async with asyncio.timeout(10):
        while not await owner.fetchval(_WAITING):
            await owner.execute("SELECT pg_stat_clear_snapshot()")
