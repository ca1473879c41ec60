"""The tables that are paid to, and the processes before them: all at once, so that rounds can follow each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
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
    paid: list[bytes]


@dataclass(frozen=True, slots=True)
class Worlds:
    """All tables, by how many channels they have, and what stands beside the fronts."""

    tables: dict[int, World]
    main: World
    three: Sequence[Server]
    one_commit: Server
    batches_of_one: Server
    asgi: Server
    fastapi: Server


def build(machine: Machine, size: Size, chance: random.Random, told: Callable[[int], object]) -> Worlds:
    """Fill the tables and start the servers. `told` hears how many channels were written."""
    tables = {}
    for channels in size.tables:
        # Each table has payers of its own: what they have signed goes on from there.
        payers = [BenchPayer(number) for number in range(min(channels, size.most_payers))]
        dsn = machine.database(f"channels_{channels}")
        asyncio.run(fill(dsn, payers, channels, chance, told))
        tables[channels] = World(dsn, payers, machine.front(f"front-{channels}", dsn), [])
    main = tables[size.main]
    more = [machine.front(f"front-{size.main}-{number}", main.dsn) for number in (2, 3)]
    worlds = Worlds(
        tables,
        main,
        three=(main.front, *more),
        one_commit=machine.bare("one-commit", "one_commit:app", main.dsn),
        batches_of_one=machine.front("batches-of-one", main.dsn, accept_batch_max=1),
        asgi=machine.bare("bare-asgi", "bare:asgi_app", main.dsn),
        fastapi=machine.bare("bare-fastapi", "bare:fastapi_app", main.dsn),
    )
    machine.wait_ready()
    return worlds
