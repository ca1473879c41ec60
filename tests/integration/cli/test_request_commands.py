from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from sluice.cli.application import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_PUBLIC_URL", "https://pay.example/")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["requests", *words])


def sluice(*words: str) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, (words, done.stderr, done.exception)
    return json.loads(done.stdout)


def test_a_request_is_made_listed_shown_and_cancelled(database_url: str) -> None:
    assert run("list").stdout == "There are no payment requests.\n"
    first = sluice("create", "1200", "--memo", "A cup\norder 7", "--metadata", '{"order": 7}', "--expires-in", "3600")
    second = sluice("create", "5")
    assert first["url"] == f"https://pay.example/pay/{first['id']}"
    assert (first["state"], first["missing"], first["metadata"]) == ("open", 1_200, {"order": 7})
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO request_payments "
            "(request_id, rail, reference, asset, amount, is_counted, is_late, received_at) "
            "VALUES (%s, 'obyte', '3', 'base', 500, true, false, now())",
            (first["id"],),
        )
    shown = sluice("show", first["id"])
    assert (shown["state"], shown["received"]) == ("partially_paid", 500)
    assert [payment["reference"] for payment in shown["received_payments"]] == ["3"]
    assert "obyte 3" in run("show", first["id"]).stdout
    assert [item["id"] for item in sluice("list")] == [second["id"], first["id"]]
    assert [item["id"] for item in sluice("list", "--state", "partially_paid")] == [first["id"]]
    assert "A cup order 7" in run("list").stdout
    assert sluice("cancel", first["id"])["state"] == "cancelled"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("create", "5", "--metadata", "[]"), 2, "--metadata should be a JSON object"),
        (("create", "5", "--metadata", "{"), 2, "--metadata"),
        (("create", "5", "--asset", "gold"), 2, "asset"),
        (("create", "5", "--return-url", "javascript:1"), 2, "return_url"),
        (("show", "nothing"), 1, "there is no payment request nothing"),
        (("cancel", "nothing"), 1, "there is no payment request nothing"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: tuple[str, ...], status: int, said: str) -> None:
    done = run(*words)
    assert done.exit_code == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("--message", "x"), ("--receiver",), ("--key", "k")])
def test_a_request_is_paid_by_the_wallet_and_names_itself(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["pay", f"https://pay.example/pay/{'A' * 22}", *words])
    assert done.exit_code == 2


def test_only_a_request_tells_its_amount() -> None:
    for words in (("pay", "https://pay.example/"), ("pay", "https://pay.example/", "5", "--deposit", "7")):
        done = CliRunner().invoke(app, list(words))
        assert (done.exit_code, "payment requests" in done.stderr) == (2, True)
