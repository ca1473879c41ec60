"""The whole receiver behind PgBouncer with shared connections, on the configuration that is meant for production."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from shared.settings import Settings
from shared.store import api_keys
from shared.store.api_keys import Scope
from shared.store.database import Database, Role
from sluice.cli.application import app
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, worker
from tests.running import settings_for, sluice_up, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


BOUND_S = 20.0


def sluice(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, (words, done.stderr, done.exception)
    return json.loads(done.stdout)


@pytest.fixture
def settings(home: Path, database_url: str, pooler_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    urls = {"database_url": SecretStr(pooler_url), "database_direct_url": SecretStr(database_url)}
    settings = settings_for(home).model_copy(update={**urls, "database_pooler": True})
    for name, value in variables_of(settings).items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield settings
    root.handlers, root.level = handlers, level


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_channel_lives_from_its_opening_to_its_settlement_behind_the_pooler(
    settings: Settings, database_url: str
) -> None:
    with sluice_up(settings):
        payer = sluice("wallet", "address", "--payer")["address"]
        sluice("devnet", "fund", payer, "3000000")
        opened = sluice("channels", "open", settings.local_url, "1000000")
        first = sluice("pay", opened["aa_address"], "1000")
        again = sluice("resend", str(first["payment"]))
        sluice("pay", opened["aa_address"], "500")
        sluice("channels", "close", opened["aa_address"])
        sluice("audit")
        with psycopg.connect(database_url) as conn:
            asked = "SELECT DISTINCT coalesce(client_addr::text, 'socket'), application_name FROM pg_stat_activity"
            seen = conn.execute(f"{asked} WHERE datname = current_database() AND pid <> pg_backend_pid()").fetchall()

    assert [first["duplicate"], again["duplicate"]] == [False, True]
    assert "sluice-key-news" in {name for _, name in seen}


async def test_a_key_that_is_revoked_past_the_pooler_stops_at_once(database_url: str, pooler_url: str) -> None:
    """Notifications do not pass the pooler: fronts listen past it, and look keys up only if they must."""
    settings = Settings(database_url=pooler_url, database_direct_url=database_url, database_pooler=True)
    async with worker(database_url) as pen, running_front(settings) as front:
        payer = Payer()
        await pen.open(payer)
        assert "receipt" in await front.pay(payer.package(5, 5))
        async with pen.database.transaction() as conn:
            token, made = await api_keys.create(conn, "reader", [Scope.READ])
        headers = {"authorization": f"Bearer {token}"}
        async with asyncio.timeout(BOUND_S):  # else keys are looked up each time, which is no use of the way past it
            await front.app.state.api_keys.news.until_current()
        for _ in range(3):
            assert (await front.http.get("/v1/payments", headers=headers)).status_code == 200
        async with pen.database.transaction() as conn:
            assert await api_keys.revoke(conn, made.id)
        statuses = [(await front.http.get("/v1/payments", headers=headers)).status_code for _ in range(20)]
    assert statuses[-1] == 401


async def test_many_clients_share_few_connections_and_leave_nothing_behind(database_url: str, pooler_url: str) -> None:
    databases = [
        await Database.connect(pooler_url, role=role, behind_transaction_pooler=True)
        for role in (Role.FRONT, Role.WORKER) * 6
    ]
    for database in databases * 3:
        async with database.transaction() as conn:
            role, timeout = await conn.fetchrow("SELECT current_user, current_setting('statement_timeout')")
            assert (role, timeout) in {("sluice_front", "5s"), ("sluice_worker", "5s")}
    for database in databases:
        await database.close()
    plain = await asyncpg.connect(pooler_url, statement_cache_size=0)
    assert await plain.fetchval("SELECT current_user") == "postgres"
    await plain.close()
    owner = await asyncpg.connect(database_url)
    used = await owner.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await owner.close()
    assert used <= 4
