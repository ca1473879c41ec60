from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from devnet.server import Devnet
from shared.store.database import Database, Role
from tests.integration.worker.support import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(autouse=True)
def expected_errors(caplog: pytest.LogCaptureFixture) -> Iterator[set[str]]:
    """Names of error events and of critical alarms that a test provokes.

    Any other one fails it, however well the vault recovers.
    """
    expected: set[str] = set()
    yield expected
    found = {
        str(record.msg["kind"] if record.msg.get("event") == "alarm_raised" else record.msg.get("event"))
        for when in ("setup", "call")
        for record in caplog.get_records(when)  # type: ignore[arg-type]
        if record.name.startswith("worker") and record.levelno >= logging.ERROR and isinstance(record.msg, dict)
    }
    assert found <= expected, f"unexpected errors: {found - expected}"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A local ledger, a database, and a receiver with some money and no worker yet."""
    database = await Database.connect(database_url, role=Role.WORKER)
    async with Devnet(port=0, stabilise_after_s=0.05) as devnet:
        world = World(devnet, database, database_url)
        world.fund(world.own)
        yield world
        await world.bus.close()
    await database.close()
