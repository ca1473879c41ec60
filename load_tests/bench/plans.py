"""What is measured, one line for each kind of load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from load_tests.bench.payers import badly_signed, random_bodies
from load_tests.bench.sizes import table_name

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
FLOORS = (ASGI, FASTAPI)
"""Nothing is paid: what a server costs that does nothing."""

_ADDRESSES = 1_024
"""From so many network addresses bad signatures come: from one alone most of the answers would be held up."""
_SHARE_OF_SLOW = 3
"""What takes several times as long for each payment gets fewer of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Send so many requests over so many connections. `make` signs them, each time anew, before the round.

    `addresses`: from so many network addresses, as a proxy would tell; 0: nothing is told.
    """

    what: str
    connections: int
    count: int
    servers: Sequence[Server]
    make: Callable[[int], Iterator[bytes]]
    expect: bytes = PAID
    addresses: int = 0


def plans(worlds: Worlds, size: Size, chance: random.Random) -> list[Plan]:
    """Return everything that is measured through a socket, and have the servers begin that it needs."""
    main = worlds.main
    found: list[Plan] = []

    def add(
        what: str,
        connections: Sequence[int],
        servers: Callable[[], Sequence[Server]],
        make: Callable[[int], Iterator[bytes]],
        expect: bytes = PAID,
        addresses: int = 0,
    ) -> None:
        if size.wants(what) or what in FLOORS:
            share = _SHARE_OF_SLOW if what in (ONE_COMMIT, BATCHES_OF_ONE) else 1
            found.extend(
                Plan(what, n, size.payments[n] // share, servers(), make, expect, addresses) for n in connections
            )

    def front() -> Sequence[Server]:
        return [main.front]

    payments = _payments(main.payers, chance)
    for channels, world in worlds.tables.items():
        connections = size.connections if channels == size.main else size.side
        add(table_name(channels), connections, lambda world=world: [world.front], _payments(world.payers, chance))  # type: ignore[misc]
    add(HOT, size.side, front, _payments(main.payers[:1], chance))
    add(THREE_FRONTS, [n for n in size.side if n > 1], lambda: worlds.three, payments)
    add(ONE_COMMIT, size.side, lambda: [worlds.one_commit], payments)
    add(BATCHES_OF_ONE, size.few, lambda: [worlds.batches_of_one], payments)
    add(DUPLICATES, size.few, front, lambda count: iter(chance.choices(main.paid, k=count)))
    add(
        BAD_SIGNATURES, size.few, front, lambda count: map(badly_signed, chance.choices(main.paid, k=count)), REFUSED,
        addresses=_ADDRESSES,
    )  # fmt: skip
    add(OVER_CREDIT, size.few, front, lambda count: _overdrawn(main.payers, count, chance), REFUSED)
    add(ASGI, size.connections, lambda: [worlds.asgi], lambda count: iter(chance.choices(main.paid, k=count)))
    add(FASTAPI, size.side, lambda: [worlds.fastapi], lambda count: iter(chance.choices(main.paid, k=count)))
    return found


def _payments(payers: Sequence[BenchPayer], chance: random.Random) -> Callable[[int], Iterator[bytes]]:
    return lambda count: random_bodies(payers, count, chance)


def _overdrawn(payers: Sequence[BenchPayer], count: int, chance: random.Random) -> Iterator[bytes]:
    return (payer.overdrawn_body() for payer in chance.choices(payers, k=count))
