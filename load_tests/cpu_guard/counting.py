"""Runs the work under valgrind and reads how many instructions each of its sections took."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from load_tests.cpu_guard import inputs

BOUND_S = 200.0
_ROOT = Path(__file__).parents[2]
_MARK = "getloadavg"
_LAST_WORDS = 1_500
_TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class CountingError(Exception):
    """Nothing could be counted; the message says why."""


def valgrind_program() -> str | None:
    """Where valgrind is; None when this machine has none."""
    return shutil.which("valgrind")


def count(*sections: str) -> dict[str, int]:
    """Return how many instructions of this machine one package costs in each section of `work`.

    What comes before the sections, start-up and first times, is not counted. Takes seconds. Raises CountingError.
    """
    valgrind = valgrind_program()
    if valgrind is None:
        raise CountingError("valgrind is not installed (apt-get install valgrind)")
    with tempfile.TemporaryDirectory(prefix="sluice-cpu-") as temporary:
        packages, out = Path(temporary) / "packages.json", Path(temporary) / "out"
        inputs.write(packages)
        # A dump is written at each entry of the function: before the first section, between two, after the last.
        options = ["--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={out}", "--trace-children=no"]
        work = [sys.executable, "-m", "load_tests.cpu_guard.work", str(packages), *sections]
        try:
            done = subprocess.run(
                [valgrind, *options, *work], cwd=_ROOT, env=_environment(), capture_output=True, text=True,
                timeout=BOUND_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CountingError(f"not counted within {BOUND_S:g} s") from None
        if done.returncode != 0:
            raise CountingError(f"the work ended with status {done.returncode}:\n{done.stderr[-_LAST_WORDS:]}")
        return {
            section: _total(Path(f"{out}.{number}")) // inputs.PACKAGES for number, section in enumerate(sections, 2)
        }


def _environment() -> dict[str, str]:
    """Nothing of the user's: hashes, and with them the layout of every set, are the same in each run."""
    return {"PATH": os.defpath, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def _total(dump: Path) -> int:
    found = _TOTALS.search(dump.read_text()) if dump.exists() else None
    if found is None:
        raise CountingError(f"this interpreter does not call {_MARK} of the C library where it should")
    return int(found[1])
