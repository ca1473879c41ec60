"""What can go wrong between the rules and the database."""

from __future__ import annotations


class StoreError(Exception):
    """The database refused a statement. `code` is stable, the message is for operators.

    `sqlstate` and `constraint` tell what Postgres objected to, where it was Postgres that did. No value that was
    to be stored is ever part of the message: some are secrets.
    """

    code = "store"

    def __init__(self, message: str, *, sqlstate: str | None = None, constraint: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


class DatabaseUnavailableError(StoreError):
    """There is no primary to talk to now: refused, lost, shutting down, starting up, or read-only after a fail-over.

    If it happens while a transaction commits, the outcome is unknown; everything written here may be tried again.
    """

    code = "database_unavailable"


class DatabaseBusyError(DatabaseUnavailableError):
    """The database is there but did not get to it in time: pool, lock, statement or resource limit reached."""

    code = "database_busy"


class MigrationError(StoreError):
    """The schema could not be brought up to date."""

    code = "migration"


class StaleChannelError(StoreError):
    """A channel to be written is not in the state that was read under its lock; nothing was written."""

    code = "stale_channel"


class LeaseLostError(StoreError):
    """The lease has expired or gone to another holder: the transaction must not commit."""

    code = "lease_lost"


class IdempotencyConflictError(StoreError):
    """The idempotency key was used before with another request."""

    code = "idempotency_conflict"


class UnfinishedUnitError(StoreError):
    """A unit for the same purpose is on its way already: its fate comes first."""

    code = "unfinished_unit"


class InstanceMismatchError(StoreError):
    """The database belongs to another network or another receiver's wallet."""

    code = "instance_mismatch"


class DatabaseRestoredError(StoreError):
    """The database is older than what was done with it: it was restored, or its last transactions were lost."""

    code = "restored_database"
