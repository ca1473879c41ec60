"""From the driver's errors to ours: who may try again, and nothing secret in the text."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from shared.store.errors import DatabaseBusyError, DatabaseUnavailableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresIOError,
    asyncpg.TargetServerAttributeNotMatched,
)

_BUSY = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # a deadlock's victim
    asyncpg.InsufficientResourcesError,
    TimeoutError,
)


# Not here, because a person has to act: a login refused (28), a role we may not take (42501), and no such database
# (3D000), which is a name mistyped or a restore that somebody is at.
_CLOSED_TO_CONNECTIONS = asyncpg.ObjectNotInPrerequisiteStateError.sqlstate


@contextmanager
def translated(*, connection_is_lost: Callable[[], bool], connecting: bool = False) -> Iterator[None]:
    """Raise StoreError or one of its kinds in place of every error of the driver.

    `connecting`: the block makes a connection and does nothing else. Some codes mean an outage only then.
    """
    try:
        yield
    except _UNAVAILABLE as error:
        raise _translated(DatabaseUnavailableError, error) from error
    except _BUSY as error:
        raise _translated(DatabaseBusyError, error) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # The driver says the same of a misuse and of a connection that went away while it was in use.
        kind = DatabaseUnavailableError if connection_is_lost() else StoreError
        raise _translated(kind, error) from error
    except asyncpg.PostgresError as error:
        # A statement out of turn has the same code as a database that lets nobody in for now.
        is_closed = connecting and error.sqlstate == _CLOSED_TO_CONNECTIONS
        raise _translated(DatabaseUnavailableError if is_closed else StoreError, error) from error


def _translated(kind: type[StoreError], error: Exception) -> StoreError:
    """Make our error and take the values out of the driver's, which stays in the traceback as the cause."""
    if not isinstance(error, asyncpg.PostgresError):
        return kind(str(error) or type(error).__name__)
    # "Failing row contains (…)", "Key (…) already exists", "invalid input …: …" quote what was to be stored.
    error.detail = None
    error.context = None
    if isinstance(error, asyncpg.DataError):
        error.args = (str(error).partition(":")[0],)
    return kind(str(error), sqlstate=error.sqlstate, constraint=error.constraint_name)
