"""Running processes, for tests of several rooms: `sluice up`, and waiting until processes have ended."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.settings import Settings, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND_S = 60


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def settings_for(home: Path) -> Settings:
    """Settings of a stack on this home that meets no other one."""
    port, devnet_port = free_ports(2)
    return Settings(home=home, port=port, devnet_port=devnet_port)


def variables_of(settings: Settings) -> dict[str, str]:
    """The environment that gives a command these settings, but for the hub: one that is named is the operator's."""
    named = {name: value for name, value in environment(settings).items() if name != "SLUICE_HUB_URL"}
    return {**os.environ, **named}


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


@contextmanager
def sluice_up(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A whole receiver with two fronts as another process, ready."""
    words = [sys.executable, "-m", "sluice.cli", "up", "--fronts", "2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=variables_of(settings)) as process:
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
