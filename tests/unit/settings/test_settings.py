from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import ENV_FILE, Settings, SettingsError, environment, load_settings, unknown_variables
from shared.settings_docs import PAGE, page


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", ENV_FILE)
    monkeypatch.chdir(tmp_path)


def faults_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    for name, value in variables.items():
        monkeypatch.setenv(f"SLUICE_{name.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value).splitlines()


def test_without_any_variable_a_devnet_under_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings()

    assert settings.home == tmp_path / ".sluice"
    assert settings.network == "devnet"
    assert settings.runs_devnet
    assert settings.hub_url == "ws://127.0.0.1:6611"
    assert settings.wallet_file == tmp_path / ".sluice" / "wallet.json"
    assert (settings.port, settings.rpc_port) == (6800, 6333)
    assert settings.watcher_max_silence_s == 200
    assert settings.unconfirmed_limits["base"].max_by_asset == 1_000_000


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SLUICE_PORT=7001\nSLUICE_RPC_PORT=7002\n")
    monkeypatch.setenv("SLUICE_PORT", "7003")

    settings = load_settings()

    assert (settings.port, settings.rpc_port) == (7003, 7002)


def test_secrets_come_from_files_named_like_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = tmp_path / "secrets"
    files.mkdir()
    (files / "SLUICE_DATABASE_URL").write_text("postgresql://front:word@db/sluice\n")
    (files / "sluice_redis_url").write_text("redis://:word@cache/0")
    (files / "SLUICE_PORT").write_text("7001")
    (files / "something_else").write_text("of no interest")
    monkeypatch.setenv("SLUICE_SECRETS_DIR", str(files))
    monkeypatch.setenv("SLUICE_PORT", "7002")

    settings = load_settings()

    assert settings.database_dsn == "postgresql://front:word@db/sluice"
    assert settings.broker_url == "redis://:word@cache/0"
    assert settings.port == 7002
    assert unknown_variables() == []
    assert Settings(secrets_dir=files).database_dsn == settings.database_dsn


def test_a_wrong_secret_in_a_file_is_told_without_its_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "SLUICE_DATABASE_URL").write_text("mysql://front:word@db/sluice")

    assert faults_of(monkeypatch, secrets_dir=str(tmp_path)) == [
        "SLUICE_DATABASE_URL: must be a URL that starts with postgresql:// or postgres://"
    ]


def test_a_directory_of_secrets_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults_of(monkeypatch, secrets_dir="secrets") == [
        "SLUICE_SECRETS_DIR: must be a directory that can be read, not 'secrets'"
    ]


def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "")

    assert load_settings().database_url is None


@pytest.mark.parametrize(
    ("network", "hub"), [("testnet", "wss://obyte.org/bb-test"), ("mainnet", "wss://obyte.org/bb")]
)
def test_a_public_network_has_its_public_hub(network: str, hub: str) -> None:
    settings = load_settings(network=network)

    assert settings.hub_url == hub
    assert not settings.runs_devnet


def test_several_hubs_are_named_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HUB_URL", "wss://one.example/bb, wss://two.example/bb")

    assert load_settings().hub_urls == ("wss://one.example/bb", "wss://two.example/bb")
    assert load_settings(network="mainnet", hub_url="wss://one.example/bb").hub_urls == ("wss://one.example/bb",)


def test_order_providers_are_pinned_by_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = "I2ADHGP4HL6J37NQAD73J7E5SKFIXJOT", "2FF7PSL7FYXVU5UIQHCVDTTPUOOG75GX"
    assert load_settings().order_providers == ()
    monkeypatch.setenv("SLUICE_ORDER_PROVIDERS", f"{one}, {two}")

    settings = load_settings()

    assert settings.order_providers == (one, two)
    monkeypatch.setenv("SLUICE_ORDER_PROVIDERS", environment(settings)["SLUICE_ORDER_PROVIDERS"])
    assert load_settings().order_providers == (one, two)


def test_no_local_ledger_where_a_hub_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HUB_URL", "ws://hub.example:6611")

    assert not load_settings().runs_devnet


@pytest.mark.parametrize(
    ("variables", "hub"),
    [
        ({"network": "mainnet"}, "obyte.org/bb"),
        ({"hub_url": "wss://a.example/bb,wss://b.example"}, "a.example/bb"),
        ({"hub_url": "ws://devnet:6611/", "device_hub": "localhost:6611"}, "localhost:6611"),
    ],
)
def test_peers_leave_messages_at_the_first_hub(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], hub: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SLUICE_{name.upper()}", value)
    assert load_settings().public_device_hub == hub


