from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from shared.obyte.keys import payment_key
from sluice.cli import common, pay
from sluice.cli.application import app
from sluice.cli.common import CommandError, Commands, shown
from sluice.payer.payments import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

PHRASE = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def sluice(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), terminal_width=200)


def every_command(commands: typer.Typer = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    tree = typer.main.get_command(commands)
    yield from _walk(tree, path)


def _walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None or getattr(command, "invoke_without_command", False):
        yield path
    for name, child in (children or {}).items():
        yield from _walk(child, (*path, name))


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_says_what_it_does_with_an_example(path: tuple[str, ...]) -> None:
    result = sluice(*path, "--help")

    assert result.exit_code == 0
    assert f"Example: sluice {' '.join(path)}" in result.output


def test_help_flows_to_the_width_of_the_terminal() -> None:
    narrow = CliRunner().invoke(app, ["pay", "--help"], terminal_width=80, env={"COLUMNS": "80"}).output
    about = narrow.partition("When no answer comes")[2].partition("╭")[0]

    assert [line for line in about.splitlines()[:-2] if 0 < len(line.strip()) < 50] == []


def test_help_is_quick_because_commands_import_what_they_need_when_they_run() -> None:
    program = "import sys, sluice.cli.application; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    heavy = {"fastapi", "celery", "pydantic", "asyncpg", "psycopg", "sqlalchemy", "httpx", "redis", "coincurve"}
    assert heavy & set(loaded.splitlines()) == set()


def test_wrong_usage_is_status_2() -> None:
    assert sluice("keys", "create").exit_code == 2
    assert sluice("no-such-command").exit_code == 2
    assert sluice("keys", "create", "--scope", "everything").exit_code == 2


def test_a_wrong_setting_is_one_line_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_PORT", "0")

    result = sluice("keys", "list")

    assert result.exit_code == 1
    assert result.stderr == "sluice: SLUICE_PORT: input should be greater than or equal to 1, not '0'\n"


def test_without_a_database_the_error_says_what_to_do() -> None:
    result = sluice("payments", "list")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "try `sluice up`" in result.stderr


def test_a_database_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", f"postgresql://sluice:hunter2@/sluice?host={tmp_path}")

    result = sluice("keys", "list")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr


@pytest.fixture
def failing() -> typer.Typer:
    commands = typer.Typer(cls=Commands)

    @commands.command()
    def surprise() -> None:
        raise ZeroDivisionError("one over nothing")

    @commands.command()
    def refusal() -> None:
        raise CommandError("there is no such thing")

    @commands.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    return commands


def test_a_refusal_is_its_own_words(failing: typer.Typer) -> None:
    result = CliRunner().invoke(failing, ["refusal"])

    assert (result.exit_code, result.stderr) == (1, "sluice: there is no such thing\n")


def test_a_surprise_is_told_in_one_line_without_a_traceback(failing: typer.Typer) -> None:
    result = CliRunner().invoke(failing, ["surprise"])

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "unexpected ZeroDivisionError: one over nothing" in result.stderr


def test_a_surprise_shows_its_traceback_to_those_who_ask(failing: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_LOG_LEVEL", "debug")

    assert "Traceback" in CliRunner().invoke(failing, ["surprise"]).stderr


def test_ctrl_c_is_status_130(failing: typer.Typer) -> None:
    assert CliRunner().invoke(failing, ["interrupted"]).exit_code == 130


def test_a_new_wallet_is_encrypted_private_and_never_overwritten(tmp_path: Path) -> None:
    made = sluice("wallet", "init")
    again = sluice("wallet", "init")

    assert made.exit_code == 0
    assert again.exit_code == 1
    for name in ("wallet.json", "wallet.passphrase"):
        file = tmp_path / ".sluice" / name
        assert file.stat().st_mode & 0o777 == 0o600
    assert "mnemonic" not in (tmp_path / ".sluice" / "wallet.json").read_text()
    assert sluice("wallet", "address").output.strip() in made.output


def test_a_wallet_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "seed.txt").write_text(PHRASE + "\n")

    result = sluice("wallet", "init", "--mnemonic-file", "seed.txt")

    assert result.exit_code == 0
    assert PHRASE not in result.output
    assert json.loads(sluice("wallet", "address", "--json").output) == {"address": payment_key(PHRASE).address}


@pytest.mark.parametrize("phrase", ["", "abandon abandon", PHRASE.replace("about", "abandon")])
def test_a_wrong_phrase_makes_no_wallet_and_is_not_repeated(tmp_path: Path, phrase: str) -> None:
    (tmp_path / "seed.txt").write_text(phrase)

    result = sluice("wallet", "init", "--mnemonic-file", "seed.txt")

    assert result.exit_code == 1
    assert "abandon" not in result.output
    assert not any((tmp_path / ".sluice").glob("wallet.*"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = sluice("wallet", "init", "--mnemonic-file", str(tmp_path / "seed.txt"))

    assert (result.exit_code, result.stderr) == (1, f"sluice: {tmp_path / 'seed.txt'}: no such file or directory\n")


def test_no_wallet_is_told_with_what_to_do() -> None:
    assert "make one with `sluice wallet init`" in sluice("wallet", "address").stderr


def test_a_mistyped_variable_is_told_on_stderr_and_nothing_else_is_changed(tmp_path: Path) -> None:
    sluice("wallet", "init")
    words = [sys.executable, "-m", "sluice.cli", "wallet", "address", "--json"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "SLUICE_PROT": "1"}
    )

    assert done.stderr == "SLUICE_PROT: is no setting, did you mean SLUICE_PORT?\n"
    assert "address" in json.loads(done.stdout)


def test_a_wallet_without_its_passphrase_is_told() -> None:
    sluice("wallet", "init")
    Path(".sluice/wallet.passphrase").unlink()

    assert "there is no passphrase file" in sluice("wallet", "address").stderr


def test_a_wrong_passphrase_is_told() -> None:
    sluice("wallet", "init")
    Path(".sluice/wallet.passphrase").write_text("another\n")

    assert "the passphrase is wrong" in sluice("wallet", "address").stderr


def test_texts_of_peers_cannot_steer_the_terminal() -> None:
    assert shown("\x1b[2Jcleared\r") == "\ufffd[2Jcleared\ufffd"
    assert shown({"ticket": ["\x1b[2J", None]}) == '{"ticket": ["\\u001b[2J", null]}'


def test_who_has_paid_and_got_no_answer_is_told_how_to_ask_again(capsys: pytest.CaptureFixture[str]) -> None:
    receipt = Receipt(7, "A" * 32, 1, 100, 100, response="received payment for 100 base")
    pay._show(receipt, as_json=False)
    assert "resend" not in capsys.readouterr().err
    pay._show(replace(receipt, code="application_failed"), as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out)["code"] == "application_failed"
    assert "`sluice resend 7` asks for it again" in told.err


def test_tables_never_cut_an_address(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = ("A" * 32, "B" * 32, 1_000_000)

    common.print_table(["channel", "peer", "amount"], [row], empty="none")

    assert "A" * 32 in capsys.readouterr().out


def test_a_table_that_is_wider_than_the_terminal_becomes_blocks_of_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("A" * 32, 1_000_000), ("B" * 32, 5)]
    for columns in (43, 42):
        monkeypatch.setattr(common, "_terminal_columns", lambda columns=columns: columns)
        common.print_table(["channel", "amount"], rows, empty="none")

    table, blocks = capsys.readouterr().out.replace(common.GAP, " ").split("channel  A", 1)
    assert len(table.splitlines()) == 3
    assert blocks.splitlines()[:3] == ["A" * 31, "amount   1 000 000", ""]


def test_numbers_in_tables_are_flush_right(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_table(["amount", "asset"], [(1_000_000, "base"), (5, "base")], empty="none")

    assert [line.rstrip() for line in capsys.readouterr().out.replace(common.GAP, " ").splitlines()] == [
        "   amount  asset",
        "1 000 000  base",
        "        5  base",
    ]


def test_a_hub_that_is_away_is_told_once_with_the_reason(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("SLUICE_HUB_URL", f"ws://127.0.0.1:{free_port}")
    monkeypatch.setattr("sluice.cli.payer_channels.CATCH_UP_S", 1.0)

    result = sluice("channels", "list", "--payer")

    assert result.exit_code == 0
    *_, last = result.stderr.splitlines()
    assert last.startswith("as last seen: no connection to the hub within 1 s: cannot connect to the hub: ")
    assert result.stderr.count("payer_hub_lost") <= 1


def test_who_pays_a_stranger_is_told_to_open_a_channel(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("SLUICE_HUB_URL", f"ws://127.0.0.1:{free_port}")

    result = sluice("pay", "http://127.0.0.1:1/", "5")

    assert result.exit_code == 1
    assert "open one with `sluice channels open http://127.0.0.1:1/ DEPOSIT`" in result.stderr


def test_output_that_nobody_reads_any_more_is_no_failure_to_shout_about(tmp_path: Path) -> None:
    program = "from sluice.cli import main; main()"
    words = [sys.executable, "-c", program, "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
