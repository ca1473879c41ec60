from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
from typer.testing import CliRunner

from shared.audit import RULES, Audit, AuditInterruptedError, Report
from shared.store.audit import reading
from shared.store.audit.rules import Invariant
from sluice.cli.application import app
from tests.integration.audit.books import LIMITS, RECEIVING, keep_books
from tests.integration.audit.damages import DAMAGES
from tests.receiving_support import database_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

AUDIT = Audit(RULES, LIMITS, default_network="devnet", deep=True)


@pytest.fixture(scope="module")
def kept_url(postgres_url: str, _template: str) -> Iterator[str]:
    with database_of(postgres_url, _template, "test_audit") as url:
        yield url


@pytest.fixture
async def conn(kept_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """The owner's connection to books that are right; what a test does to them is undone."""
    connection = await asyncpg.connect(kept_url)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM instance)"):
        async with connection.transaction():
            await keep_books(connection)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def testbooks_that_are_right_break_no_rule(conn: asyncpg.Connection[Any]) -> None:
    report = await AUDIT.run(conn)

    assert report.broken == []
    assert [finding.name for finding in report.findings] == [rule.name for rule in RULES]
    assert {what for what, number in report.rows_read.items() if not number} == set()
    assert report.signatures == 3


def test_every_rule_is_broken_once_below() -> None:
    names = [rule.name for rule in RULES]

    assert sorted(DAMAGES) == sorted(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_breaks_a_rule_is_found_with_its_row(conn: asyncpg.Connection[Any], name: str) -> None:
    damage = DAMAGES[name]
    await conn.execute("ALTER TABLE channels DROP CONSTRAINT channels_credit_was_signed")
    await conn.execute(damage.sql)

    report = await AUDIT.run(conn)

    [found] = [finding for finding in report.broken if finding.name == name]
    assert any(damage.shown.items() <= row.items() for row in found.rows), found.rows


async def test_a_forged_signature_is_found_by_looking_deep(conn: asyncpg.Connection[Any]) -> None:
    forged = RECEIVING.package(300, 50)
    forged["signed_message"]["payment_amount"] = 51
    await conn.execute("UPDATE channels SET claim = $1 WHERE aa_address = $2", json.dumps(forged), RECEIVING.channel)

    [found] = (await AUDIT.run(conn)).broken

    assert (found.name, found.rows[0]["fault"]) == ("claim_proves_spent", "it proves nothing: bad_signature")


async def test_pages_leave_nothing_out(conn: asyncpg.Connection[Any]) -> None:
    await conn.execute("UPDATE payments SET asset = 'other'; UPDATE payments_archive SET asset = 'other'")

    whole = await AUDIT.run(conn)
    in_pages = await replace(AUDIT, page=1, page_of_numbers=1).run(conn)

    assert in_pages.rows_read == whole.rows_read
    assert _rows(in_pages, "payment_fits_its_channel") == _rows(whole, "payment_fits_its_channel")
    assert len(_rows(whole, "payment_fits_its_channel")) == 6


async def test_a_rule_tells_of_so_many_rows_and_that_there_are_more(conn: asyncpg.Connection[Any]) -> None:
    await conn.execute("UPDATE payments SET asset = 'other'")

    report = await replace(AUDIT, most_rows=2, page=1).run(conn)

    [found] = [finding for finding in report.broken if finding.name == "payment_fits_its_channel"]
    assert (len(found.rows), found.is_cut) == (2, True)


def _rows(report: Report, name: str) -> list[Any]:
    [rows] = [finding.rows for finding in report.findings if finding.name == name]
    return sorted(rows, key=str)


async def test_a_rule_that_takes_too_long_is_told_by_name(kept_url: str) -> None:
    slow = Invariant("slow", "Nothing is slow.", "SELECT pg_sleep(5)")

    with pytest.raises(AuditInterruptedError, match="slow took too long"):
        async with reading.snapshot(kept_url, statement_s=0.05) as conn:
            await replace(AUDIT, rules=[slow]).run(conn)


async def test_what_happens_meanwhile_is_not_seen(kept_url: str, conn: asyncpg.Connection[Any]) -> None:
    """Half of a payment would look like a broken rule: everything is seen as of one moment."""
    await conn.fetchval("SELECT 1")
    async with reading.snapshot(kept_url, statement_s=5) as looking:
        assert (await replace(AUDIT, rules=RULES[:1]).run(looking)).broken == []
        writing = await asyncpg.connect(kept_url)
        try:
            await writing.execute("UPDATE channels SET credit = 1 WHERE credit = 50")
            assert (await AUDIT.run(looking)).broken == []
        finally:
            await writing.execute("UPDATE channels SET credit = 50 WHERE credit = 1")
            await writing.close()


async def test_nothing_can_be_written(kept_url: str) -> None:
    async with reading.snapshot(kept_url, statement_s=5) as conn:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await conn.execute("UPDATE channels SET credit = 0")


# ----------------------------------------------------------------------------------------------------- `sluice audit`


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
async def books(monkeypatch: pytest.MonkeyPatch, database_url: str) -> str:
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv(
        "SLUICE_EXPOSURE_LIMITS",
        '{"*": {"max_by_channel": 3000000, "sweep_above": 1000000, "max_own_deposit": 1000000, "max_total": 9000000}}',
    )
    conn = await asyncpg.connect(database_url)
    await keep_books(conn)
    await conn.close()
    return database_url


def sluice(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_command_says_that_all_is_well(books: str) -> None:
    told = sluice("audit")

    assert (told.exit_code, told.stderr) == (0, "")
    assert f"all {len(RULES)} rules hold" in told.stdout


def test_the_command_fails_with_the_rule_and_the_row(books: str) -> None:
    with psycopg.connect(books) as conn:
        conn.execute(DAMAGES["payments_add_up"].sql.encode())

    for_people, for_scripts = sluice("audit"), sluice("audit", "--json", "--only", "payments_add_up")

    assert for_people.exit_code == for_scripts.exit_code == 1
    assert "payments_add_up" in for_people.stdout
    assert RECEIVING.channel in for_people.stdout
    told = json.loads(for_scripts.stdout)
    assert told["holds"] is False
    assert [rule["rows"][0]["credit"] for rule in told["rules"]] == [49]


def test_no_package_is_shown(books: str) -> None:
    with psycopg.connect(books) as conn:
        conn.execute("ALTER TABLE channels DROP CONSTRAINT channels_credit_was_signed")
        for damage in DAMAGES.values():
            with conn.transaction():
                conn.execute(damage.sql.encode())

    told = sluice("audit", "--json", "--deep")

    assert told.exit_code == 1
    assert "authentifiers" not in told.stdout
    assert "signed_message" not in told.stdout


def test_a_login_that_may_only_read_is_enough(books: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE test_auditor LOGIN IN ROLE pg_read_all_data")
    try:
        monkeypatch.setenv("SLUICE_DATABASE_URL", _as_login(books, "test_auditor"))
        assert sluice("audit").exit_code == 0
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as conn:
            conn.execute("DROP ROLE test_auditor")


def _as_login(url: str, login: str) -> str:
    _, _, rest = url.partition("@")
    return f"postgresql://{login}@{rest}"


def test_a_rule_that_does_not_exist_is_wrong_usage(books: str) -> None:
    told = sluice("audit", "--only", "no_such_rule")

    assert told.exit_code == 2
    assert "--list" in told.stderr


def test_the_rules_are_listed_without_a_database() -> None:
    told = json.loads(sluice("audit", "--list", "--json").stdout)

    assert [rule["name"] for rule in told] == [rule.name for rule in RULES]
