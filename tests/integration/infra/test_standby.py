"""A stand-by of the topology's Postgres: it follows, is waited for, and takes over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from infra.topology import Hands, PostgresServer, StandbyServer
from sluice.home import socket_directory
from sluice.machine.account import Account

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
async def test_what_was_committed_is_on_the_standby_when_it_takes_over(tmp_path: Path) -> None:
    account, hands, home = Account(), Hands(), tmp_path / "primary"
    home.mkdir(mode=0o711)
    sockets = socket_directory(home, account.owner)
    primary = PostgresServer(home / "postgres", sockets, home / "postgres.log", account, hands)
    standby = StandbyServer("standby", primary, tmp_path / "standby", account, hands)
    try:
        await primary.start()
        await standby.start()
        await standby.require()
        with psycopg.connect(primary.url(), autocommit=True) as conn:
            conn.execute("CREATE TABLE receipts (id int)")
            conn.execute("INSERT INTO receipts SELECT generate_series(1, 100)")
        await _a_commit_waits_for(standby, primary)
        primary.kill()
        await standby.promote()
        both = f"{primary.url_with(standby)}&target_session_attrs=read-write"
        with psycopg.connect(both, autocommit=True) as conn:
            assert conn.execute("SELECT count(*) FROM receipts").fetchone() == (101,)
            conn.execute("INSERT INTO receipts VALUES (102)")
    finally:
        await standby.stop()
        await primary.stop()
        hands.close()


async def _a_commit_waits_for(standby: StandbyServer, primary: PostgresServer) -> None:
    """See it wait: a stand-by that is quick has everything, whether or not anybody waits for it."""

    def commit() -> None:
        with psycopg.connect(primary.url(), autocommit=True) as conn:
            conn.execute("INSERT INTO receipts VALUES (101)")

    def see_it_wait() -> None:
        deadline = time.monotonic() + 20
        with psycopg.connect(primary.url(), autocommit=True) as conn:
            while not conn.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone():
                assert not committing.done(), "nobody has waited"
                assert time.monotonic() < deadline
                time.sleep(0.05)

    standby.freeze()
    committing = asyncio.create_task(asyncio.to_thread(commit))
    try:
        await asyncio.to_thread(see_it_wait)
    finally:
        standby.thaw()
        await committing
