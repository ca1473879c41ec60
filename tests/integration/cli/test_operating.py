from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import time
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from devnet.server import Devnet
from shared.settings import Settings
from shared.store.alarms import AlarmKind
from shared.store.mark import Mark, mark_file_of
from sluice.cli.application import app
from sluice.home import HomeLock
from sluice.machine import checks
from sluice.machine.checks import examine
from sluice.machine.findings import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANNEL = "C" * 32


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
def _database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)


def sluice(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.mark.usefixtures("_database")
def test_a_key_is_shown_once_listed_without_it_and_revoked() -> None:
    made = json.loads(
        sluice("keys", "create", "--scope", "receive", "--scope", "read", "--name", "shop", "--json").stdout
    )
    listed = sluice("keys", "list", "--json")

    assert made["scopes"] == ["read", "receive"]
    assert [key["name"] for key in json.loads(listed.stdout)] == ["shop"]
    assert made["key"] not in listed.stdout + sluice("keys", "list").stdout

    assert sluice("keys", "revoke", str(made["id"])).exit_code == 0
    assert json.loads(sluice("keys", "list", "--json").stdout)[0]["revoked_at"] is not None
    assert sluice("keys", "revoke", str(made["id"])).exit_code == 1


@pytest.mark.usefixtures("_database")
def test_a_key_expires_and_is_replaced() -> None:
    made = json.loads(
        sluice("keys", "create", "--scope", "read", "--name", "shop", "--expires", "90d", "--json").stdout
    )
    left = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert left == timedelta(days=90)
    rotated = sluice("keys", "rotate", str(made["id"]), "--keep", "2h")
    assert len(rotated.stdout.split()) == 1
    assert "goes on to work until" in rotated.stderr
    assert "is a new order" in rotated.stderr
    old, new = json.loads(sluice("keys", "list", "--json").stdout)
    assert (new["name"], new["scopes"], new["replaces"], new["state"]) == ("shop", ["read"], old["id"], "active")
    assert datetime.fromisoformat(old["expires_at"]) - datetime.fromisoformat(new["created_at"]) == timedelta(hours=2)
    assert sluice("keys", "revoke", str(old["id"])).exit_code == 0
    assert sluice("keys", "rotate", str(old["id"])).exit_code == 1
    assert "revoked" in sluice("keys", "list").stdout


@pytest.mark.usefixtures("_database")
def test_several_keys_or_all_of_them_are_revoked_at_once() -> None:
    numbers = [str(json.loads(sluice("keys", "create", "--scope", "read", "--json").stdout)["id"]) for _ in range(5)]

    def states() -> list[str]:
        return [key["state"] for key in json.loads(sluice("keys", "list", "--json").stdout)]

    assert sluice("keys", "revoke", *numbers[:2]).stdout.count("is revoked") == 2
    assert sorted(states()) == ["active", "active", "active", "revoked", "revoked"]
    partly = sluice("keys", "revoke", numbers[0], numbers[2])
    assert (partly.exit_code, partly.stdout) == (1, f"key {numbers[2]} is revoked\n")
    assert f"no key {numbers[0]}" in partly.stderr
    assert sluice("keys", "revoke", "--all").stdout.count("is revoked") == 2
    assert set(states()) == {"revoked"}
    for words in ([], ["--all", numbers[0]]):
        assert sluice("keys", "revoke", *words).exit_code == 2


@pytest.mark.parametrize("time", ["", "0d", "3x", "-1d", "1.5h", "99999999w", "never"])
def test_how_long_a_key_works_is_a_time(time: str) -> None:
    assert sluice("keys", "create", "--scope", "read", "--expires", time).exit_code == 2


@pytest.mark.parametrize("words", [("create", "--scope", "read", "--expires"), ("rotate", "1", "--keep")])
def test_a_number_of_nothing_is_no_time(words: tuple[str, ...]) -> None:
    refused = sluice("keys", *words, "90")
    assert refused.exit_code == 2
    assert "90 of what?" in refused.stderr


@pytest.mark.usefixtures("_database")
@pytest.mark.parametrize(
    ("made_for", "words", "days"),
    [
        (["--expires", "90d"], [], 90),
        ([], [], None),
        (["--expires", "90d"], ["--expires", "2w"], 14),
        ([], ["--expires", "2w"], 14),
        (["--expires", "90d"], ["--expires", "never"], None),
    ],
)
def test_a_new_key_lives_as_long_as_the_old_one_was_made_for(
    made_for: list[str], words: list[str], days: int | None
) -> None:
    made = json.loads(sluice("keys", "create", "--scope", "read", *made_for, "--json").stdout)
    new = json.loads(sluice("keys", "rotate", str(made["id"]), *words, "--json").stdout)
    end = None if days is None else datetime.fromisoformat(new["created_at"]) + timedelta(days=days)
    assert new["expires_at"] == (None if end is None else end.isoformat())


@pytest.mark.usefixtures("_database")
def test_the_key_alone_goes_to_stdout_for_scripts() -> None:
    result = sluice("keys", "create", "--scope", "receive")

    assert len(result.stdout.split()) == 1
    assert "not shown again" in result.stderr


@pytest.mark.usefixtures("_database")
def test_empty_lists_say_so() -> None:
    assert sluice("channels", "list").stdout.startswith("There are no channels.")
    assert sluice("payments", "list").stdout == "There are no payments.\n"


@pytest.mark.usefixtures("_database")
@pytest.mark.parametrize("command", ["show", "close"])
def test_an_unknown_channel_may_be_one_that_we_pay_through(command: str) -> None:
    result = sluice("channels", command, CHANNEL)

    assert result.exit_code == 1
    assert result.stderr == (
        f"sluice: there is no channel {CHANNEL}, neither the receiver's nor one of the payer's wallet\n"
    )


@pytest.fixture
def _payments(_database: None, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO assets (asset) VALUES ('base') ON CONFLICT DO NOTHING")
        connection.execute(
            "INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, version, role, status,"
            " period, deposited_by_peer, spent_by_peer, claim, last_event_id)"
            " VALUES (%s, %s, %s, 'base', 1000, '1.1', 'A', 'open', 1, 100000, 300, 'secret-claim', 1)",
            (CHANNEL, "M" * 32, "P" * 32),
        )
        for number in (1, 2, 3):
            connection.execute(
                "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset, message)"
                " VALUES (%s, 1, %s, 100, 'base', %s)",
                (CHANNEL, number * 100, json.dumps(f'order {number}, "red"\n')),
            )


@pytest.mark.usefixtures("_payments")
def test_payments_are_listed_newest_first() -> None:
    listed = json.loads(sluice("payments", "list", "--limit", "2", "--json").stdout)

    assert [payment["amount_spent"] for payment in listed] == [300, 200]
    assert sluice("payments", "list").stdout.count(CHANNEL) == 3
    assert json.loads(sluice("payments", "list", "--channel", "X" * 32, "--json").stdout) == []


@pytest.mark.usefixtures("_payments")
def test_messages_are_part_of_the_json_and_not_json_inside_a_text(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE payments SET message = %s WHERE amount_spent = 300", (json.dumps({"order": [3]}),))
        connection.execute("UPDATE payments SET message = NULL WHERE amount_spent = 200")

    listed = json.loads(sluice("payments", "list", "--json").stdout)

    assert [payment["message"] for payment in listed] == [{"order": [3]}, None, 'order 1, "red"\n']


@pytest.mark.usefixtures("_payments")
def test_payments_are_exported_oldest_first_as_csv_that_reads_back(tmp_path: Path) -> None:
    to_terminal = sluice("payments", "export", "--csv").stdout
    assert sluice("payments", "export", "--output", "payments.csv").exit_code == 0

    rows = list(csv.DictReader(io.StringIO(to_terminal)))
    assert [row["amount_spent"] for row in rows] == ["100", "200", "300"]
    assert json.loads(rows[0]["message"]) == 'order 1, "red"\n'
    assert (tmp_path / "payments.csv").read_text() == to_terminal


@pytest.mark.usefixtures("_payments")
def test_a_period_without_payments_exports_the_heading_alone() -> None:
    assert sluice("payments", "export", "--until", "2020-01-01").stdout.count("\n") == 1


@pytest.mark.usefixtures("_payments")
def test_channels_are_shown_without_the_claim() -> None:
    listed = sluice("channels", "list", "--json")
    shown = sluice("channels", "show", CHANNEL)

    assert json.loads(listed.stdout)[0]["spent_by_peer"] == 300
    assert "spent_by_peer" in shown.stdout
    for output in (listed.stdout, shown.stdout, sluice("channels", "list").stdout):
        assert "claim" not in output.replace("claimed_by_peer", "")
        assert "secret" not in output


@pytest.mark.usefixtures("_payments")
def test_a_closing_is_shown_with_the_time_when_it_can_be_ended(database_url: str) -> None:
    before = json.loads(sluice("channels", "show", CHANNEL, "--json").stdout)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE channels SET status = 'closing_initiated_by_me', close_started_at_s = 1800000000")

    assert before["timeout_ends_at"] is None
    assert "timeout_ends_at        2027-01-15 08:16:40Z\n" in sluice("channels", "show", CHANNEL).stdout


def test_migrating_an_empty_database_and_again(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated_by_cli")
    monkeypatch.setenv("SLUICE_DATABASE_URL", postgres_url.replace("/sluice?", "/migrated_by_cli?"))

    first = sluice("migrate", "--phase", "pre", "--json")
    again = sluice("migrate", "--json")

    assert json.loads(first.stdout)["pre"] is not None
    assert json.loads(again.stdout)["pre"] == json.loads(first.stdout)["pre"]


def test_commands_find_the_database_of_a_running_home(tmp_path: Path, database_url: str) -> None:
    with HomeLock(tmp_path / ".sluice") as lock:
        lock.announce(database_url=database_url)
        assert sluice("keys", "list").stdout == "There are no API keys.\n"
    assert sluice("keys", "list").exit_code == 1


async def findings(settings: Settings) -> dict[str, tuple[Verdict, str, str]]:
    return {found.check: (found.verdict, found.found, found.advice) async for found in examine(settings)}


async def test_doctor_is_content_with_a_machine_where_nothing_runs_yet(tmp_path: Path, free_port: int) -> None:
    found = await findings(Settings(home=tmp_path, port=free_port, devnet_port=free_port))

    assert Verdict.FAIL not in {verdict for verdict, _, _ in found.values()}
    assert found["postgres"][:2] == (Verdict.OK, "embedded, not running now")
    assert "sluice wallet init" in found["wallet"][2]


async def test_doctor_sees_the_schema_durability_and_watcher(tmp_path: Path, database_url: str, redis_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=database_url, redis_url=redis_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = await findings(settings)
        connection.execute(
            "INSERT INTO instance (network, own_address, watcher_synced_at) VALUES ('devnet', %s, now())", ("M" * 32,)
        )
        following = await findings(settings)
        connection.execute(
            "INSERT INTO lease (name, holder, term, expires_at) VALUES ('wallet', 'me/1', 1, now() + interval '1 day')"
        )
        active = await findings(settings)
        connection.execute("UPDATE instance SET watcher_synced_at = now() - interval '1 day'")
        silent = await findings(settings)

    assert [before[name][0] for name in ("postgres", "durability", "schema", "redis")] == [Verdict.OK] * 4
    assert before["watcher"][0] is Verdict.WARN
    assert following["watcher"][0] is Verdict.OK
    assert "worker" not in before
    assert [found["worker"][0] for found in (following, active)] == [Verdict.WARN, Verdict.OK]
    assert silent["watcher"][0] is Verdict.FAIL


async def test_doctor_explains_a_restored_database_until_it_is_trusted(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, database_url=database_url)
    mark = Mark(mark_file_of(settings.wallet_file, "devnet"), own_address="M" * 32, network="devnet")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO instance (network, own_address, watcher_synced_at, pulse) VALUES ('devnet', %s, now(), 5)",
            ("M" * 32,),
        )
        await mark.keep(5)
        good = await findings(settings)
        await mark.keep(6)
        behind = await findings(settings)
        connection.execute(
            "UPDATE instance SET pulse = 7, restored_at = now(), restored_reason = 'old', watcher_synced_at = NULL"
        )
        unread = await findings(settings)
        connection.execute("UPDATE instance SET watcher_synced_at = now()")
        connection.execute(
            "INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, version, role,"
            " unsure_period) VALUES (%s, %s, %s, 'base', 1000, '1.1', 'A', 1)",
            ("C" * 32, "M" * 32, "P" * 32),
        )
        doubted = await findings(settings)

    assert good["records"][0] is Verdict.OK
    assert [found["records"][0] for found in (behind, unread, doubted)] == [Verdict.FAIL] * 3
    assert "newer backup" in behind["records"][2]
    assert "in 1 of the channels" in doubted["records"][1]
    assert "trust-database" in doubted["records"][2]

    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    assert (await asyncio.to_thread(sluice, "wallet", "trust-database", "--yes")).stdout == (
        "1 channel is trusted again.\n"
    )
    assert (await findings(settings))["records"][:2] == (Verdict.OK, "never restored")
    again = await asyncio.to_thread(sluice, "wallet", "trust-database")
    assert again.exit_code == 1
    assert "nothing is doubted" in again.stderr
    assert "Go on?" not in again.output


async def test_doctor_misses_the_mark_where_a_worker_would(tmp_path: Path, database_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO instance (network, own_address, watcher_synced_at, pulse) VALUES ('devnet', %s, now(), 5)",
            ("M" * 32,),
        )
        elsewhere = await findings(settings)
        settings.wallet_file.touch(mode=0o600)
        awake = await findings(settings)
        connection.execute("UPDATE instance SET watcher_synced_at = now() - interval '1 day'")
        before_a_start = await findings(settings)

    assert elsewhere["records"][0] is Verdict.OK
    assert [found["records"][0] for found in (awake, before_a_start)] == [Verdict.WARN] * 2
    assert "beside its wallet file" in awake["records"][2]
    assert "copy it from where the worker ran last" in before_a_start["records"][2]


async def test_doctor_tells_every_alarm_that_stands_with_what_to_do(tmp_path: Path, database_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=database_url)
    quiet = await findings(settings)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO alarms (kind, subject, severity, facts) VALUES ('wallet_low', '', 'critical',"
            ' \'{"spendable": 5, "reserve": 200000}\')'
        )
        critical = await findings(settings)
        connection.execute("DELETE FROM alarms")
        connection.execute(
            "INSERT INTO alarms (kind, subject, severity, facts) VALUES ('fraud_seen', %s, 'warning', '{}')",
            ("C" * 32,),
        )
        warning = await findings(settings)

    assert quiet["alarms"][:2] == (Verdict.OK, "none")
    verdict, found, advice = critical["alarms"]
    assert verdict is Verdict.FAIL
    assert found.startswith("wallet_low since ")
    assert found.endswith(": reserve 200000, spendable 5")
    assert advice == AlarmKind.WALLET_LOW.advice
    assert warning["alarms"][0] is Verdict.WARN
    assert f"fraud_seen {'C' * 32} since" in warning["alarms"][1]


async def test_doctor_wants_what_postgres_confirms_to_be_on_disk(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())

    found = await findings(Settings(home=tmp_path, database_url=database_url))

    assert found["durability"][:2] == (Verdict.FAIL, "synchronous_commit not on")


async def test_doctor_tells_whether_a_receipt_waits_for_a_stand_by(tmp_path: Path, database_url: str) -> None:
    alone = await findings(Settings(home=tmp_path, database_url=database_url))

    assert alone["durability"][:2] == (
        Verdict.OK,
        "what Postgres confirms is on its disk, and need not be on any other",
    )


async def test_doctor_warns_of_a_clock_that_differs_from_the_database(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = await findings(Settings(home=tmp_path, database_url=database_url))
    wrong = []
    for ahead_s in (60, -60):
        with monkeypatch.context() as patch:
            patch.setattr(checks, "time", SimpleNamespace(time=lambda ahead_s=ahead_s: time.time() + ahead_s))
            wrong.append((await findings(Settings(home=tmp_path, database_url=database_url)))["clock"])

    assert right["clock"][0] is Verdict.OK
    assert [verdict for verdict, _, _ in wrong] == [Verdict.WARN] * 2
    assert all("60 s apart" in found for _, found, _ in wrong)


async def test_doctor_warns_of_a_server_whose_log_quotes_rows(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        quiet = await findings(Settings(home=tmp_path, database_url=database_url))
        connection.execute(f"ALTER DATABASE {name} SET log_error_verbosity = verbose".encode())

    found = await findings(Settings(home=tmp_path, database_url=database_url))

    assert quiet["server log"][0] is Verdict.OK
    assert found["server log"][0] is Verdict.WARN


async def test_doctor_wants_the_schema_of_this_release(tmp_path: Path, postgres_url: str) -> None:
    found = await findings(Settings(home=tmp_path, database_url=postgres_url))

    assert found["schema"] == (Verdict.FAIL, "not what this release needs", "run `sluice migrate`")


async def test_doctor_tells_servers_that_do_not_answer(tmp_path: Path, free_port: int) -> None:
    settings = Settings(
        home=tmp_path,
        database_url=f"postgresql://sluice:hunter2@127.0.0.1:{free_port}/sluice",
        redis_url=f"redis://127.0.0.1:{free_port}",
        hub_url=f"ws://127.0.0.1:{free_port}",
    )
    found = await findings(settings)

    assert found["postgres"][0] is Verdict.FAIL
    assert found["redis"][0] is Verdict.WARN  # payments go on without it
    assert found["hub"][0] is Verdict.FAIL
    assert "hunter2" not in str(found)


async def test_doctor_warns_of_one_dead_hub_and_fails_for_all_of_them(tmp_path: Path, free_port: int) -> None:
    dead, other = f"ws://127.0.0.1:{free_port}", f"ws://localhost:{free_port}"

    async def verdicts(hubs: str) -> list[Verdict]:
        found = examine(Settings(home=tmp_path, hub_url=hubs))
        return [finding.verdict async for finding in found if finding.check == "hub"]

    async with Devnet(port=0) as devnet:
        assert await verdicts(f"{dead},{devnet.url}") == [Verdict.WARN, Verdict.OK]
    assert await verdicts(f"{dead},{other}") == [Verdict.FAIL, Verdict.FAIL]


async def test_doctor_opens_the_wallet_and_looks_who_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sluice("wallet", "init")
    settings = Settings(home=tmp_path / ".sluice")
    good = await findings(settings)
    settings.wallet_passphrase_file.chmod(0o644)
    exposed = await findings(settings)
    settings.wallet_passphrase_file.write_text("another")
    wrong = await findings(settings)

    assert good["wallet"][0] is Verdict.OK
    assert exposed["wallet"][0] is Verdict.WARN
    assert wrong["wallet"][:2] == (Verdict.FAIL, "the passphrase is wrong, or the wallet file was altered")


def test_doctor_fails_with_status_1_and_says_it_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_LEASE_TTL_S", "-1")

    result = sluice("doctor", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {
            "check": "settings",
            "verdict": "fail",
            "found": "SLUICE_LEASE_TTL_S: input should be greater than 0, not '-1'",
            "advice": "correct it in the environment or in .env",
        }
    ]
