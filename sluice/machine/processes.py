"""Child processes that never outlive us: started through `launcher.py`, logged to a file, stopped with a bound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shared.settings import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.settings import Settings

LAUNCHER = Path(__file__).with_name("launcher.py")
LARGEST_LOG = 10_000_000  # bytes; a larger one is set aside at the next start


def launched(
    command: Sequence[str], *, user: str | None = None, readable: bool = True, death_signal: int = signal.SIGKILL
) -> list[str]:
    """Return the command line that runs `command` as a child which gets `death_signal` when this process dies.

    `user`: become this user first (needs root). `readable`: whether the program's files are open to that user.
    Must be started by a thread that lives as long as the child may: the kernel watches the thread that forked.
    """
    options = {
        "--parent": str(os.getpid()),
        "--signal": str(int(death_signal)),
        "--user": user or "-",
        "--readable": "yes" if readable else "no",
    }
    flat = [word for option in options.items() for word in option]
    return [sys.executable, "-I", "-S", str(LAUNCHER), *flat, "--", *command]


class Child:
    """One running child process. `name` is for people; its output goes to `log`; it inherits `pass_fds` only."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_name(log.name + ".1"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self._log_start = output.tell()
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the children in order.
            self._process = subprocess.Popen(  # the child outlives this block: `stop` ends it
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; then its exit code, negative for the signal that killed it."""
        return self._process.poll()

    def last_words(self, lines: int = 5) -> str:
        """Return the last non-empty lines this run wrote to its log."""
        with self.log.open("rb") as output:
            output.seek(max(self._log_start, self.log.stat().st_size - 4000))
            text = output.read().decode("utf-8", "replace")
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

    def ask_to_stop(self, how: int = signal.SIGTERM) -> None:
        """Send the signal that makes it finish; returns at once."""
        if self.exit_status is None:
            self._process.send_signal(how)

    def stop(self, how: int = signal.SIGTERM, *, within_s: float) -> bool:
        """Ask it to stop, and kill it and its own children after `within_s`. Return whether it stopped when asked."""
        self.ask_to_stop(how)
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """Kill it and its own children now."""
        if self.exit_status is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def start_part(name: str, words: Sequence[str], settings: Settings, *, pass_fds: Sequence[int] = ()) -> Child:
    """Start our own Python with `words` as a child that has exactly these settings and logs to the home's `logs`."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("SLUICE_")}
    return Child(
        name,
        launched([sys.executable, *words]),
        log=settings.home / "logs" / f"{name}.log",
        env={**inherited, **environment(settings)},
        pass_fds=pass_fds,
    )
