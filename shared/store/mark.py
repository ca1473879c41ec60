"""A number kept outside of the database: the furthest that its pulse is known to have come.

A database whose pulse is behind its mark has lost transactions: it was restored from a backup, or a stand-by took over
that had not yet heard of everything. The mark is a small file beside the wallet's, without secrets, and it never says
more than the database has on disk: it is written after the commit.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.store.errors import DatabaseRestoredError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = get_logger(__name__)

_VERSION = 1


def mark_file_of(wallet_file: Path, network: str) -> Path:
    """Return where the mark of a wallet's database is kept; each network has its own."""
    return wallet_file.with_name(f"{wallet_file.name}.{network}.mark")


def read_mark(file: Path, own_address: str, network: str) -> int | None:
    """Return the pulse in a mark file, None if there is none or it is of another receiver.

    Raises OSError and ValueError when it cannot be read.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not isinstance(kept, dict) or type(kept.get("pulse")) is not int:
        raise ValueError(f"{file} is no mark")
    is_ours = (kept.get("own_address"), kept.get("network")) == (own_address, network)
    return int(kept["pulse"]) if is_ours else None


class Mark:
    """The mark of one process. Without a file it lasts as long as the process.

    A file that cannot be written stops nobody: a closing has to be answered on a full disk too. What is left then is
    the memory of this process, and what the ledger shows (`worker.rollback`).
    """

    def __init__(self, file: Path | None = None, *, own_address: str = "", network: str = "") -> None:
        self._file = file
        self._owner = {"own_address": own_address, "network": network}
        self._one_at_a_time = asyncio.Lock()
        self._is_kept = True
        self.pulse = 0
        """The furthest known, 0 while nothing is."""

    @property
    def is_missing(self) -> bool:
        """Whether there should be a file that tells how far the database has come, and nothing does."""
        return self._file is not None and self.pulse == 0

    def read(self) -> None:
        """Learn what is in the file, which another worker of this machine may have written since."""
        if self._file is None:
            return
        try:
            kept = read_mark(self._file, **self._owner)
        except (OSError, ValueError) as error:
            logger.warning("mark_unreadable", file=str(self._file), reason=str(error))
            return
        self.pulse = max(self.pulse, kept or 0)

    def compare(self, pulse: int) -> None:
        """Raise DatabaseRestoredError if a database that has just come this far was further before."""
        if pulse <= self.pulse:
            raise DatabaseRestoredError(f"the database's pulse is {pulse}, it was {self.pulse} before")

    async def keep(self, pulse: int) -> None:
        """Remember that a database has come this far; it is on the disk when this returns."""
        async with self._one_at_a_time:
            if pulse <= self.pulse:
                return
            if self._file is not None:
                try:
                    await asyncio.to_thread(self._write, self._file, pulse)
                except OSError as error:
                    if self._is_kept:
                        logger.warning("mark_not_kept", file=str(self._file), reason=str(error))
                    self._is_kept = False
                else:
                    self._is_kept = True
            self.pulse = pulse

    def _write(self, file: Path, pulse: int) -> None:
        """Replace the file as a whole, on the disk. Workers of one machine share it: the greatest number stays."""
        with _alone_in(file.parent) as directory:
            try:
                if (read_mark(file, **self._owner) or 0) >= pulse:
                    return
            except ValueError:
                pass  # it is replaced by one that can be read
            half_written = file.with_name(file.name + ".new")
            descriptor = os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as output:
                json.dump({"version": _VERSION, **self._owner, "pulse": pulse}, output)
                output.write("\n")
                output.flush()
                os.fsync(output.fileno())
            half_written.replace(file)
            os.fsync(directory)


@contextmanager
def _alone_in(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
