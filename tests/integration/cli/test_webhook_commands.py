"""`sluice webhooks …` on a database in which a worker has run once."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from shared.webhooks.signing import read_secret
from sluice.cli.application import app
from tests.receiving_support import OWN, database_of
from worker.webhooks.terms import reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "https://shop.example/sluice"


@pytest.fixture(scope="module")
def common_url(postgres_url: str, _template: str) -> Iterator[str]:
    with database_of(postgres_url, _template, "webhook_commands") as url:
        execute(url, "INSERT INTO webhook_signer (public_key) VALUES (%s)", reader_of(OWN).public_key)
        yield url


@pytest.fixture(autouse=True)
def _receiver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, common_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", common_url)
    execute(common_url, "DELETE FROM webhooks")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def execute(database_url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def sluice(*words: str) -> Any:
    return CliRunner().invoke(app, ["webhooks", *words])


def told(*words: str) -> Any:
    result = sluice(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_webhook_is_made_shown_changed_paused_resumed_and_deleted() -> None:
    made = told("create", URL, "--type", "payment_received", "--description", "shop")
    number = str(made["id"])
    assert read_secret(made["secret"])
    shown = told("show", number)
    assert "secret" not in shown
    assert (shown["url"], shown["types"], shown["state"]) == (URL, ["payment_received"], "active")
    assert [item["id"] for item in told("list")] == [made["id"]]
    assert URL in sluice("list").stdout
    assert told("change", number, "--url", f"{URL}/new", "--all-types")["types"] is None
    assert told("pause", number)["state"] == "paused"
    assert "not active" in sluice("test", number).stderr or "paused" in sluice("test", number).stderr
    assert told("resume", number)["state"] == "active"
    assert sluice("delete", number, "--yes").exit_code == 0
    assert sluice("show", number).exit_code == 1


def test_for_people_the_secret_is_all_that_is_on_stdout() -> None:
    result = sluice("create", URL)
    assert read_secret(result.stdout.strip())
    rotated = sluice("rotate", str(told("list")[0]["id"]))
    assert read_secret(rotated.stdout.strip()) != read_secret(result.stdout.strip())
    refused = sluice("rotate", str(told("list")[0]["id"]))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "still valid" in refused.stderr


def test_deliveries_are_listed_and_sent_again(common_url: str) -> None:
    number = str(told("create", URL)["id"])
    [[event_id, name]] = execute(
        common_url,
        "WITH e AS (INSERT INTO events (kind, data) VALUES ('alarm_raised', '{}') RETURNING id) "
        "SELECT e.id, s.name FROM e, event_stream s",
    )
    execute(
        common_url,
        "INSERT INTO webhook_deliveries (webhook_id, event_id, stream, kind, event_at, state, finished_at, attempts) "
        "VALUES (%s, %s, %s, 'alarm_raised', now(), 'failed', now(), 1)",
        number,
        event_id,
        name,
    )
    execute(
        common_url,
        "INSERT INTO webhook_attempts (webhook_id, event_id, number, at, duration_ms, status, error, excerpt) "
        "VALUES (%s, %s, 1, now(), 42, 500, 'bad_status', 'oh no')",
        number,
        event_id,
    )
    delivery = f"{name}-{event_id}"
    assert [item["id"] for item in told("deliveries", number, "--state", "failed")] == [delivery]
    assert told("deliveries", number, delivery)["log"][0]["status"] == 500
    assert "oh no" in sluice("deliveries", number, delivery).stdout
    assert told("replay", number, delivery)["pending"] == 1
    assert told("deliveries", number, "--state", "failed") == []
    assert told("replay", number, "--since", "2020-01-01")["id"] == int(number)
    assert sluice("replay", number).exit_code == 1
    assert sluice("replay", number, "other-1").exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "ftp://shop.example/"), "https://"),
        (("create", "https://me:secret@shop.example/"), "password"),
        (("create", URL, "--type", "nothing"), "no event nothing"),
        (("show", "999"), "no webhook"),
        (("delete", "999", "--yes"), "no webhook 999"),
        (("deliveries", "999"), "no webhook 999"),
    ],
)
def test_what_cannot_be_done_is_one_line(words: tuple[str, ...], said: str) -> None:
    result = sluice(*words)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert said in result.stderr
    assert "me:secret" not in result.stderr
