"""The plan for Citus against the schema as it is: no table forgotten, no rule of Citus broken without being named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = (Path(__file__).parents[3] / "infra" / "postgres" / "citus.sql").read_text()
KEY = "aa_address"

DISTRIBUTED = set(re.findall(r"create_distributed_table\('(\w+)', 'aa_address'", PLAN))
REFERENCE = set(re.findall(r"create_reference_table\('(\w+)'", PLAN))
LOCAL = {name for names in re.findall(r"--   local: (.+)", PLAN) for name in names.split()}
DROPPED_CONSTRAINTS = set(re.findall(r"ALTER TABLE (\w+) DROP CONSTRAINT (\w+)", PLAN))
DROPPED_TRIGGERS = set(re.findall(r"DROP TRIGGER (\w+) ON (\w+)", PLAN))


@pytest.fixture(scope="module")
def schema(postgres_url: str, _template: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url.replace("/sluice?", f"/{_template}?")) as conn:
        yield conn


def test_every_table_has_exactly_one_place(schema: psycopg.Connection[Any]) -> None:
    rows = schema.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )
    assert {name for (name,) in rows} == DISTRIBUTED | REFERENCE | LOCAL
    assert len(DISTRIBUTED) + len(REFERENCE) + len(LOCAL) == len(DISTRIBUTED | REFERENCE | LOCAL)


def test_every_unique_key_of_a_distributed_table_has_the_channel(schema: psycopg.Connection[Any]) -> None:
    rows = schema.execute(
        """
        SELECT t.relname, c.relname, array(
                 SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey::int2[])
               )
          FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
         WHERE (i.indisunique OR i.indisprimary) AND t.relname = ANY (%s)
        """,
        [list(DISTRIBUTED)],
    ).fetchall()
    assert {table for table, _, _ in rows} == DISTRIBUTED
    broken = {(table, index) for table, index, columns in rows if KEY not in columns}
    assert broken == {gone for gone in DROPPED_CONSTRAINTS if gone[0] in DISTRIBUTED}


def test_references_stay_within_a_shard_or_are_dropped(schema: psycopg.Connection[Any]) -> None:
    rows = schema.execute(
        """
        SELECT f.conrelid::regclass::text, f.conname, f.confrelid::regclass::text, array(
                 SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey)
               )
          FROM pg_constraint f WHERE f.contype = 'f' AND f.connamespace = 'public'::regnamespace
        """
    ).fetchall()
    broken = set()
    for table, name, target, columns in rows:
        if table in DISTRIBUTED:
            allowed = target in REFERENCE or (target in DISTRIBUTED and KEY in columns)
        else:
            allowed = target not in DISTRIBUTED
        if not allowed:
            broken.add((table, name))
    assert broken == {gone for gone in DROPPED_CONSTRAINTS if gone[0] not in DISTRIBUTED}


def test_no_trigger_is_left_on_a_distributed_table(schema: psycopg.Connection[Any]) -> None:
    rows = schema.execute(
        "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
        " AND tgrelid::regclass::text = ANY (%s)",
        [list(DISTRIBUTED)],
    ).fetchall()
    assert set(rows) == DROPPED_TRIGGERS


def test_what_a_payment_writes_lies_together() -> None:
    assert {"channels", "payments", "peer_units"} <= DISTRIBUTED
    for table in DISTRIBUTED - {"channels"}:
        assert f"create_distributed_table('{table}', 'aa_address', colocate_with => 'channels')" in PLAN
