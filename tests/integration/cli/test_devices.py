from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from shared.obyte.keys import KeyPair
from shared.obyte.pairing import parse_pairing_code
from sluice.cli.application import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN = KeyPair(bytes([7]) * 32)
OTHER = KeyPair(bytes([8]) * 32)


@pytest.fixture(autouse=True)
def _receiver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def sluice(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def execute(database_url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def run_worker_once(database_url: str) -> None:
    """Leave behind what a worker does when it first exchanges messages."""
    statement = "INSERT INTO device_keys (pubkey, hub, temp_key) VALUES (%s, 'hub.example/bb', '')"
    execute(database_url, statement, OWN.pubkey_b64)


def test_before_the_worker_ran_there_is_no_code() -> None:
    result = sluice("devices", "pairing-code")
    assert result.exit_code == 1
    assert "start its worker once" in result.stderr


def test_a_code_works_once_unless_the_settings_have_a_secret(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_worker_once(database_url)
    codes = [parse_pairing_code(sluice("devices", "pairing-code").stdout) for _ in range(2)]
    assert codes[0].secret != codes[1].secret
    assert {(code.pubkey, code.hub) for code in codes} == {(OWN.pubkey_b64, "hub.example/bb")}

    monkeypatch.setenv("SLUICE_PAIRING_SECRET", "everybody")
    told = json.loads(sluice("devices", "pairing-code", "--json").stdout)
    assert told == {
        "pairing_code": f"{OWN.pubkey_b64}@hub.example/bb#everybody",
        "device_address": OWN.device_address,
        "hub": "hub.example/bb",
        "one_time": False,
    }
    assert json.loads(sluice("devices", "pairing-code", "--one-time", "--json").stdout)["one_time"] is True
    assert execute(database_url, "SELECT count(*) FROM pairing_secrets") == [(3,)]


def test_devices_are_listed_and_forgotten(database_url: str) -> None:
    assert "No device is paired" in sluice("devices", "list").stdout
    execute(
        database_url,
        "INSERT INTO correspondents (device_address, pubkey, hub, name, is_confirmed)"
        " VALUES (%s, %s, 'hub.example', 'Anna', true)",
        OTHER.device_address,
        OTHER.pubkey_b64,
    )
    assert "Anna" in sluice("devices", "list").stdout
    [listed] = json.loads(sluice("devices", "list", "--json").stdout)
    assert (listed["device_address"], listed["hub"]) == (OTHER.device_address, "hub.example")

    assert sluice("devices", "forget", OTHER.device_address).exit_code == 0
    assert sluice("devices", "forget", OTHER.device_address).exit_code == 1
    assert json.loads(sluice("devices", "list", "--json").stdout) == []
