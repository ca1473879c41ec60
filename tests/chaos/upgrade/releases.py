"""The previous release as a tree of files, and what runs its code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[3]
NAMED_IN = ROOT / "infra" / "previous-release"
PLUGIN = Path(__file__).with_name("premigrated.py")


def previous_release() -> str:
    """The commit or tag of the release before this one."""
    [name] = [line for line in NAMED_IN.read_text().splitlines() if line and not line.startswith("#")]
    return name


def unpack(directory: Path) -> Path:
    """Put the previous release's files there. Skips the test when the repository's history is not at hand."""
    name = previous_release()
    program = shutil.which("git")
    if program is None:
        pytest.skip("there is no git to get the previous release with")
    packed = subprocess.run([program, "-C", str(ROOT), "archive", name], capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the previous release {name} is not here: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as files:
        files.extractall(directory)  # noqa: S202 - what git has just packed of this very repository
    return directory


def migrate(tree: Path, dsn: str, phase: str) -> None:
    """Run a release's migrations."""
    code = "import sys; from shared.store.migrations import migrate; migrate(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, dsn, phase], cwd=tree, check=True)


@contextmanager
def code_of(tree: Path) -> Iterator[None]:
    """Let programs that are started in the block run the code of a release, wherever they are started from."""
    named = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_tests(tree: Path, older: Path, plugins: Path, words: Sequence[str], *, within_s: float) -> str:
    """Run tests of one release on databases in the middle of the two; return the last line. Fails with their output."""
    plugins.mkdir(exist_ok=True)
    (plugins / "sluice_premigrated.py").write_bytes(PLUGIN.read_bytes())
    environment = os.environ | {
        "PREMIGRATED_OLDER": str(older),
        "PREMIGRATED_NEWER": str(ROOT),
        "PYTHONPATH": os.pathsep.join([str(tree), str(plugins)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in [name for name in environment if name.startswith(("PYTEST_", "COV_"))]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "sluice_premigrated", "-p", "no:cacheprovider", *words],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    return done.stdout.strip().splitlines()[-1]
