"""A stand-by of the topology's Postgres: it follows, is waited for, and takes over."""

from __future__ import annotations

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
        primary.kill()
        await standby.promote()
        both = f"{primary.url_with(standby)}&target_session_attrs=read-write"
        with psycopg.connect(both, autocommit=True) as conn:
            assert conn.execute("SELECT count(*) FROM receipts").fetchone() == (100,)
            conn.execute("INSERT INTO receipts VALUES (101)")
    finally:
        await standby.stop()
        await primary.stop()
        hands.close()
