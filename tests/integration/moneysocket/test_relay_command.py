"""`sluice relay` as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from moneysocket_support import SEED
from typer.testing import CliRunner
from websockets.sync.client import connect

from shared.moneysocket.frames import decode_frame, encode_clear_frame
from shared.moneysocket.messages import RequestRendezvous
from sluice.cli.application import app
from tests.integration.moneysocket.stack_support import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

ASK = encode_clear_frame(
    RequestRendezvous(
        timestamp=1.0, request_uuid="b7c1d1f4-6a1b-4d1e-9a6c-0123456789ab", rendezvous_id=SEED.rendezvous_id
    )
)


def relay(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sluice.cli", "relay", *arguments]


def test_it_says_where_it_listens_and_closes_everybody_on_sigterm(tmp_path: Path) -> None:
    environment = {"PATH": "", "SLUICE_HOME": str(tmp_path)}
    command = relay("--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        with connect(line.split()[-1]) as waiting:
            waiting.send(ASK)
            assert name(waiting.recv(PATIENCE_S)) == "NOTIFY_RENDEZVOUS_NOT_READY"
            process.send_signal(signal.SIGTERM)
            assert name(waiting.recv(PATIENCE_S)) == "NOTIFY_RENDEZVOUS_END"
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == "relay stopped\n"
    assert line.startswith("relay listening on ws://127.0.0.1:")


def name(frame: str | bytes) -> str:
    assert isinstance(frame, bytes)
    return decode_frame(frame, None).NAME


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = relay("--port", str(taken.getsockname()[1]))
        environment = {"PATH": "", "SLUICE_HOME": str(tmp_path)}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "the relay cannot listen" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--certificate", "chain.pem"], "--certificate and --key belong together"),
        (["--connections", "1000000"], "--connections is at most"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_the_start(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    ended = CliRunner().invoke(app, ["relay", *arguments])
    assert ended.exit_code == 2
    assert said in ended.output
