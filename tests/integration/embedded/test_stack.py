from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.settings import Settings, environment
from sluice.home import HomeBusyError, HomeLock, attached
from sluice.supervisor import ChildStoppedError, Stack, SupervisorError

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND_S = 60


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture
def settings(home: Path) -> Settings:
    port, devnet_port = free_ports(2)
    return Settings(home=home, port=port, devnet_port=devnet_port)


def pids_of(parent: int) -> list[int]:
    """All descendants of a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, fields = status.read_text().partition(" ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields.rpartition(")")[2].split()[1]) == parent:
            found += [int(pid), *pids_of(int(pid))]
    return found


def wait_for_end(pids: list[int]) -> None:
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([handle], [], [], BOUND_S)
        os.close(handle)
        assert ended, f"process {pid} still runs"


@pytest.mark.slow
async def test_a_stack_is_ready_when_entered_and_gone_when_left(settings: Settings) -> None:
    async with Stack(settings, fronts=2) as stack:
        async with httpx.AsyncClient(trust_env=False) as client:
            for url in (stack.url, *stack.front_urls):
                assert (await client.get(f"{url}readyz")).json() == {"status": "ready", "reasons": []}
        assert len(set(stack.front_urls)) == 2
        assert attached(settings).database_dsn == stack.settings.database_dsn
        children = pids_of(os.getpid())
        with pytest.raises(HomeBusyError), HomeLock(settings.home):
            pass

    wait_for_end(children)
    with HomeLock(settings.home):
        assert attached(settings).database_url is None


@pytest.mark.slow
async def test_a_part_that_dies_is_named_with_its_last_words_and_takes_the_rest_down(settings: Settings) -> None:
    async with Stack(settings) as stack:
        children = pids_of(os.getpid())
        [worker] = [child for child in stack.children if child.name == "worker"]
        os.kill(worker.pid, signal.SIGKILL)

        with pytest.raises(ChildStoppedError, match=r"worker stopped with status -9\nits log .*worker\.log ends with:"):
            await stack.watch()
    wait_for_end(children)


async def test_a_port_that_somebody_else_uses_is_told_before_anything_starts(settings: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.port)),
        pytest.raises(SupervisorError, match="SLUICE_PORT: cannot"),
    ):
        await Stack(settings).__aenter__()
    assert not (settings.home / "postgres").exists()


async def test_a_home_that_is_in_use_is_told(settings: Settings) -> None:
    with HomeLock(settings.home), pytest.raises(HomeBusyError, match="already runs"):
        await Stack(settings).__aenter__()


@contextmanager
def sluice_up(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "sluice.cli", "up", "--fronts", "2"]
    # Only what differs from the defaults: a hub that is named would be taken for the operator's.
    names = ("SLUICE_HOME", "SLUICE_PORT", "SLUICE_DEVNET_PORT")
    given = {name: value for name, value in environment(settings).items() if name in names}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **given}) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "Ctrl-C" in line:
                    break
            else:
                pytest.fail("sluice up ended before it was ready")
            yield process
        finally:
            process.kill()


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
