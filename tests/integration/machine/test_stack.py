from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from devnet.server import Devnet
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET
from shared.store.mark import Mark, mark_file_of
from sluice.cli.application import app
from sluice.home import HomeBusyError, HomeLock, attached
from sluice.machine import supervisor
from sluice.machine.supervisor import ChildStoppedError, Stack, SupervisorError
from tests.running import BOUND_S, free_ports, pids_of, settings_for, sluice_up, variables_of, wait_for_end

if TYPE_CHECKING:
    from pathlib import Path

    from shared.settings import Settings


@pytest.fixture
def settings(home: Path) -> Settings:
    return settings_for(home)


def all_of(stack: Stack) -> list[int]:
    return [pid for child in stack.children for pid in (child.pid, *pids_of(child.pid))]


@pytest.mark.slow
async def test_a_new_ledger_has_no_past_and_money_for_closings(settings: Settings) -> None:
    payer = settings.home / "payer" / "devnet"
    payer.mkdir(parents=True)
    for name in ("payer.sqlite3", "payer.sqlite3-wal", "wallet.json"):
        (payer / name).touch()
    async with Stack(settings) as stack:
        address = stack.address
    await Mark(mark_file_of(settings.wallet_file, "devnet"), own_address=address, network="devnet").keep(10**9)

    async with Stack(settings) as stack, HubClient(stack.settings.hub_url, DEVNET) as hub:
        history = await hub.get_history(witnesses=await hub.get_witnesses(), addresses=[stack.address])
        with psycopg.connect(stack.settings.database_dsn) as connection:
            assert connection.execute("SELECT restored_at FROM instance").fetchall() == [(None,)]

    assert [file.name for file in payer.iterdir()] == ["wallet.json"]
    assert stack.address in json.dumps(history)


