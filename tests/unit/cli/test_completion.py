"""Completing in a shell: the script that is printed, in a real bash, and what the program answers to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.cli.application import app

PROGRAM = Path(sys.executable).with_name("sluice")


def completed_by_bash(*words: str) -> list[str]:
    """What bash offers for the last of the words, by the script that `sluice completion bash` prints."""
    line = " ".join(f"'{word}'" for word in words)
    program = f"""
        source <('{PROGRAM}' completion bash)
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        function=$(complete -p sluice | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function '{PROGRAM}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_groups_options_and_choices() -> None:
    assert completed_by_bash("sluice", "chan") == ["channels"]
    assert completed_by_bash("sluice", "channels", "sw") == ["sweep"]
    assert completed_by_bash("sluice", "audit", "--de") == ["--deep"]
    assert completed_by_bash("sluice", "keys", "create", "--scope", "re") == ["read", "receive"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_script_and_answers(shell: str) -> None:
    script = CliRunner().invoke(app, ["completion", shell]).stdout
    asked = {"_SLUICE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "sluice channels sw"}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "sw"}
    answer = subprocess.run([PROGRAM], capture_output=True, text=True, check=True, env={**os.environ, **asked})

    assert f"_SLUICE_COMPLETE=complete_{shell}" in script
    assert "sweep" in answer.stdout
    assert "forgive" not in answer.stdout


def test_a_shell_that_is_not_known_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["completion", "tcsh"]).exit_code == 2


def test_completing_loads_no_part_of_the_application() -> None:
    program = (
        "import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules), sep='\\n', file=sys.stderr));"
        "from sluice.cli import main; main()"
    )
    asked = {"_SLUICE_COMPLETE": "complete_bash", "COMP_WORDS": "sluice channels sw", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **asked}
    )

    loaded = set(done.stderr.splitlines())
    heavy = {"fastapi", "celery", "asyncpg", "psycopg", "sqlalchemy", "httpx", "redis", "coincurve"}
    rooms = {"front", "worker", "devnet", "shared.settings", "shared.obyte", "shared.receiving"}
    assert done.stdout == "sweep\n"
    assert loaded & (heavy | rooms) == set()
