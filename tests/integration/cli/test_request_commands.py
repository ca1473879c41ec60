from __future__ import annotations

import json
import logging
import secrets
from datetime import datetime, timedelta
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
    first = sluice("create", "1200", "--memo", "A cup\norder 7", "--metadata", '{"order": 7}', "--expires-in", "1h")
    created, expires = (datetime.fromisoformat(first[name]) for name in ("created_at", "expires_at"))
    assert abs(expires - created - timedelta(hours=1)) < timedelta(minutes=1)
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


def test_no_request_is_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["-Q3vN8wXyZ1aBcDeFgHiJk", "-Q3vN8wXyZ1aBcDeFgHiJl", "kQ3vN8wXyZ1aBcDeFgHiJk"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: next(drawn))
    request_id = sluice("create", "5")["id"]
    assert sluice("show", request_id)["id"] == "kQ3vN8wXyZ1aBcDeFgHiJk"


def test_an_address_that_was_not_copied_whole_is_told() -> None:
    for words in (["https://pay.example/pay/kQ3vN8w"], ["https://pay.example/pay/kQ3vN8w", "5"]):
        done = CliRunner().invoke(app, ["pay", *words])
        assert done.exit_code == 2
        assert "no address of a payment request" in done.stderr


@pytest.mark.parametrize("text", ["0h", "soon", "1.5h", "5y", "-1h", "99999w"])
def test_what_is_no_time_is_told(text: str) -> None:
    done = run("create", "5", f"--expires-in={text}")
    assert done.exit_code == 2
    assert "90d, 12h, 30m or 45s" in done.stderr
