"""What is measured, one line for each kind of load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from load_tests.bench.payers import badly_signed, random_bodies

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from load_tests.bench.machine import Server
    from load_tests.bench.payers import BenchPayer
    from load_tests.bench.sizes import Size
    from load_tests.bench.worlds import Worlds

PAID = b'{"response"'
REFUSED = b'{"error"'

HOT = "one hot channel"
DUPLICATES = "duplicates"
BAD_SIGNATURES = "bad signatures"
OVER_CREDIT = "over credit"
THREE_FRONTS = "3 fronts"
ONE_COMMIT = "one commit each"
BATCHES_OF_ONE = "front, batches of one"
ASGI = "bare ASGI"
FASTAPI = "bare FastAPI"


def table_name(channels: int) -> str:
    """Return how the rows over a table of so many channels are called."""
    return f"{channels:,} channel{'s' if channels > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Send so many requests over so many connections. `make` signs them, each time anew, before the round."""

    what: str
    connections: int
    count: int
    servers: Sequence[Server]
    make: Callable[[int], Iterator[bytes]]
    expect: bytes = PAID

    @property
    def is_floor(self) -> bool:
        """Whether nothing is paid: what a server costs that does nothing."""
        return self.what in (ASGI, FASTAPI)


def plans(worlds: Worlds, size: Size, chance: random.Random) -> list[Plan]:
    """Return everything that is measured through a socket."""
    main = worlds.main
    found: list[Plan] = []

    def add(
        what: str,
        connections: Sequence[int],
        servers: Sequence[Server],
        make: Callable[[int], Iterator[bytes]],
        expect: bytes = PAID,
    ) -> None:
        found.extend(Plan(what, n, size.payments[n], servers, make, expect) for n in connections)

    for channels, world in worlds.tables.items():
        connections = size.connections if channels == size.main else size.side
        add(table_name(channels), connections, [world.front], _payments(world.payers, chance))
    add(HOT, size.side, [main.front], _payments(main.payers[:1], chance))
    add(THREE_FRONTS, [n for n in size.side if n > 1], worlds.three, _payments(main.payers, chance))
    add(ONE_COMMIT, size.side, [worlds.one_commit], _payments(main.payers, chance))
    add(BATCHES_OF_ONE, size.few, [worlds.batches_of_one], _payments(main.payers, chance))
    add(DUPLICATES, size.few, [main.front], lambda count: iter(chance.choices(main.paid, k=count)))
    forged = [badly_signed(body) for body in main.paid]
    add(BAD_SIGNATURES, size.few, [main.front], lambda count: iter(chance.choices(forged, k=count)), REFUSED)
    add(OVER_CREDIT, size.few, [main.front], lambda count: _overdrawn(main.payers, count, chance), REFUSED)
    for what, server in ((ASGI, worlds.asgi), (FASTAPI, worlds.fastapi)):
        add(what, size.connections, [server], lambda count: iter(chance.choices(main.paid, k=count)))
    return [plan for plan in found if plan.is_floor or size.wants(plan.what)]


def _payments(payers: Sequence[BenchPayer], chance: random.Random) -> Callable[[int], Iterator[bytes]]:
    return lambda count: random_bodies(payers, count, chance)


def _overdrawn(payers: Sequence[BenchPayer], count: int, chance: random.Random) -> Iterator[bytes]:
    return (payer.overdrawn_body() for payer in chance.choices(payers, k=count))
