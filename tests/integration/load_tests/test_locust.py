"""Locust on a whole receiver: payers with real channels, raw failures that stay failures, and books that agree."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.store import api_keys
from shared.store.api_keys import Scope
from shared.store.database import Database, Role
from sluice.machine.supervisor import Stack
from tests.http_servers import Asked, http_server, reply
from tests.running import settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.settings import Settings

ROOT = Path(__file__).parents[3]
BOUND_S = 100.0
EVERY = 6
"""Of so many payments one loses its answer on the way."""


async def locust(*words: str, key: str = "") -> tuple[int, str]:
    """Run locust; return its exit status and what it has said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", "load_tests/locustfile.py", "--headless", *words),
        cwd=ROOT,
        env={**os.environ, "SLUICE_LOAD_KEY": key},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(BOUND_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, said.decode()


class LosingAnswers:
    """Passes everything on to the receiver, and loses one answer in some on the way back: the money is paid by then."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.lost = 0
        self._url, self._client = url, client
        self._payments = 0

    async def __call__(self, asked: Asked) -> bytes:
        method, path, _ = asked.line.split(" ")
        headers = {name: value for name, value in asked.headers.items() if name in {"authorization", "accept"}}
        answer = await self._client.request(method, self._url.rstrip("/") + path, content=asked.body, headers=headers)
        if b'"pay"' in asked.body:
            self._payments += 1
            if self._payments % EVERY == 0:
                self.lost += 1
                return b""
        return reply(answer.content, answer.status_code)


async def read_key(settings: Settings) -> str:
    database = await Database.connect(settings.database_dsn, role=Role.WORKER)
    try:
        async with database.transaction() as conn:
            token, _ = await api_keys.create(conn, "load", [Scope.READ], expires_in_s=None)
    finally:
        await database.close()
    return token


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with Stack(settings_for(tmp_path / "home")) as stack:
        yield stack


def text_of(file: str) -> str:
    return Path(file).read_text()


def stats(prefix: Path) -> dict[str, dict[str, str]]:
    with Path(f"{prefix}_stats.csv").open(newline="") as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


def books(prefix: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(text_of(f"{prefix}_books.json"))
    return told


@pytest.mark.slow
@pytest.mark.timeout(2 * BOUND_S)
async def test_payers_pay_and_every_receipt_is_found_even_when_answers_are_lost(stack: Stack, tmp_path: Path) -> None:
    key = await read_key(stack.settings)
    plain, lossy = tmp_path / "plain", tmp_path / "lossy"
    async with AsyncExitStack() as undo:
        client = await undo.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
        losing = LosingAnswers(stack.url, client)
        server = await undo.enter_async_context(http_server(losing))

        def words(prefix: Path, host: str) -> list[str]:
            reports = ["--csv", str(prefix), "--html", f"{prefix}.html", "--hub", stack.settings.hub_url]
            return ["--host", host, "--users", "5", "--run-time", "3", *reports]

        (good, said), (bad, said_too) = await asyncio.gather(
            locust(*words(plain, stack.url.rstrip("/")), key=key),
            locust(*words(lossy, f"http://127.0.0.1:{server.port}"), "--confirmed-from", "100000000", key=key),
        )

    assert good == 0, said
    assert int(stats(plain)["pay"]["Request Count"]) > 0
    assert int(stats(plain)["Aggregated"]["Failure Count"]) == 0
    assert "pay, the same again" not in stats(plain)
    assert "<html" in text_of(f"{plain}.html")
    found = books(plain)
    assert found["faults"] == []
    assert found["books"]["receipts"] == found["books"]["receipts_found"] > 0
    assert found["books"]["paid"] == found["books"]["credited"] > 0
    assert (found["books"]["channels"], found["channels_closed"]) == (5, 5)

    # An answer that was lost is a failure for good, although the same bytes, sent again, have brought the receipt.
    assert bad == 1, said_too
    assert losing.lost > 0
    found, counted = books(lossy), stats(lossy)
    assert int(counted["Aggregated"]["Failure Count"]) == found["failed"]
    # Those that were under way when the time was over are in no table; they, too, may have been lost, and once again.
    assert 0 <= losing.lost - found["failed"] <= 2 * found["asked_in_the_end"]
    assert int(counted["pay, the same again"]["Request Count"]) > 0
    assert found["faults"] == []
    assert found["books"]["receipts"] == found["books"]["receipts_found"] > 0
    assert found["books"]["paid"] == found["books"]["credited"] > 0
    assert found["channels_left"] == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--host", "http://pay.example:6800"), "pay.example is not this machine"),
        ((), "SLUICE_LOAD_KEY is not set"),
    ],
)
async def test_what_is_not_allowed_is_refused_before_anything_is_done(words: tuple[str, ...], reason: str) -> None:
    status, said = await locust(*words)
    assert status == 2
    assert f"refused: {reason}" in said
    assert "Traceback" not in said
