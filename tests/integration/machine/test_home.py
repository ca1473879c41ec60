from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import Settings
from sluice.home import HomeBusyError, HomeError, HomeLock, attached, private_directory, socket_directory

ME = (os.geteuid(), os.getegid())
PARALLEL = """
import sys
from pathlib import Path
from sluice.home import HomeBusyError, HomeLock
try:
    with HomeLock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except HomeBusyError as error:
    print(error)
"""


def other_process(home: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PARALLEL, str(home)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_run_on_the_same_home_is_told_who_holds_it(home: Path) -> None:
    with HomeLock(home), other_process(home) as second:
        said, _ = second.communicate()

    assert said.strip() == f"Sluice already runs on {home} (process {os.getpid()})"


def test_the_lock_of_a_killed_process_is_free(home: Path) -> None:
    with other_process(home) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(HomeBusyError), HomeLock(home):
            pass
        first.kill()
        first.wait()

    with HomeLock(home):
        pass


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(HomeError, match="SLUICE_HOME cannot be used: Not a directory"),
        HomeLock(tmp_path / "file" / "x"),
    ):
        pass


def test_other_commands_find_what_runs_on_the_home(home: Path) -> None:
    settings = Settings(home=home)
    with HomeLock(home) as lock:
        assert attached(settings) == settings  # nothing announced yet
        lock.announce(database_url="postgresql://postgres@/sluice?host=/x", hub_url="ws://127.0.0.1:7000")
        found = attached(settings)

    assert found.database_dsn == "postgresql://postgres@/sluice?host=/x"
    assert found.hub_url == "ws://127.0.0.1:7000"
    assert found.redis_url is None


def test_a_url_that_is_set_wins_over_what_runs_on_the_home(home: Path) -> None:
    settings = Settings(home=home, database_url="postgresql://mine/sluice")
    with HomeLock(home) as lock:
        lock.announce(database_url="postgresql://postgres@/sluice?host=/x")

        assert attached(settings).database_dsn == "postgresql://mine/sluice"


def test_what_a_killed_run_announced_is_not_believed(home: Path) -> None:
    with HomeLock(home) as lock:
        lock.announce(database_url="postgresql://postgres@/sluice?host=/x")
        left_behind = (home / "running.json").read_bytes()
    (home / "running.json").write_bytes(left_behind)

    assert attached(Settings(home=home)).database_url is None


def test_what_is_announced_is_private_and_goes_with_the_run(home: Path) -> None:
    with HomeLock(home) as lock:
        lock.announce(database_url="postgresql://u:secret@db/sluice")
        assert (home / "running.json").stat().st_mode & 0o777 == 0o600

    assert not (home / "running.json").exists()


def test_the_sockets_are_in_the_home_where_the_path_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    short = Path("h")
    short.mkdir()

    assert socket_directory(short, ME) == short / "run"


def test_a_directory_that_another_user_made_first_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "target")

    with pytest.raises(HomeError, match="not a directory of ours"):
        private_directory(tmp_path / "run", ME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory for another user")
def test_a_directory_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 4711, 4711)

    with pytest.raises(HomeError, match="not a directory of ours"):
        private_directory(tmp_path / "run", ME)
