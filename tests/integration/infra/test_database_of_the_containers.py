"""The script that makes the containers' database: three logins with passwords, each with its own rights."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.store import instance
from shared.store.database import Database, Role
from shared.store.migrations import migrate
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Postgres, postgres_programs
from tests.infra_files import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGINS = ("sluice_front_login", "sluice_migrator", "sluice_worker_login")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    """A cluster as the image's entry point makes it, with nothing in it yet."""
    account = Account()
    running = Postgres(tmp_path / "postgres", socket_directory(tmp_path, account.owner), tmp_path / "log", account)
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        with psycopg.connect(running.url("postgres"), autocommit=True) as administrator:
            administrator.execute("DROP DATABASE sluice")
        yield running


async def test_three_logins_with_passwords_and_a_database_for_them_alone(server: Postgres, tmp_path: Path) -> None:
    run_script(server, tmp_path / "secrets")

    with psycopg.connect(server.url("postgres"), autocommit=True) as administrator:
        words = administrator.execute(
            "SELECT rolname FROM pg_authid WHERE rolname LIKE 'sluice%' AND rolpassword LIKE 'SCRAM%' ORDER BY 1"
        ).fetchall()
        administrator.execute("CREATE ROLE stranger LOGIN")
    assert tuple(name for (name,) in words) == LOGINS
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(as_login(server, "stranger"))

    migrate(as_login(server, "sluice_migrator"))
    for login, role in (("sluice_worker_login", Role.WORKER), ("sluice_front_login", Role.FRONT)):
        database = await Database.connect(as_login(server, login), role=role)
        async with database.connection() as conn:
            assert await instance.read(conn) is None
        await database.close()


def run_script(server: Postgres, secrets: Path) -> None:
    subprocess.run([ROOT / "infra/compose/make-secrets", secrets], check=True, capture_output=True)
    script = (ROOT / "infra/compose/postgres-init.sh").read_text()
    script = script.replace("/run/secrets", str(secrets)).replace("/etc/sluice/", f"{ROOT}/infra/postgres/")
    sockets = server.url().partition("host=")[2]
    there = {"PATH": f"{postgres_programs()}:{os.environ['PATH']}", "PGHOST": sockets}
    done = subprocess.run(["/bin/sh", "-c", script], check=False, capture_output=True, text=True, env=there)
    assert (done.returncode, done.stderr) == (0, "")


def as_login(server: Postgres, login: str) -> str:
    return server.url().replace("//postgres@", f"//{login}@")
