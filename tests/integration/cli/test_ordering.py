"""What the command line asks the worker for, as rows; no worker runs here."""

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

CHANNEL = "C" * 32


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role)"
            " VALUES (repeat('C', 32), repeat('O', 32), repeat('P', 32), 'base', 1000, 's', '1.1', 'A')"
        )
    yield
    root.handlers, root.level = handlers, level


def sluice(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def ordered(database_url: str) -> list[tuple[str, str | None, Any]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT kind, aa_address, params FROM commands ORDER BY id").fetchall()


def test_each_order_is_a_row_with_what_was_asked_for(database_url: str) -> None:
    for words in (
        ["deposit", CHANNEL, "50000"],
        ["sweep", CHANNEL],
        ["close", CHANNEL],
        ["auto-refill", CHANNEL, "60000", "--below", "20000"],
        ["auto-refill", CHANNEL, "--off"],
        ["open", "P" * 32, "70000", "--refill", "60000", "--below", "20000", "--version", "1.2"],
        ["open", "http://127.0.0.1:1/", "70000", "--receiver", "--closing-timeout", "2h", "--salt", "shop"],
    ):
        result = sluice("channels", *words, "--no-wait", "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["state"] == "queued"

    refill = {"amount": 60_000, "threshold": 20_000}
    first = {"initial_amount": 70_000, "asset": "base"}
    assert ordered(database_url) == [
        ("deposit", CHANNEL, {"amount": 50_000}),
        ("sweep", CHANNEL, {}),
        ("close", CHANNEL, {}),
        ("auto_refill", CHANNEL, refill),
        ("auto_refill", CHANNEL, {"off": True}),
        ("open", None, {"peer": "P" * 32, **first, "version": "1.2", "auto_refill": refill}),
        ("open", None, {"peer": "http://127.0.0.1:1/", **first, "timeout": 7_200, "salt": "shop"}),
    ]


def test_a_named_order_is_given_once(database_url: str) -> None:
    words = ("channels", "deposit", CHANNEL, "50000", "--key", "monday", "--no-wait", "--json")
    assert json.loads(sluice(*words).stdout) == json.loads(sluice(*words).stdout)
    assert len(ordered(database_url)) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["channels", "deposit", "D" * 32, "50000"],
        ["channels", "sweep", "D" * 32],
        ["channels", "auto-refill", CHANNEL, "60000"],
        ["channels", "auto-refill", CHANNEL, "60000", "--below", "1", "--off"],
        ["channels", "open", "http://127.0.0.1:1/", "70000", "--refill", "60000", "--below", "1"],
        ["channels", "open", "P" * 32, "70000", "--refill", "60000"],
        ["channels", "open", "P" * 32, "70000", "--below", "20000"],
        ["channels", "open", "http://127.0.0.1:1/", "70000", "--key", "monday"],
        ["channels", "deposit", CHANNEL, "50000", "--payer", "--key", "monday"],
        ["channels", "close", CHANNEL, "--payer", "--key", "monday"],
        ["pay", "http://127.0.0.1:1/", "5", "--key", "monday"],
        ["pay", "http://127.0.0.1:1/", "5", "--peer", "http://127.0.0.1:2/"],
        ["resend"],
        ["resend", "1", "--channel", CHANNEL],
        ["resend", "--channel", CHANNEL, "--period", "1"],
        ["resend", "--channel", "D" * 32, "--period", "1", "--spent", "5"],
        ["pay", "D" * 32, "5"],
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line_and_makes_no_wallet(
    database_url: str, words: list[str], tmp_path: Path
) -> None:
    result = sluice(*words)
    is_unknown = "D" * 32 in words
    assert (result.exit_code, result.stderr.count("\n")) == (1 if is_unknown else 2, 1)
    assert ordered(database_url) == []
    assert not (tmp_path / ".sluice" / "payer").exists()


def test_a_worker_that_is_away_is_asked_about(database_url: str) -> None:
    result = sluice("channels", "deposit", CHANNEL, "50000", "--timeout", "1")
    assert result.exit_code == 3
    assert "is a worker running?" in result.stderr
    assert "`sluice commands wait 1`" in result.stderr
    assert len(ordered(database_url)) == 1


def test_an_order_can_be_asked_about_later(database_url: str) -> None:
    sluice("channels", "deposit", CHANNEL, "50000", "--no-wait")
    queued, under_way = sluice("commands", "show", "1", "--json"), sluice("commands", "wait", "1", "--timeout", "1")
    assert json.loads(queued.stdout)["state"] == "queued"
    assert (under_way.exit_code, under_way.stdout) == (3, "")

    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE commands SET state = 'succeeded', finished_at = now(), result = '{\"unit\": \"U\"}'")
    done = sluice("commands", "wait", "1", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"command": 1, "state": "succeeded", "unit": "U"})

    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE commands SET state = 'failed', error = 'no: because'")
    failed = sluice("commands", "wait", "1")
    assert (failed.exit_code, failed.stderr) == (1, "sluice: no: because\n")
    assert sluice("commands", "show", "2").exit_code == 1


def test_the_worker_pays_through_a_channel_that_only_the_receiver_has(database_url: str) -> None:
    result = sluice("pay", CHANNEL, "5", "--timeout", "1")
    assert result.exit_code == 3, "nobody is there to pay"
    assert ordered(database_url) == [("pay", CHANNEL, {"amount": 5, "message": None})]


def test_the_worker_is_told_where_the_peer_takes_payments_if_somebody_says_so(database_url: str) -> None:
    sluice("pay", CHANNEL, "5", "--peer", "http://127.0.0.1:1/", "--timeout", "1")
    sluice("resend", "--channel", CHANNEL, "--period", "2", "--spent", "15", "--timeout", "1")
    assert ordered(database_url) == [
        ("pay", CHANNEL, {"amount": 5, "message": None, "peer": "http://127.0.0.1:1/"}),
        ("resend", CHANNEL, {"period": 2, "amount_spent": 15}),
    ]


def test_a_payment_that_may_have_arrived_is_told_with_how_to_send_it_again(database_url: str) -> None:
    words = ("pay", CHANNEL, "5", "--key", "order-7", "--timeout", "1")
    sluice(*words)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE commands SET state = 'failed', finished_at = now(), error = 'uncertain: no answer',"
            ' result = \'{"period": 2, "amount": 5, "amount_spent": 15}\''
        )
    result = sluice(*words)
    assert result.exit_code == 3
    assert f"`sluice resend --channel {CHANNEL} --period 2 --spent 15`" in result.stderr
