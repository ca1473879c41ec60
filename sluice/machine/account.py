"""Whom the embedded servers run as."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
from typing import TYPE_CHECKING

from sluice.machine.processes import launched

if TYPE_CHECKING:
    from pathlib import Path

SERVER_USER = "sluice"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class AccountError(Exception):
    """There is no user to run the servers as."""

    code = "no_server_account"


class Account:
    """Whom the servers run as: ourselves, or an ordinary user when we are root (Postgres refuses to run as root)."""

    def __init__(self) -> None:
        self.name = _ordinary_user() if os.geteuid() == 0 else None
        entry = pwd.getpwnam(self.name) if self.name else None
        self.owner = (entry.pw_uid, entry.pw_gid) if entry else (os.geteuid(), os.getegid())

    def command(self, program: Path, *arguments: str, needs: Path, death_signal: int = signal.SIGKILL) -> list[str]:
        """Return the command line that runs `program` as this user; `needs` is the directory of data it works on."""
        reachable = self.name is None or (_open_to_all(program) and _open_to_all(needs.parent))
        return launched([str(program), *arguments], user=self.name, readable=reachable, death_signal=death_signal)


def _ordinary_user() -> str:
    """Return the user whom root starts the servers as; a system user without login, made when missing."""
    for attempt in (_user_exists, _make_user):
        if attempt(SERVER_USER):
            return SERVER_USER
    if _user_exists("nobody"):
        return "nobody"
    raise AccountError(f"Postgres does not run as root and there is no other user: `useradd --system {SERVER_USER}`")


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _make_user(name: str) -> bool:
    program = shutil.which("useradd", path=SYSTEM_PATH)
    if program is None:
        return False
    options = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    subprocess.run([program, *options, name], capture_output=True, check=False)
    return _user_exists(name)


def _open_to_all(path: Path) -> bool:
    """Whether every user may pass through the directories above `path` and enter or run `path` itself."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path.resolve(), *path.resolve().parents))
