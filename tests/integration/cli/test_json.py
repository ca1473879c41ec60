"""Every command that takes --json prints JSON or nothing on stdout, however it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import shlex
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from devnet.server import Devnet
from sluice.cli import asking, payer_channels
from sluice.cli.application import app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

CHANNEL = "C" * 32
NEEDS_NOTHING = {
    "migrate",
    "doctor",
    "audit",
    "wallet address",
    "wallet history",
    "wallet order-providers",
    "keys create",
    "keys list",
    "channels list",
    "channels show",
    "payments list",
    "commands show",
    "devices list",
    "devnet fund",
    "requests list",
    "webhooks list",
}
"""What must print something, without a worker."""
_WORDS = {"AA_ADDRESS": CHANNEL, "ADDRESS": "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6", "12": "1"}


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield " ".join(path), command
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


WITH_JSON = {
    path: command
    for path, command in _leaves(get_command(app))
    if any("--json" in parameter.opts for parameter in command.params)
}


@pytest.fixture(autouse=True)
async def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> AsyncIterator[None]:
    """A database with one channel and one order, a wallet and a ledger; no worker and no front."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(payer_channels, "CONNECT_S", 2)
    # No worker is there to wait for.
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=itertools.count(0, 10).__next__))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO instance (network, own_address) VALUES ('devnet', %s)", ("M" * 32,))
        connection.execute(
            "INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, version, role)"
            " VALUES (%s, %s, %s, 'base', 1000, '1.1', 'A')",
            (CHANNEL, "M" * 32, "P" * 32),
        )
        connection.execute("INSERT INTO commands (kind, params, idempotency_key) VALUES ('withdraw', '{}', 'a')")
    async with Devnet() as devnet:
        monkeypatch.setenv("SLUICE_HUB_URL", devnet.url)
        monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
        yield
    root.handlers, root.level = handlers, level


async def test_what_is_printed_is_json() -> None:
    """One test for all: a ledger and a database for each of them would take a minute."""

    assert set(WITH_JSON) >= NEEDS_NOTHING
    await asyncio.to_thread(CliRunner().invoke, app, ["wallet", "init"])
    silent = set()
    for path, command in WITH_JSON.items():
        words = shlex.split(command.epilog.removeprefix("Example: sluice "))
        words = [_WORDS.get(word, word) for word in words if word != "--json"]
        options = {option for parameter in command.params for option in parameter.opts}
        # The last one counts.
        words += ["--timeout", "1"] if "--timeout" in options else []
        words += ["--yes"] if "--accept" in words else []
        result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"])
        assert result.exit_code in {0, 1, 3}, (path, result.output)
        if result.stdout:
            json.loads(result.stdout)
        else:
            silent.add(path)
            assert result.exit_code, path
            assert result.stderr.count("sluice: ") == 1, (path, result.stderr)

    assert silent & NEEDS_NOTHING == set()
