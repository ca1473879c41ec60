"""Bringing a database's schema up to date, by one starter at a time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection as SqlalchemyConnection
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from shared.store.errors import DatabaseUnavailableError, MigrationError
from shared.store.migrations.revisions import READ_REVISIONS, VERSION_TABLE, Phase, Revisions

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK_KEY = 0x51_0C_E5_C4  # any constant of our own: advisory locks of a database share one space of numbers
_CONNECT_TIMEOUT_S = 10
_ONE_IN_THIS_PROCESS = threading.Lock()  # alembic keeps the running step in module globals


def migrate(dsn: str, phase: Phase, wait_s: int) -> Revisions:
    """See `shared.store.migrations.migrate`."""
    with _locked(dsn, wait_s) as connection:
        config = _config(connection)
        try:
            if phase != "post":
                _upgrade(config, "pre", _revisions(connection).pre)
            found = _revisions(connection)
            if phase != "pre":
                if (found.pre or "") < _head(config, "pre"):
                    raise MigrationError("contracting steps come last: run the phase 'pre' of this release first")
                _upgrade(config, "post", found.post)
        except DBAPIError as error:
            raise MigrationError(f"migration failed, nothing of the step was kept: {error.orig}") from error
        except CommandError as error:
            raise MigrationError(f"this database's schema is unknown to this release: {error}") from error
        return _revisions(connection)


def current(dsn: str) -> Revisions:
    """See `shared.store.migrations.current`."""
    with _connected(dsn) as connection:
        return _revisions(connection)


@contextmanager
def _connected(dsn: str) -> Iterator[SqlalchemyConnection]:
    """Open a direct connection to the primary; libpq reads the DSN, so sockets and several hosts work."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(
            dsn,
            target_session_attrs="read-write",
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name="sluice-migrate",
        )

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise DatabaseUnavailableError(f"no database to migrate: {error.orig}") from error
    with connection:
        yield connection
    engine.dispose()


@contextmanager
def _locked(dsn: str, wait_s: int) -> Iterator[SqlalchemyConnection]:
    """Open a connection that alone may migrate, with limits that spare a database in use."""
    with _connected(dsn) as connection:
        _execute(connection, f"SET lock_timeout = '{wait_s}s'; SET statement_timeout = '{wait_s + 5}s'")
        try:
            _execute(connection, f"SELECT pg_advisory_lock({_LOCK_KEY})")
        except DBAPIError as error:
            raise MigrationError(f"another migration is running and did not end within {wait_s} s") from error
        # A step that needs a table waits no longer than this, because everyone behind it waits too.
        _execute(connection, "SET lock_timeout = '4s'; SET statement_timeout = '5s'")
        yield connection


def _execute(connection: SqlalchemyConnection, sql: str) -> None:
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
    connection.commit()


def _config(connection: SqlalchemyConnection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(config: Config, branch: str, found: str | None) -> None:
    """Run what is missing of a branch; a database that is ahead of this release lacks nothing."""
    if (found or "") < _head(config, branch):
        with _ONE_IN_THIS_PROCESS:
            command.upgrade(config, f"{branch}@head")


def _head(config: Config, branch: str) -> str:
    revision = ScriptDirectory.from_config(config).get_revision(f"{branch}@head")
    return revision.revision


def _revisions(connection: SqlalchemyConnection) -> Revisions:
    exists = connection.exec_driver_sql(f"SELECT to_regclass('{VERSION_TABLE}') IS NOT NULL").scalar_one()
    found = connection.exec_driver_sql(READ_REVISIONS).scalars().all() if exists else []
    connection.commit()
    return Revisions.of(found)
