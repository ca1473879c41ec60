"""Disks that are full: a small file system of our own under the tables, or under the write-ahead log.

Mounting takes root. Without it nothing is pretended: the scenario is left out, and says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from pathlib import Path

    from load_tests.faults.stage import Stage

_MEGABYTES_OF_TABLES = 192
_MEGABYTES_OF_LOG = 512
_BALLAST = "ballast"
_LEAST_BLOCK = 4096
_FULL_S = 3.0
_NOTICED_S = 60.0
_TABLES = """
    SELECT oid::regclass::text, relkind FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') AND relname LIKE 'payments%'
"""


class SkippedError(Exception):
    """This machine cannot play a scenario; the message says why."""

    code = "skipped"


class SmallDisk:
    """A file system in memory of so many megabytes, at `place`, until `remove`."""

    def __init__(self, place: Path, megabytes: int, owner: tuple[int, int]) -> None:
        self.place = place
        self._ballast = place / _BALLAST
        place.mkdir(mode=0o711, parents=True)
        if os.geteuid() != 0:
            raise SkippedError("a small disk is mounted by root only")
        options = f"size={megabytes}m,uid={owner[0]},gid={owner[1]},mode=0700"
        done = subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SkippedError(f"no small disk can be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        """Leave no byte free."""
        block = bytes(1 << 20)
        with self._ballast.open("wb", buffering=0) as file:
            while len(block) >= 1:
                try:
                    file.write(block)
                except OSError:
                    if len(block) <= _LEAST_BLOCK:
                        return
                    block = bytes(len(block) // 2)

    def clear(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it."""
        subprocess.run(["/bin/umount", "-l", str(self.place)], capture_output=True, check=False)


async def _until_it_fails(stage: Stage) -> None:
    """Wait until requests fail, and some time more. Raises TimeoutError when nobody notices."""
    before = stage.failed()
    deadline = time.monotonic() + _NOTICED_S
    while stage.failed() == before:
        if time.monotonic() > deadline:
            raise TimeoutError("a full disk was not noticed")
        await asyncio.sleep(0.1)
    await asyncio.sleep(_FULL_S)


class FullDiskOfTables:
    """The payments' table has a disk of its own, which others fill: statements fail, the server goes on."""

    def __init__(self) -> None:
        self._disk: SmallDisk | None = None

    async def prepare(self, stage: Stage) -> None:
        """Move the payments' table there."""
        self._disk = SmallDisk(stage.topology.home / "small-disk", _MEGABYTES_OF_TABLES, stage.account.owner)
        stage.undo.callback(self._disk.remove)
        await asyncio.to_thread(self._move, stage, "small")

    async def strike(self, stage: Stage, _number: int) -> None:
        """Fill it, and make room again."""
        if self._disk is None:
            raise SkippedError("there is no small disk")
        await asyncio.to_thread(self._disk.fill)
        await _until_it_fails(stage)
        self._disk.clear()
        stage.count("disk filled")

    async def restore(self, stage: Stage) -> None:
        """Move the table back."""
        await asyncio.to_thread(self._move, stage, "pg_default")

    def _move(self, stage: Stage, where: str) -> None:
        if self._disk is None:
            return
        with psycopg.connect(stage.topology.postgres.url(), autocommit=True) as administrator:
            if where == "small":
                place = sql.Literal(str(self._disk.place / "tables"))
                _owned(self._disk.place / "tables", stage)
                administrator.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(place))
            for name, kind in administrator.execute(_TABLES).fetchall():
                what = "TABLE" if kind == "r" else "INDEX"
                administrator.execute(f"ALTER {what} {name} SET TABLESPACE {where}".encode())
            if where != "small":
                administrator.execute("DROP TABLESPACE small")


class FullDiskOfTheLog:
    """The write-ahead log has a disk of its own, which others fill: Postgres goes down and stays down for so long."""

    def __init__(self) -> None:
        self._disk: SmallDisk | None = None

    async def prepare(self, stage: Stage) -> None:
        """Move the log there."""
        self._disk = SmallDisk(stage.topology.home / "small-log-disk", _MEGABYTES_OF_LOG, stage.account.owner)
        await self._move(stage, stage.topology.home / "postgres" / "pg_wal", self._disk.place / "pg_wal")
        stage.undo.callback(self._disk.remove)

    async def strike(self, stage: Stage, _number: int) -> None:
        """Fill it, use up what Postgres has in reserve, make room again, and start it if nobody else does."""
        if self._disk is None:
            raise SkippedError("there is no small disk")
        postgres = stage.topology.postgres
        await asyncio.to_thread(self._disk.fill)
        used_up = asyncio.create_task(asyncio.to_thread(_use_up_the_log, postgres.url()))
        await _until_it_fails(stage)
        await used_up
        self._disk.clear()
        if not postgres.is_running:
            await postgres.start()
            stage.count("postgres started again")
        stage.count("disk of the log filled")

    async def restore(self, stage: Stage) -> None:
        """Move the log back."""
        if self._disk is not None:
            home = stage.topology.home / "postgres"
            (home / "pg_wal.link").unlink(missing_ok=True)
            await self._move(stage, self._disk.place / "pg_wal", home / "pg_wal")

    async def _move(self, stage: Stage, old: Path, new: Path) -> None:
        postgres = stage.topology.postgres
        await postgres.stop()
        await asyncio.to_thread(_move_log, old, new, stage)
        await postgres.start()
        await stage.topology.active_worker()


def _move_log(old: Path, new: Path, stage: Stage) -> None:
    if new.is_symlink():
        new.unlink()
    shutil.copytree(old, new)
    for path in (new, *new.rglob("*")):
        shutil.chown(path, *stage.account.owner)
    new.chmod(0o700)
    shutil.rmtree(old)
    if new.name == old.name and new.parent.name != "postgres":
        old.symlink_to(new)


def _use_up_the_log(url: str) -> None:
    """Begin new segments until there is no room for one, or nobody to ask."""
    for _ in range(100):
        try:
            with psycopg.connect(url, connect_timeout=2, autocommit=True) as administrator:
                administrator.execute("SELECT pg_logical_emit_message(true, 'filler', repeat('x', 8000000))")
        except psycopg.Error:
            return


def _owned(directory: Path, stage: Stage) -> None:
    directory.mkdir(mode=0o700)
    shutil.chown(directory, *stage.account.owner)
