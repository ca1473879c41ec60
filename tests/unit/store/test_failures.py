"""Which refusals of Postgres are worth another try, told by SQLSTATE."""

from __future__ import annotations

import asyncpg
import pytest

from shared.store.errors import DatabaseBusyError, DatabaseUnavailableError, StoreError
from shared.store.failures import translated

PASSES = {
    "08006": DatabaseUnavailableError,  # connection failure
    "08P01": DatabaseUnavailableError,  # a pooler that has no server for us
    "57P01": DatabaseUnavailableError,  # the server shuts down
    "57P02": DatabaseUnavailableError,  # another backend has crashed
    "57P03": DatabaseUnavailableError,  # the server starts up
    "57P05": DatabaseUnavailableError,  # idle for too long
    "53300": DatabaseBusyError,  # no connection slot is free
    "53200": DatabaseBusyError,  # out of memory
    "53100": DatabaseBusyError,  # the disk is full
}

NEEDS_A_PERSON = {
    "28P01": "wrong password",
    "28000": "no such login, or not from here",
    "3D000": "no such database",
    "42501": "the login may not take the role",
    "22023": "no such role",
}

NOT_ACCEPTING_CONNECTIONS = "55000"


def translation(sqlstate: str, *, connecting: bool) -> StoreError:
    with pytest.raises(StoreError) as raised, translated(connection_is_lost=lambda: False, connecting=connecting):
        raise asyncpg.PostgresError.new({"C": sqlstate, "M": "refused"})
    assert raised.value.sqlstate == sqlstate
    return raised.value


@pytest.mark.parametrize("connecting", [True, False], ids=["connecting", "connected"])
@pytest.mark.parametrize("sqlstate", PASSES)
def test_what_passes_by_itself_may_be_tried_again(sqlstate: str, *, connecting: bool) -> None:
    assert type(translation(sqlstate, connecting=connecting)) is PASSES[sqlstate]


@pytest.mark.parametrize("connecting", [True, False], ids=["connecting", "connected"])
@pytest.mark.parametrize("sqlstate", NEEDS_A_PERSON, ids=NEEDS_A_PERSON.values())
def test_what_a_person_has_to_mend_is_no_outage(sqlstate: str, *, connecting: bool) -> None:
    assert type(translation(sqlstate, connecting=connecting)) is StoreError


def test_a_database_closed_to_connections_is_away_but_a_statement_out_of_turn_is_a_fault() -> None:
    assert type(translation(NOT_ACCEPTING_CONNECTIONS, connecting=True)) is DatabaseUnavailableError
    assert type(translation(NOT_ACCEPTING_CONNECTIONS, connecting=False)) is StoreError
