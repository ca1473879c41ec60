"""What Postgres itself takes for the same writes: pgbench on tables of the same schema, in a database of their own.

A payment is a new version of its channel's row, with a claim of the usual length, and a row in `payments`.

    one      the two writes in one statement that commits: the least that a payment with a commit of its own can cost
    plain    begin, lock, update, insert, commit: the same with five round trips, as programs usually do it
    batch    the two writes for 50 channels in one statement that commits
"""

# ruff: noqa: S608 - statements are made of constants only

from __future__ import annotations

import asyncio
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg
import psycopg

from load_tests.bench.payers import DEPOSIT, RECEIVER, TIMEOUT_S, BenchPayer
from sluice.machine.embedded import postgres_programs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from load_tests.bench.cpu import CpuMeter
    from load_tests.bench.machine import Machine

Kind = Literal["one", "plain", "batch"]

CHANNELS = 10_000
CLIENTS = 32
BATCH = 50
_LIMIT_S = 30
_STRIDE = 199
"""No divisor of CHANNELS: 50 steps of it meet 50 channels, which lie apart."""

_SET = "spent_by_peer = c.spent_by_peer + 1, credit = c.credit + 1, claim = '{claim}', updated_at = now()"
_PAYMENT = "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset)"
_SCRIPTS: dict[Kind, str] = {
    "one": f"""
\\set n random(1, {CHANNELS})
WITH changed AS (
  UPDATE channels c SET {_SET} WHERE aa_address = lpad(:n::text, 32, 'A')
  RETURNING aa_address, period, spent_by_peer, asset
)
{_PAYMENT} SELECT aa_address, period, spent_by_peer, 1, asset FROM changed RETURNING id;
""",
    "plain": f"""
\\set n random(1, {CHANNELS})
BEGIN;
SELECT status, period, deposited_by_peer, spent_by_peer, credit FROM channels
 WHERE aa_address = lpad(:n::text, 32, 'A') FOR NO KEY UPDATE;
UPDATE channels c SET {_SET} WHERE aa_address = lpad(:n::text, 32, 'A')
RETURNING period, spent_by_peer AS spent \\gset
{_PAYMENT} VALUES (lpad(:n::text, 32, 'A'), :period, :spent, 1, 'base');
COMMIT;
""",
    "batch": f"""
\\set n random(0, {CHANNELS - 1})
WITH picked AS MATERIALIZED (
  SELECT aa_address FROM channels
   WHERE aa_address = ANY (ARRAY(SELECT lpad((1 + (:n::int + i * {_STRIDE}) % {CHANNELS})::text, 32, 'A')
                                   FROM generate_series(0, {BATCH - 1}) AS i))
   ORDER BY aa_address FOR NO KEY UPDATE
), changed AS (
  UPDATE channels c SET {_SET} FROM picked WHERE c.aa_address = picked.aa_address
  RETURNING c.aa_address, c.period, c.spent_by_peer, c.asset
)
{_PAYMENT} SELECT aa_address, period, spent_by_peer, 1, asset FROM changed RETURNING id;
""",
}


@dataclass(frozen=True, slots=True)
class Writes:
    """What was written: payments per second, and the CPU of Postgres for each."""

    per_second: float
    postgres_us: float


class PgBench:
    """A database with its channels, ready to be written to."""

    def __init__(self, machine: Machine) -> None:
        self._cpu: CpuMeter = machine.postgres
        self._dsn = machine.database("pgbench")
        self._scripts: dict[Kind, Path] = {}
        self._log = machine.home / "logs" / "pgbench.log"
        claim = "c" * _claim_length()
        for kind, script in _SCRIPTS.items():
            self._scripts[kind] = machine.home / f"{kind}.pgbench.sql"
            self._scripts[kind].write_text(script.replace("{claim}", claim))
        asyncio.run(_fill(self._dsn))

    def run(self, kind: Kind, seconds: float, *, begins_s: float = 1.0) -> Writes:
        """Write for so long and read the meters. `begins_s`: before that, to connect and to plan."""
        clients = 1 if kind == "batch" else CLIENTS
        command = [
            *(str(postgres_programs() / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={clients}"),
            *("--jobs=1", f"--time={int(begins_s + seconds) + 2 * _LIMIT_S}", f"--file={self._scripts[kind]}"),
            self._dsn,
        ]
        with psycopg.connect(self._dsn, autocommit=True) as conn, self._log.open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
            try:
                self._await_writes(conn, process, _written(conn), begins_s)
                began_s, first = time.perf_counter(), _written(conn)
                cpu_s = self._cpu.seconds()
                self._await_writes(conn, process, first, seconds)
                cpu_s = self._cpu.seconds() - cpu_s
                count, took_s = _written(conn) - first, time.perf_counter() - began_s
            finally:
                process.kill()
                process.wait()
        return Writes(count / took_s, cpu_s / count * 1e6)

    def _await_writes(
        self, conn: psycopg.Connection[tuple[int]], process: subprocess.Popen[bytes], first: int, seconds: float
    ) -> None:
        """Wait so long, and on until something was written. Raises RuntimeError when nothing is."""
        time.sleep(seconds)
        deadline = time.monotonic() + _LIMIT_S
        while _written(conn) == first:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pgbench writes nothing: {self._log.read_text()}")
            time.sleep(0.01)


def _written(conn: psycopg.Connection[tuple[int]]) -> int:
    """How many payments were ever numbered: counted by Postgres as they are written."""
    row = conn.execute("SELECT last_value FROM payments_id_seq").fetchone()
    return 0 if row is None else row[0]


def _claim_length() -> int:
    body = BenchPayer(0).next_body()
    return len(body[body.index(b'{"version"') : body.rindex(b'},"tag"')])


async def _fill(dsn: str) -> None:
    conn = await asyncpg.connect(dsn, command_timeout=600)
    try:
        await conn.execute("SET session_replication_role = replica")
        await conn.execute(
            f"""
            INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role, status,
                                  period, deposited_by_peer, last_event_id, definition_confirmed, is_watched)
            SELECT lpad(n::text, 32, 'A'), $1, lpad(n::text, 32, 'P'), 'base', {TIMEOUT_S}, n::text, '1.1', 'A',
                   'open', 1, {DEPOSIT}, 1, true, true
              FROM generate_series(1, {CHANNELS}) AS n
            """,
            RECEIVER.address,
        )
        await conn.execute("VACUUM (ANALYZE) channels")
    finally:
        await conn.close()


def kinds() -> Sequence[Kind]:
    """Return what can be run."""
    return tuple(_SCRIPTS)
