from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from shared.settings import Settings
from tests.running import BOUND_S, variables_of

if TYPE_CHECKING:
    from pathlib import Path


def test_every_line_of_a_worker_that_logs_json_is_json_to_its_end(home: Path, database_url: str) -> None:
    settings = Settings(home=home, database_url=database_url, log_format="json", device_messages=False)
    variables = variables_of(settings) | {"SLUICE_HUB_URL": "ws://127.0.0.1:1"}
    program = [sys.executable, "-m", "sluice.cli"]
    subprocess.run([*program, "wallet", "init"], env=variables, cwd=home, check=True, stdout=subprocess.DEVNULL)
    lines = []
    with subprocess.Popen(
        [*program, "worker"], env=variables, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            lines.append(json.loads(line))
            if lines[-1]["message"] == "lease_acquired":
                worker.send_signal(signal.SIGTERM)
        assert worker.wait(BOUND_S) == 0

    [word] = [line for line in lines if "shutdown" in line["message"]]
    assert word["level"] == "info"
    assert {"message", "level", "timestamp", "logger"} <= word.keys()
