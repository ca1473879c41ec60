"""One round: the meters are read, the client sends what was signed ahead, the meters are read again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from load_tests.bench.client import Answers, Client, Job, request
from load_tests.bench.rows import Row, percentile_ms

if TYPE_CHECKING:
    from load_tests.bench.cpu import CpuMeter
    from load_tests.bench.plans import Plan

_ACCEPTED_S = 0.05
"""Until then the server has accepted all connections."""


class RoundError(Exception):
    """Not every request was answered as it should have been: such a round says nothing."""


class Meter:
    """Measures rounds on one Postgres. `dsn`: any database of it."""

    def __init__(self, postgres: CpuMeter, client: Client, dsn: str) -> None:
        self._postgres = postgres
        self._client = client
        self._dsn = dsn

    def measure(self, plan: Plan) -> Row:
        """Do what is planned, once. Raises RoundError."""
        made = [
            request(body, origin=_address(number % plan.addresses) if plan.addresses else None)
            for number, body in enumerate(plan.make(plan.count))
        ]
        self._client.start(Job([server.port for server in plan.servers], made, plan.connections, plan.expect))
        time.sleep(_ACCEPTED_S)
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            log = _log_position(conn)
            front_s, postgres_s = _cpu_s(plan), self._postgres.seconds()
            self._client.go()
            answers = self._client.finish()
            front_s, postgres_s = _cpu_s(plan) - front_s, self._postgres.seconds() - postgres_s
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


def _address(number: int) -> str:
    return f"10.0.{number >> 8}.{number & 0xFF}"


def _check(plan: Plan, answers: Answers) -> None:
    if len(answers.good) != plan.count:
        others = {status: len(found) for status, found in answers.other.items()}
        raise RoundError(
            f"{plan.what}, {plan.connections} at a time: {len(answers.good)} of {plan.count} were answered as expected"
            f" ({plan.expect.decode()}), others by status: {others}, as {answers.example.decode('utf-8', 'replace')!r};"
            f" logs end with: {[server.last_words() for server in plan.servers]}"
        )


def _cpu_s(plan: Plan) -> float:
    return sum(server.cpu.seconds() for server in plan.servers)


def _log_position(conn: psycopg.Connection[tuple[float]]) -> float:
    row = conn.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8").fetchone()
    return 0.0 if row is None else row[0]