def test_the_public_address_ends_with_a_slash_and_is_one_that_peers_can_reach() -> None:
    assert load_settings(public_url="https://pay.example/in").public_url == "https://pay.example/in/"
    assert load_settings(bind_host="0.0.0.0").public_url == "http://127.0.0.1:6800/"  # noqa: S104 - the case tested
    assert load_settings(bind_host="::1").public_url == "http://[::1]:6800/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "65536"),
        ("port", "many"),
        ("network", "livenets"),
        ("hub_url", "https://obyte.org/bb"),
        ("hub_url", "wss://"),
        ("hub_url", "wss://hub:99999"),
        ("hub_url", "wss://hub.example,"),
        ("hub_url", "wss://hub.example,wss://hub.example"),
        ("hub_url", "wss://hub.example,http://hub.example"),
        ("order_providers", "I2ADHGP4"),
        ("order_providers", ","),
        ("device_name", "x" * 101),
        ("device_hub", "wss://hub.example/bb"),
        ("device_hub", "user@hub"),
        ("pairing_secret", "*"),
        ("pairing_secret", "000"),
        ("public_url", "pay.example"),
        ("database_url", "mysql://localhost/sluice"),
        ("redis_url", "http://localhost"),
        ("redis_url", "unix://"),
        ("lease_ttl_s", "0"),
        ("lease_ttl_s", "nan"),
        ("funding_wait_s", "inf"),
        ("request_max_age_s", "-1"),
        ("accept_batch_max", "0"),
        ("max_channel_timeout_s", "799"),
        ("default_channel_timeout_s", "1501"),
        ("watcher_max_silence_s", "800"),
        ("deadline_defend_share", "0.4"),
        ("log_format", "xml"),
        ("unconfirmed_limits", "{"),
        ("unconfirmed_limits", "[]"),
        ("unconfirmed_limits", '{"base": {"max_by_asset": -1, "max_by_channel": 1, "min_age_s": 5}}'),
        ("unconfirmed_limits", '{"base": {"max_by_asset": 9000000000000001, "max_by_channel": 1, "min_age_s": 5}}'),
        ("unconfirmed_limits", '{"base": {"max_by_asset": true, "max_by_channel": 1, "min_age_s": 5}}'),
        ("unconfirmed_limits", '{"base": {"max_by_asset": 1, "max_by_channel": 1, "min_age_s": 5, "more": 1}}'),
        ("unconfirmed_limits", '{"bytes": {"max_by_asset": 1, "max_by_channel": 1, "min_age_s": 5}}'),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    faults = faults_of(monkeypatch, **{name: value})

    assert len(faults) == 1
    assert faults[0].startswith(f"SLUICE_{name.upper()}: ")


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = faults_of(monkeypatch, port="0", log_level="loud", redis_url="nowhere")

    assert [fault.split(":")[0] for fault in faults] == ["SLUICE_REDIS_URL", "SLUICE_PORT", "SLUICE_LOG_LEVEL"]


def test_an_asset_is_named_by_its_unit() -> None:
    asset = "oj8yEksX9Ubq7lLc+p6F2uyHUuynugeVq4+ikT67X6E="
    limit = {"max_by_asset": 0, "max_by_channel": 0, "min_age_s": 0}

    assert list(load_settings(unconfirmed_limits={asset: limit}).unconfirmed_limits) == [asset]
    with pytest.raises(SettingsError):
        load_settings(unconfirmed_limits={asset[:-2] + "F=": limit})  # same bytes, other spelling


@pytest.mark.parametrize(
    "variables",
    [
        {"database_url": "mysql://sluice:hunter2@db/sluice"},
        {"redis_url": "http://:hunter2@cache"},
        {"hub_url": "wss://me:hunter2@hub.example"},
        {"public_url": "https://me:hunter2@pay.example"},
        {"hub_url": "ftp://me:hunter2@hub.example"},
        {"pairing_secret": "hunter2!"},
    ],
)
def test_a_password_is_never_told(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    assert "hunter2" not in "".join(faults_of(monkeypatch, **variables))
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_shown_with_the_settings() -> None:
    settings = load_settings(database_url="postgresql://sluice:hunter2@db/sluice", redis_url="redis://:hunter2@cache")

    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.database_dsn == "postgresql://sluice:hunter2@db/sluice"


def test_several_database_hosts_may_be_listed() -> None:
    assert load_settings(database_url="postgresql://sluice@a:5432,b:5432/sluice").database_url is not None


def test_no_database_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"SLUICE_DATABASE_URL: .*sluice up"):
        _ = load_settings().database_dsn


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        (None, None),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("unix:///run/sluice/redis.sock", "redis+socket:///run/sluice/redis.sock"),
    ],
)
def test_redis_in_the_words_of_celery(redis: str | None, broker: str | None) -> None:
    assert load_settings(redis_url=redis).broker_url == broker


