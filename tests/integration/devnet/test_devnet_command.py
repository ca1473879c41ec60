"""`python -m devnet` as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from devnet.__main__ import main
from devnet.private_commands import PRIVATE_COMMANDS


def test_process_says_where_it_listens_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "devnet", "--port", "0", "--seed", "test"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""
    assert line.startswith("devnet listening on ws://127.0.0.1:")


def test_taken_port_is_an_error_and_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert capsys.readouterr().err.startswith("devnet cannot listen")


def test_several_hubs_listen_on_ports_one_after_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "devnet", "--port", str(port), "--hubs", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert line.startswith(f"devnet listening on ws://127.0.0.1:{port}, ws://127.0.0.1:{port + 1}, order provider ")


@pytest.mark.parametrize(
    "arguments", [["--hubs", "0"], ["--port", "70000"], ["--stabilise-after", "-1"], ["--tps-interval", "0"]]
)
def test_senseless_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_help_lists_the_private_requests(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in PRIVATE_COMMANDS)


def test_help_says_that_nothing_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "kept in memory only" in " ".join(capsys.readouterr().out.split())


def test_help_says_what_skipped_time_does_to_running_clients(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "for the agents alone" in said
    assert "refuses its units as coming from the future" in said
