"""SLUICE_HOME, the directory of one embedded run: who holds it, where its sockets are, what runs on it now."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    from shared.settings import Settings

LONGEST_SOCKET_PATH = 107  # bytes: `sun_path` holds 108 with its closing NUL
LONGEST_SOCKET_NAME = len("/.s.PGSQL.65535")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class HomeError(Exception):
    """SLUICE_HOME cannot be used."""

    code = "home_unusable"


class HomeBusyError(HomeError):
    """Another process runs on this SLUICE_HOME."""

    code = "home_busy"


class HomeLock:
    """The right to run on a home directory: one process at a time.

    The kernel gives the lock back when its holder dies, however it dies; a left-over lock file means nothing.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            # Other users may pass through (a server may run as one) but not look around: every file in it is private.
            self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
            file = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HomeError(f"SLUICE_HOME cannot be used: {error.strerror}: {error.filename}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 20).decode("ascii", "replace").strip()
            os.close(file)
            raise HomeBusyError(f"Sluice already runs on {self.home} (process {holder or 'unknown'})") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode("ascii"), 0)
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._state.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def announce(self, **state: Any) -> None:
        """Tell other commands on this home what runs (`attached`): URLs of the embedded services, addresses."""
        draft = self._state.with_suffix(".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file)
        draft.replace(self._state)

    @property
    def _state(self) -> Path:
        return self.home / "running.json"


def attached(settings: Settings) -> Settings:
    """Return the settings with the URLs of what runs on their home now, where they name none of their own.

    Without a running `sluice up` the settings come back as they are.
    """
    if not _is_held(settings.home):
        return settings
    try:
        state = json.loads((settings.home / "running.json").read_text())
    except (FileNotFoundError, ValueError):
        return settings  # it is just starting, or just gone
    except PermissionError as error:
        raise HomeError(f"{error.filename} belongs to another user: run as the one who runs `sluice up`") from error
    found = {name: url for name, url in state.items() if name in _ATTACHABLE and name not in settings.model_fields_set}
    return settings.connected(**found)


_ATTACHABLE = {"database_url", "redis_url", "hub_url"}


def _is_held(home: Path) -> bool:
    try:
        file = os.open(home / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def socket_directory(home: Path, owner: tuple[int, int]) -> Path:
    """Return a private directory for unix sockets, owned by user and group `owner`, short enough for a socket path.

    It is `home/run`, or where that is too long or needs quoting in a URL (clients disagree on how) a directory named
    after it under the runtime or the temporary directory.
    """
    short = f"sluice-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    candidates = [home / "run", Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / short]
    candidates.append(Path(tempfile.gettempdir()) / short)
    for directory in candidates:
        fits = len(os.fsencode(directory)) + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH
        if fits and _PLAIN_PATH.fullmatch(str(directory)) and directory.parent.is_dir():
            private_directory(directory, owner)
            return directory
    raise HomeError(
        f"no directory is fit for a unix socket (short, plain characters): tried {', '.join(map(str, candidates))}"
    )


def private_directory(directory: Path, owner: tuple[int, int]) -> None:
    """Make sure of a real directory with mode 0700, owned by user and group `owner`.

    Raises HomeError when somebody else made it first: in a shared temporary directory that may be an attack.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {owner[0], os.geteuid()}:
        raise HomeError(f"{directory} is not a directory of ours: remove it or choose another SLUICE_HOME")
    if (found.st_uid, found.st_gid) != owner:
        os.chown(directory, *owner, follow_symlinks=False)
    directory.chmod(0o700)
