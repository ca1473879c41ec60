"""Measures: rounds of all kinds in turn, each time in another order, so that a slow minute hits all alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from load_tests.bench.measuring import Meter, RoundError
from load_tests.bench.pgbench import PgBench, kinds
from load_tests.bench.plans import ASGI, FASTAPI, FLOORS, Plan, plans
from load_tests.bench.rows import Row, median_row
from load_tests.bench.sizes import table_name

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from load_tests.bench.client import Client
    from load_tests.bench.floors import Floors
    from load_tests.bench.machine import Machine
    from load_tests.bench.sizes import Size
    from load_tests.bench.worlds import World, Worlds

_WARMING = 128


@dataclass(frozen=True, slots=True)
class Measured:
    """All rows, and the floors by name."""

    rows: list[Row]
    floors: dict[str, float]


class Bench:
    """Everything that is measured in one run. `complain`: hears of rounds in which something went wrong."""

    def __init__(
        self,
        machine: Machine,
        worlds: Worlds,
        client: Client,
        size: Size,
        chance: random.Random,
        *,
        complain: Callable[[str], object],
    ) -> None:
        self._worlds = worlds
        self._meter = Meter(machine.postgres, client, worlds.main.dsn)
        self._size = size
        self._chance = chance
        self._complain = complain
        self._extra: list[Row] = []
        self._todo = plans(worlds, size, chance)
        machine.wait_ready()

    def warm(self, told: Callable[[str], object]) -> None:
        """Let every payer pay once: that fills caches, and brings each channel's page into the log."""
        for channels, world in self._worlds.tables.items():
            told(f"first payments, {table_name(channels)}")
            row = self._first_payments(channels, world)
            if channels == max(self._worlds.tables) and self._size.wants(row.what):
                self._extra.append(row)

    def run(self, floors: Floors, bench: PgBench, told: Callable[[str], object]) -> Measured:
        """Measure all rounds. `told` hears what begins."""
        todo = self._todo
        found: dict[tuple[str, int], list[Row]] = defaultdict(list)
        floor: dict[str, list[float]] = defaultdict(list)
        warm_servers = {server.port: plan for plan in todo for server in plan.servers}
        for plan in warm_servers.values():
            self._meter.measure(replace(plan, count=4 * plan.connections))
        for number in range(1, self._size.rounds + 1):
            for plan in self._chance.sample(todo, len(todo)):
                told(f"round {number} of {self._size.rounds}: {plan.what}, {plan.connections} at a time")
                found[plan.what, plan.connections].append(self._measured(plan))
            for name, figure in floors.measure(self._size.floor_calls).items():
                floor[name].append(figure)
            for kind in kinds():
                told(f"round {number} of {self._size.rounds}: pgbench, {kind}")
                written = bench.run(kind, self._size.pgbench_s, begins_s=self._size.pgbench_begins_s)
                floor[f"pgbench_{kind}_us"].append(written.postgres_us)
                floor[f"pgbench_{kind}_per_s"].append(written.per_second)
        rows = [median_row(found[plan.what, plan.connections]) for plan in todo]
        medians = {name: statistics.median(figures) for name, figures in floor.items()}
        return Measured([row for row in rows if row.what not in FLOORS] + self._extra, medians | _floors_of(rows))

    def steps(self) -> int:
        """How often `run` tells what begins."""
        return self._size.rounds * (len(self._todo) + len(kinds()))

    def _measured(self, plan: Plan) -> Row:
        try:
            return self._meter.measure(plan)
        except RoundError as error:
            # Said aloud, and tried once more: one bad second must not cost all others their quarter of an hour.
            self._complain(f"{error}; measured again")
            return self._meter.measure(plan)

    def _first_payments(self, channels: int, world: World) -> Row:
        made = [payer.next_body() for payer in world.payers]
        world.paid.extend(made)
        what = f"{table_name(channels)}, first"
        plan = Plan(what, min(_WARMING, len(made)), len(made), [world.front], lambda _: iter(made))
        return self._meter.measure(plan)


def _floors_of(rows: Sequence[Row]) -> dict[str, float]:
    floors = {}
    for row in rows:
        for what, name in ((ASGI, "asgi"), (FASTAPI, "fastapi")):
            if row.what == what:
                floors[f"{name}_us_{row.connections}"] = row.front_us
                floors[f"{name}_per_s_{row.connections}"] = row.per_second
    return floors