def test_a_child_process_gets_exactly_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        home="data",
        database_url="postgresql://sluice:hunter2@db/sluice",
        lease_ttl_s=1.5,
        unconfirmed_limits={"base": {"max_by_asset": 7, "max_by_channel": 3, "min_age_s": 0.5}},
    )
    program = "from shared.settings import *; s = load_settings(); print(s.database_dsn, s.model_dump_json())"

    shown = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3]), **environment(settings)},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    ).stdout
    dsn, _, dumped = shown.partition(" ")

    assert dsn == "postgresql://sluice:hunter2@db/sluice"
    assert json.loads(dumped) == json.loads(settings.model_dump_json())
    assert settings.home == tmp_path / "data"


def test_a_misspelt_variable_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLUICE_PROT", "7000")
    (tmp_path / ".env").write_text("SLUICE_LEASE_TTL=3\n")

    with caplog.at_level(logging.WARNING):
        load_settings()

    assert unknown_variables() == [
        "SLUICE_LEASE_TTL: is no setting, did you mean SLUICE_LEASE_TTL_S?",
        "SLUICE_PROT: is no setting, did you mean SLUICE_PORT?",
    ]
    assert [record.message for record in caplog.records] == unknown_variables()


def test_every_setting_has_a_description_and_the_page_is_current() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs-settings`"


def test_networks_are_read_and_handed_on_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_WEBHOOK_ALLOWED_NETWORKS", "10.1.0.0/16, fd00:0::/64,127.0.0.1")

    settings = load_settings()

    assert settings.webhook_allowed_networks == ("10.1.0.0/16", "fd00::/64", "127.0.0.1/32")
    assert environment(settings)["SLUICE_WEBHOOK_ALLOWED_NETWORKS"] == "10.1.0.0/16,fd00::/64,127.0.0.1/32"
    assert load_settings(webhook_allowed_networks=()).webhook_allowed_networks == ()


def test_on_a_local_ledger_webhooks_may_stay_on_this_machine() -> None:
    assert load_settings(network="devnet").webhook_allowed_networks == ("127.0.0.0/8", "::1/128")
    assert load_settings(network="testnet").webhook_allowed_networks == ()


@pytest.mark.parametrize("text", ["everything", "10.0.0.1/8", "10.0.0.0/33", "fe80::1%eth0", "10.0.0.0/8,"])
def test_what_is_no_network_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    [fault] = faults_of(monkeypatch, webhook_allowed_networks=text)
    assert fault.startswith("SLUICE_WEBHOOK_ALLOWED_NETWORKS: must be networks as 10.1.0.0/16 or fd00::/64")


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"payments_archive_after_s": "2591999"}, "SLUICE_PAYMENTS_ARCHIVE_AFTER_S: must be 0, or not below"),
        ({"payments_retention_s": "3023999"}, "SLUICE_PAYMENTS_RETENTION_S: must be 0, or not below"),
        (
            {"payments_archive_after_s": "0", "payments_retention_s": "9e8"},
            "SLUICE_PAYMENTS_RETENTION_S: must be 0, or not below SLUICE_PAYMENTS_ARCHIVE_AFTER_S (0), which",
        ),
    ],
)
def test_payments_are_kept_as_long_as_their_events_and_dropped_from_the_archive_only(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    [told] = faults_of(monkeypatch, **variables)
    assert told.startswith(fault)


def test_payments_move_to_the_archive_after_their_events_are_forgotten() -> None:
    assert load_settings(events_retention_s=100).payments_archive_after_s == 432_100
    assert load_settings(payments_archive_after_s=0).payments_archive_after_s == 0


def test_what_needs_a_connection_of_its_own_goes_past_the_pooler() -> None:
    pooled = load_settings(database_url="postgresql://pooler/sluice")
    assert pooled.direct_dsn == pooled.database_dsn
    assert load_settings(database_url="postgresql://p/s", database_direct_url="postgresql://db/s").direct_dsn == (
        "postgresql://db/s"
    )
    assert pooled.read_dsn is None