async def test_a_database_that_knows_a_ledger_that_is_gone_is_told(settings: Settings, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO instance (network, own_address) VALUES ('devnet', %s)", ("M" * 32,))

    with pytest.raises(SupervisorError, match=r"SLUICE_DATABASE_URL: .* a local ledger that is gone"):
        await Stack(settings.connected(database_url=database_url)).__aenter__()


@pytest.mark.slow
async def test_a_stack_is_ready_when_entered_and_gone_when_left(settings: Settings) -> None:
    [rpc_port] = free_ports(1)
    async with Stack(settings, fronts=2, rpc_port=rpc_port) as stack:
        async with httpx.AsyncClient(trust_env=False) as client:
            asked = {"jsonrpc": "2.0", "id": 1, "method": "getBalancesAndStatus", "params": [stack.address]}
            told = (await client.post(f"http://127.0.0.1:{rpc_port}", json=asked)).json()
            assert told["error"]["message"] == "aa_address not known"
            for url in (stack.url, *stack.front_urls):
                assert (await client.get(f"{url}readyz")).json() == {"status": "ready", "reasons": []}
        assert len(set(stack.front_urls)) == 2
        assert attached(settings).database_dsn == stack.settings.database_dsn
        children = all_of(stack)
        with pytest.raises(HomeBusyError), HomeLock(settings.home):
            pass

    wait_for_end(children)
    with HomeLock(settings.home):
        assert attached(settings).database_url is None
    told = (settings.home / "logs" / "worker.log").read_text(encoding="utf-8").splitlines()
    assert [line for line in told if not re.match(r"\d{4}-\d\d-\d\dT\S+ \[info ", line)] == [
        "",
        "worker: Warm shutdown (MainProcess)",  # Celery's word for SIGTERM
    ]


@pytest.mark.slow
async def test_a_part_that_dies_is_named_with_its_last_words_and_takes_the_rest_down(settings: Settings) -> None:
    async with Stack(settings) as stack:
        children = all_of(stack)
        [worker] = [child for child in stack.children if child.name == "worker"]
        os.kill(worker.pid, signal.SIGKILL)

        with pytest.raises(ChildStoppedError, match=r"worker stopped with status -9\nits log .*worker\.log ends with:"):
            await stack.watch()
    wait_for_end(children)


class Told:
    """Remembers what people were told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.is_ledger_there = asyncio.Event()

    def starting(self, what: str) -> None: ...

    def ended(self) -> None: ...

    def waiting(self, what: str, detail: str) -> None:
        self.lines.append((what, detail))

    def ready(self, what: str, detail: str, took_s: float) -> None:
        if what == "ledger":
            self.is_ledger_there.set()


@pytest.mark.slow
async def test_while_no_hub_answers_everything_runs_and_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LEDGER_PATIENCE_S", 0)
    told, hub = Told(), f"ws://127.0.0.1:{settings.devnet_port}"
    async with Stack(settings.model_copy(update={"hub_url": hub}), progress=told) as stack:
        watching = asyncio.create_task(stack.watch())
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{stack.url}readyz")).status_code == 503
        assert attached(settings).database_dsn == stack.settings.database_dsn
        assert [(what, hub in detail) for what, detail in told.lines] == [("ledger", True)]

        async with Devnet(port=settings.devnet_port), asyncio.timeout(BOUND_S):
            await told.is_ledger_there.wait()
        watching.cancel()


@pytest.mark.slow
async def test_a_worker_that_cannot_run_with_these_settings_is_not_waited_for(settings: Settings) -> None:
    changes = {"hub_url": f"ws://127.0.0.1:{settings.devnet_port}", "order_providers": ("A" * 32,)}
    with pytest.raises(ChildStoppedError, match="worker stopped"):
        await Stack(settings.model_copy(update=changes)).__aenter__()


async def test_a_port_that_somebody_else_uses_is_told_before_anything_starts(settings: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.port)),
        pytest.raises(SupervisorError, match="SLUICE_PORT: cannot"),
    ):
        await Stack(settings).__aenter__()
    assert not (settings.home / "postgres").exists()


@pytest.mark.parametrize("words", [["--rpc"], ["--rpc-port", "{port}"]], ids=["of the settings", "named"])
def test_the_port_for_json_rpc_is_looked_at_too(settings: Settings, words: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        told = up_in_vain(settings.model_copy(update={"rpc_port": port}), [word.format(port=port) for word in words])
    assert told == f"sluice: SLUICE_RPC_PORT: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_json_rpc_without_a_key_has_a_port_of_its_own(settings: Settings) -> None:
    told = up_in_vain(settings, ["--rpc-port", str(settings.port)])
    assert told == "sluice: SLUICE_PORT, SLUICE_DEVNET_PORT, SLUICE_RPC_PORT: each needs a port of its own\n"


def up_in_vain(settings: Settings, words: list[str]) -> str:
    result = CliRunner().invoke(app, ["up", *words], env=variables_of(settings))
    assert result.exit_code == 1
    assert not (settings.home / "postgres").exists()
    return result.stderr


async def test_a_home_that_is_in_use_is_told(settings: Settings) -> None:
    with HomeLock(settings.home), pytest.raises(HomeBusyError, match="already runs"):
        await Stack(settings).__aenter__()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_sluice_up_stops_in_order_when_asked(settings: Settings, how: signal.Signals) -> None:
    with sluice_up(settings) as process:
        children = pids_of(process.pid)
        process.send_signal(how)
        said, _ = process.communicate(timeout=BOUND_S)

    wait_for_end(children)
    assert process.returncode == 0
    assert said.splitlines()[-2:] == ["stopping", "stopped"]
    assert re.search("shut down", (settings.home / "logs" / "postgres.log").read_text())


@pytest.mark.chaos
def test_killing_sluice_up_leaves_no_process_and_the_next_start_works(settings: Settings) -> None:
    with sluice_up(settings) as process:
        children = pids_of(process.pid)
        assert len(children) >= 7  # Postgres, Redis, ledger, worker, two fronts with a serving process each
        process.send_signal(signal.SIGKILL)
        wait_for_end(children)

    with sluice_up(settings) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND_S) == 0
