"""The claims of a program that has nothing else: one SQLite file. All SQL of this room is here.

taken    the highest claim of the peer for each channel and period
credits  what each claim has added, and whether the host was told
signed   the highest claim of ours for each channel and period

A commit is on the disk when it returns (synchronous=FULL). Amounts never go down: the table says so, too. The file
holds packages and is as secret as a key.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from shared.interledger.channel_plugin import Credit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from shared.interledger.channel_plugin.ports import Package

    T = TypeVar("T")

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE taken (
  aa_address TEXT NOT NULL,
  period INTEGER NOT NULL CHECK (period > 0),
  amount_spent INTEGER NOT NULL CHECK (amount_spent > 0),
  package TEXT NOT NULL,
  PRIMARY KEY (aa_address, period)
) STRICT;
CREATE TABLE credits (
  id INTEGER PRIMARY KEY,
  aa_address TEXT NOT NULL,
  period INTEGER NOT NULL,
  amount_spent INTEGER NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  is_told INTEGER NOT NULL DEFAULT 0,
  UNIQUE (aa_address, period, amount_spent)
) STRICT;
CREATE INDEX credits_untold ON credits (id) WHERE is_told = 0;
CREATE TABLE signed (
  aa_address TEXT NOT NULL,
  period INTEGER NOT NULL CHECK (period > 0),
  amount_spent INTEGER NOT NULL CHECK (amount_spent > 0),
  package TEXT NOT NULL,
  PRIMARY KEY (aa_address, period)
) STRICT;
"""


class ClaimBook:
    """The file, used from one thread of its own: whatever is begun is finished, whoever was cancelled meanwhile."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claim-book")
        self._db = self._thread.submit(_connect, path).result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is under way and close the file."""
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()

    async def take(self, aa_address: str, period: int, amount_spent: int, package: Package) -> Credit:
        """Keep a verified claim if it is the highest, with what it adds, in one transaction (CLM-1, CLM-2)."""

        def work(db: sqlite3.Connection) -> Credit:
            added = amount_spent - _highest(db, "taken", aa_address, period)
            if added <= 0:
                return Credit("", 0, aa_address, period, amount_spent)
            _keep(db, "taken", aa_address, period, amount_spent, package)
            row = db.execute(
                "INSERT INTO credits (aa_address, period, amount_spent, amount) VALUES (?, ?, ?, ?) RETURNING *",
                (aa_address, period, amount_spent, added),
            ).fetchone()
            return _credit(row)

        return await self._run(work)

    async def untold(self) -> tuple[Credit, ...]:
        """Return the credits that the host was not told of, oldest first."""
        return await self._run(
            lambda db: tuple(_credit(row) for row in db.execute("SELECT * FROM credits WHERE is_told = 0 ORDER BY id"))
        )

    async def told(self, credit: Credit) -> None:
        """Note that the host was told."""
        await self._run(lambda db: db.execute("UPDATE credits SET is_told = 1 WHERE id = ?", (credit.id,)))

    async def taken(self, aa_address: str, period: int) -> int:
        """Return the highest amount that the peer has signed in that period, 0 for none."""
        return await self._run(lambda db: _highest(db, "taken", aa_address, period))

    async def newest_taken(self, aa_address: str) -> Package | None:
        """Return the peer's claim of the newest period."""
        return await self._run(lambda db: _newest(db, "taken", aa_address))

    async def newest_signed(self, aa_address: str) -> Package | None:
        """Return our claim of the newest period."""
        return await self._run(lambda db: _newest(db, "signed", aa_address))

    async def sign(self, aa_address: str, period: int, sign: Callable[[int], tuple[int, Package]]) -> Package:
        """Let `sign` make a claim above the amount that it is given, and keep it before anybody sees it (CLM-10).

        `sign` gives the claim's amount and the package; it runs in the book's thread. Raises what it raises.
        """

        def work(db: sqlite3.Connection) -> Package:
            amount_spent, package = sign(_highest(db, "signed", aa_address, period))
            _keep(db, "signed", aa_address, period, amount_spent, package)
            return package

        return await self._run(work)

    async def recover(self, aa_address: str, period: int, amount_spent: int, package: Package) -> None:
        """Keep a claim of ours that the peer has shown; nothing changes if it is no higher than what is known."""
        await self._run(lambda db: _keep(db, "signed", aa_address, period, amount_spent, package))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(_in_transaction, self._db, work))


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    [(version,)] = db.execute("PRAGMA user_version")
    if version > _SCHEMA_VERSION:
        db.close()
        raise ValueError("this book of claims was made by a newer version")
    if version < _SCHEMA_VERSION:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
    return db


def _in_transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def _highest(db: sqlite3.Connection, table: str, aa_address: str, period: int) -> int:
    row = db.execute(
        f"SELECT amount_spent FROM {table} WHERE aa_address = ? AND period = ?",  # noqa: S608 (names of our own)
        (aa_address, period),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _newest(db: sqlite3.Connection, table: str, aa_address: str) -> Package | None:
    row = db.execute(
        f"SELECT package FROM {table} WHERE aa_address = ? ORDER BY period DESC LIMIT 1",  # noqa: S608 (as above)
        (aa_address,),
    ).fetchone()
    package: Package | None = None if row is None else json.loads(row[0])
    return package


def _keep(
    db: sqlite3.Connection, table: str, aa_address: str, period: int, amount_spent: int, package: Package
) -> None:
    db.execute(
        f"INSERT INTO {table} VALUES (?, ?, ?, ?) ON CONFLICT (aa_address, period) DO UPDATE"  # noqa: S608 (as above)
        " SET amount_spent = excluded.amount_spent, package = excluded.package"
        " WHERE excluded.amount_spent > amount_spent",
        (aa_address, period, amount_spent, json.dumps(package)),
    )


def _credit(row: sqlite3.Row) -> Credit:
    return Credit(str(row["id"]), row["amount"], row["aa_address"], row["period"], row["amount_spent"])
