"""The tables that are paid to, and the processes before them: all at once, so that rounds can follow each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from load_tests.bench.channels import fill
from load_tests.bench.payers import BenchPayer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from load_tests.bench.machine import Machine, Server
    from load_tests.bench.sizes import Size


@dataclass(frozen=True, slots=True)
class World:
    """A table of channels, who of them pays, and a front. `paid`: payments that were credited."""

    dsn: str
    payers: Sequence[BenchPayer]
    front: Server
    paid: list[bytes] = field(default_factory=list)


class Worlds:
    """All tables that are wanted, by how many channels they have; what stands beside them begins when it is asked for.

    After the last was asked for, `machine.wait_ready()`. `told` hears how many channels were written.
    """

    def __init__(self, machine: Machine, size: Size, chance: random.Random, told: Callable[[int], object]) -> None:
        self._machine = machine
        self._size = size
        self.tables: dict[int, World] = {}
        for channels in size.wanted_tables:
            # Each table has payers of its own: what they have signed goes on from there.
            payers = [BenchPayer(number) for number in range(min(channels, size.most_payers))]
            dsn = machine.database(f"channels_{channels}")
            asyncio.run(fill(dsn, payers, channels, chance, told))
            self.tables[channels] = World(dsn, payers, machine.front(f"front-{channels}", dsn))

    @property
    def main(self) -> World:
        """The table that everything else is measured on."""
        return self.tables[self._size.main]

    @cached_property
    def three(self) -> Sequence[Server]:
        """Its front and two more."""
        more = [self._machine.front(f"front-{self._size.main}-{number}", self.main.dsn) for number in (2, 3)]
        return (self.main.front, *more)

    @cached_property
    def one_commit(self) -> Server:
        """The design that commits each payment by itself."""
        return self._machine.bare("one-commit", "one_commit:app", self.main.dsn)

    @cached_property
    def batches_of_one(self) -> Server:
        """A front that shares no commit, and so has one at a time."""
        return self._machine.front("batches-of-one", self.main.dsn, accept_batch_max=1)

    @cached_property
    def asgi(self) -> Server:
        """A server that does nothing."""
        return self._machine.bare("bare-asgi", "bare:asgi_app", self.main.dsn)

    @cached_property
    def fastapi(self) -> Server:
        """The same with the framework."""
        return self._machine.bare("bare-fastapi", "bare:fastapi_app", self.main.dsn)
