"""Measures: rounds of all kinds in turn, each time in another order, so that a slow minute hits all alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from load_tests.bench.client import Answers, Client, Job, request
from load_tests.bench.pgbench import PgBench, kinds
from load_tests.bench.plans import ASGI, FASTAPI, Plan, plans, table_name
from load_tests.bench.rows import Row, median_row, percentile_ms

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from load_tests.bench.floors import Floors
    from load_tests.bench.machine import Machine
    from load_tests.bench.sizes import Size
    from load_tests.bench.worlds import World, Worlds

_WARMING = 128


class RoundError(Exception):
    """Not every request was answered as it should have been: such a round says nothing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All rows, and the floors by name."""

    rows: list[Row]
    floors: dict[str, float]


class Bench:
    """Everything that is measured in one run."""

    def __init__(self, machine: Machine, worlds: Worlds, client: Client, size: Size, chance: random.Random) -> None:
        self._machine = machine
        self._worlds = worlds
        self._client = client
        self._size = size
        self._chance = chance
        self._extra: list[Row] = []
        self._postgres = machine.postgres

    def warm(self, told: Callable[[str], object]) -> None:
        """Let every payer pay once: that fills caches, and brings each channel's page into the log."""
        for channels, world in self._worlds.tables.items():
            told(f"first payments, {table_name(channels)}")
            row = self._first_payments(channels, world)
            if channels == max(self._size.tables) and self._size.wants(row.what):
                self._extra.append(row)

    def run(self, floors: Floors, bench: PgBench, told: Callable[[str], object]) -> Measured:
        """Measure all rounds. `told` hears what begins."""
        todo = plans(self._worlds, self._size, self._chance)
        found: dict[tuple[str, int], list[Row]] = defaultdict(list)
        floor: dict[str, list[float]] = defaultdict(list)
        warm_servers = {server.port: plan for plan in todo for server in plan.servers}
        for plan in warm_servers.values():
            self._measure(replace(plan, count=4 * plan.connections))
        for number in range(1, self._size.rounds + 1):
            for plan in self._chance.sample(todo, len(todo)):
                told(f"round {number} of {self._size.rounds}: {plan.what}, {plan.connections} at a time")
                found[plan.what, plan.connections].append(self._measure(plan))
            for name, figure in floors.measure(self._size.floor_calls).items():
                floor[name].append(figure)
            for kind in kinds():
                told(f"round {number} of {self._size.rounds}: pgbench, {kind}")
                written = bench.run(kind, self._size.pgbench_s)
                floor[f"pgbench_{kind}_us"].append(written.postgres_us)
                floor[f"pgbench_{kind}_per_s"].append(written.per_second)
        rows = [median_row(found[plan.what, plan.connections]) for plan in todo]
        medians = {name: statistics.median(figures) for name, figures in floor.items()}
        return Measured(
            [row for row in rows if row.what not in (ASGI, FASTAPI)] + self._extra, medians | _floors_of(rows)
        )

    def steps(self) -> int:
        """How often `run` tells what begins."""
        return self._size.rounds * (len(plans(self._worlds, self._size, self._chance)) + len(kinds()))

    def _first_payments(self, channels: int, world: World) -> Row:
        made = [payer.next_body() for payer in world.payers]
        world.paid.extend(made)
        what = f"{table_name(channels)}, first payments"
        plan = Plan(what, min(_WARMING, len(made)), len(made), [world.front], lambda _: iter(made))
        return self._measure(plan)

    def _measure(self, plan: Plan) -> Row:
        made = [request(body) for body in plan.make(plan.count)]
        job = Job([server.port for server in plan.servers], made, plan.connections, plan.expect)
        self._client.start(job)
        with psycopg.connect(self._worlds.main.dsn, autocommit=True) as conn:
            log = _log_position(conn)
            front_s, postgres_s = self._cpu_s(plan), self._postgres.seconds()
            self._client.go()
            answers = self._client.finish()
            front_s, postgres_s = self._cpu_s(plan) - front_s, self._postgres.seconds() - postgres_s
            log = _log_position(conn) - log
        _check(plan, answers)
        each_us = 1e6 / plan.count
        return Row(
            plan.what,
            plan.connections,
            plan.count / answers.seconds,
            percentile_ms(answers.good, 0.5),
            percentile_ms(answers.good, 0.99),
            front_s * each_us,
            postgres_s * each_us,
            answers.cpu_s * each_us,
            log / plan.count,
        )

    def _cpu_s(self, plan: Plan) -> float:
        return sum(server.cpu.seconds() for server in plan.servers)


def _check(plan: Plan, answers: Answers) -> None:
    if len(answers.good) != plan.count:
        others = {status: len(found) for status, found in answers.other.items()}
        raise RoundError(
            f"{plan.what}, {plan.connections} at a time: {len(answers.good)} of {plan.count} were answered as expected"
            f" ({plan.expect.decode()}), others by status: {others}, as {answers.example.decode('utf-8', 'replace')}"
        )


def _floors_of(rows: Sequence[Row]) -> dict[str, float]:
    floors = {}
    for row in rows:
        for what, name in ((ASGI, "asgi"), (FASTAPI, "fastapi")):
            if row.what == what:
                floors[f"{name}_us_{row.connections}"] = row.front_us
                floors[f"{name}_per_s_{row.connections}"] = row.per_second
    return floors


def _log_position(conn: psycopg.Connection[tuple[float]]) -> float:
    row = conn.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8").fetchone()
    return 0.0 if row is None else row[0]
