"""A person acknowledges a robbery; no worker is needed for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from shared.store import channels, robberies
from shared.store.channel_rows import NewChannel
from shared.store.database import Database, Role
from shared.store.robberies import Robbery
from sluice.cli.application import app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ROBBED, OTHER, HONEST = "R" * 32, "S" * 32, "H" * 32


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Two channels of a thief, one of which he has robbed, and one of somebody else."""
    database = await Database.connect(database_url, role=Role.WORKER)
    async with database.transaction() as conn:
        for number, (aa_address, peer) in enumerate(((ROBBED, "P" * 32), (OTHER, "P" * 32), (HONEST, "Q" * 32))):
            new = NewChannel(aa_address, "M" * 32, peer, "base", 1_000, str(number), "1.1", "A")
            await channels.insert(conn, new)
    async with database.transaction() as conn:
        await robberies.lock_peer(conn, "P" * 32)
        await robberies.record(conn, Robbery(ROBBED, 3, "P" * 32, "base", 25_000, "u" * 43 + "="))
    yield database
    await database.close()


async def forgive(*words: str, answer: str = "") -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, ["channels", "forgive", *words], input=answer)


async def amounts(database: Database) -> dict[str, int]:
    async with database.connection() as conn:
        return await robberies.amounts(conn)


async def test_a_robber_is_forgiven_by_any_of_his_channels_after_what_he_did_was_shown(database: Database) -> None:
    refused = await forgive(OTHER, answer="n\n")
    assert refused.exit_code == 1
    assert ROBBED in refused.stdout
    assert "25 000" in refused.stdout.replace("\u202f", " ").replace("\u00a0", " ").replace("\u2009", " ")
    assert await amounts(database) == {"base": 25_000}

    done = await forgive(OTHER, answer="y\n")
    assert done.stdout.endswith(f"{'P' * 32} is forgiven.\n")
    assert await amounts(database) == {}
    async with database.connection() as conn:
        assert not await channels.peer_has_robbed(conn, "P" * 32)


async def test_where_there_is_nothing_to_forgive_nothing_is_asked(database: Database) -> None:
    for aa_address, complaint in ((HONEST, "nothing to forgive"), ("X" * 32, "there is no channel")):
        result = await forgive(aa_address)
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert "Forgive" not in result.output
    assert await amounts(database) == {"base": 25_000}
