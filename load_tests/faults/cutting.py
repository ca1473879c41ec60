"""A cable to Postgres that can be cut at any byte, and connections that the server ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_SOCKET = ".s.PGSQL.5432"
_CUT_SHARE = 0.02
"""Of what passes while it is being cut."""
_SOMEBODY = """
    SELECT count(pg_terminate_backend(pid)) FROM (
      SELECT pid FROM pg_stat_activity
       WHERE usename IN ('sluice_front_login', 'sluice_worker_login') ORDER BY state = 'idle', random() LIMIT 1
    ) AS somebody
"""


@dataclass(slots=True)
class Made:
    """How many cuts were made."""

    made: int = 0


class Cutter:
    """Passes bytes on between clients and the Postgres whose socket is in `server`, until told to cut."""

    def __init__(self, server: Path, chance: random.Random) -> None:
        self._server, self._chance = server, chance
        self._directory = Path(tempfile.mkdtemp(prefix="sluice-cable-"))  # short: a socket's path may not be long
        self._cuts: Made | None = None
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._serve, self._directory / _SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def over(self, url: str) -> str:
        """Return the URL that leads over this cable to the same database."""
        return url.replace(str(self._server), str(self._directory))

    @contextmanager
    def cutting(self) -> Iterator[Made]:
        """Cut connections at random within the block."""
        self._cuts = Made()
        try:
            yield self._cuts
        finally:
            self._cuts = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, away = await asyncio.open_unix_connection(self._server / _SOCKET)
        except OSError:
            writer.transport.abort()
            return
        both = writer, away
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, away, both), self._pump(there, writer, both))
        for end in both:
            end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, both: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        while data := await reader.read(65_536):
            is_cut = self._cuts is not None and self._chance.random() < _CUT_SHARE
            if is_cut and self._chance.choice((True, False)):
                data = data[: self._chance.randrange(len(data))]  # in the middle of it
            writer.write(data)
            await writer.drain()
            if is_cut and self._cuts is not None:
                self._cuts.made += 1
                break
        # What was passed on arrives, and no answer to it comes back.
        for end in both:
            end.close()


def end_somebodys_connection(url: str) -> int:
    """Let the server end a connection of a front or worker, one with a transaction if there is one; return how many."""
    try:
        with psycopg.connect(url, connect_timeout=5) as administrator:
            [(ended,)] = administrator.execute(_SOMEBODY).fetchall()
    except psycopg.OperationalError:
        return 0
    return int(ended)
