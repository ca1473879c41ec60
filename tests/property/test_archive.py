"""Whatever moves when, and wherever a move is cut off: every payment is found, once, as it was, and the sums stay.

Payments, ends of periods, answers, moves of a few payments at a time (some of which are rolled back, or end with their
connection), and months that are dropped, in any order; while two movers work at the same time. After each step what is
read is held against a plain list of everything that was ever paid.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.store import archive, payments
from shared.store.database import Database, Role
from shared.store.errors import StoreError
from shared.store.payments import Filter
from tests.integration.store.builders import address, insert_open
from tests.receiving_support import database_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNELS = 2
FIRST = datetime(2024, 1, 20, tzinfo=UTC)
_examples = itertools.count()

steps = st.lists(
    st.tuples(
        st.sampled_from([*["pay"] * 4, *["close"] * 2, "answer", *["move"] * 2, "cut", "both", "drop"]),
        st.integers(0, CHANNELS - 1),
        st.integers(1, 4),
    ),
    min_size=8,
    max_size=30,
)


@dataclass
class Paid:
    """A payment as it must be found."""

    id: int
    key: payments.PaymentKey
    month: datetime
    response: str | None = None


class World:
    """Channels of one example in a database that all examples share, and what was paid in them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.runner = asyncio.Runner()
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.worker = await Database.connect(self.url, role=Role.WORKER)
        self.front = await Database.connect(self.url, role=Role.FRONT)
        self.owner = await asyncpg.connect(self.url)

    def close(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()

    async def _stop(self) -> None:
        await self.owner.close()
        for database in (self.worker, self.front):
            await database.close()

    async def example(self, script: list[tuple[str, int, int]]) -> None:
        number = next(_examples) * CHANNELS
        self.numbers = [number + place for place in range(CHANNELS)]
        self.after = address(number - 1) if number else ""
        self.periods = dict.fromkeys(self.numbers, 1)
        self.paid: list[Paid] = []
        self.dropped: set[datetime] = set()
        # Months of earlier examples are no part of this one: each has its own years.
        self.now = FIRST + timedelta(days=31 * 40 * (number // CHANNELS))
        for one in self.numbers:
            await insert_open(self.owner, one)
        await self.owner.execute("DELETE FROM events")
        for kind, place, amount in script:
            await getattr(self, f"_{kind}")(self.numbers[place], amount)
            await self._check()
        async with self.worker.transaction() as conn:  # later examples drop their own months only
            while await archive.drop_month(conn, 0):
                pass

    async def _pay(self, number: int, amount: int) -> None:
        self.now += timedelta(days=4)
        key = (address(number), self.periods[number], len(self.paid) + 1, amount)
        id_ = await self.owner.fetchval(
            "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset, accepted_at)"
            " VALUES ($1, $2, $3, $4, 'base', $5) RETURNING id",
            *key,
            self.now,
        )
        self.paid.append(Paid(id_, key, self.now.replace(day=1)))

    async def _close(self, number: int, _: int) -> None:
        """End the period, and begin the next one."""
        await self.owner.execute(
            "INSERT INTO ledger_events (aa_address, event_id, kind, period, unit, payload, mci, unit_timestamp_s,"
            " seen_at) VALUES ($1, $2, 'closed', $2, $3, '{}', 1, 1, now() - interval '1 year')",
            address(number),
            self.periods[number],
            "u" * 43 + "=",
        )
        self.periods[number] += 1
        await self.owner.execute("UPDATE channels SET period = period + 1 WHERE aa_address = $1", address(number))

    async def _answer(self, _: int, amount: int) -> None:
        for one in self.paid[amount - 1 : amount]:
            async with self.front.connection() as conn:
                kept = await payments.keep_response(conn, one.id, f'"{amount}"')
            if one.month not in self.dropped:
                one.response = one.response or f'"{amount}"'
                assert kept == one.response

    async def _move(self, _: int, amount: int) -> None:
        async with self.worker.transaction() as conn:
            await archive.move(conn, self.after, 0, channels=CHANNELS, limit=amount)

    async def _cut(self, _: int, amount: int) -> None:
        """The same, but its process dies before the commit."""
        with pytest.raises(StoreError):
            await self._move_and_die(amount)

    async def _move_and_die(self, amount: int) -> None:
        async with self.worker.transaction() as conn:
            await archive.move(conn, self.after, 0, channels=CHANNELS, limit=amount)
            pid = await conn.fetchval("SELECT pg_backend_pid()")
            await self.owner.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            await conn.fetchval("SELECT 1")

    async def _both(self, number: int, amount: int) -> None:
        """Two that both believe to hold the lease."""
        await asyncio.gather(self._move(number, amount), self._move(number, amount))

    async def _drop(self, _: int, __: int) -> None:
        async with self.worker.transaction() as conn:
            month = await archive.drop_month(conn, 0)
        if month is not None:
            self.dropped |= {one.month for one in self.paid if one.month.date() == month}

    async def _check(self) -> None:
        places = "SELECT id FROM payments UNION ALL SELECT id FROM payments_archive"
        rows = await self.owner.fetch(f"SELECT id FROM ({places}) AS a WHERE id >= $1", min(self._ids(), default=2**62))  # noqa: S608
        ids = [row["id"] for row in rows]
        assert len(ids) == len(set(ids))
        gone = {one.id for one in self.paid if one.month in self.dropped} - set(ids)
        there = [one for one in self.paid if one.id not in gone]
        assert set(ids) == {one.id for one in there}
        async with self.front.connection() as conn:
            found = await payments.find(conn, self._keys(), finished=self._keys())
            assert {one.key: (one.id, one.response) for one in there} == {
                key: (payment.id, payment.response) for key, payment in found.items()
            }
            for number in self.numbers:
                which = Filter(aa_address=address(number))
                listed = await payments.page(conn, which)
                assert [payment.id for payment in listed] == [one.id for one in there if one.key[0] == address(number)]
                kept = sum(total.amount for total in await payments.totals(conn, which))
                dropped = sum(month.amount for month in await archive.dropped(conn, which))
                assert kept + dropped == sum(one.key[3] for one in self.paid if one.key[0] == address(number))

    def _ids(self) -> list[int]:
        return [one.id for one in self.paid]

    def _keys(self) -> list[payments.PaymentKey]:
        return [one.key for one in self.paid]


@pytest.fixture(scope="module")
def world(postgres_url: str, _template: str) -> Iterator[World]:
    with database_of(postgres_url, _template, "test_archive_property") as url:
        world = World(url)
        yield world
        world.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=steps)
def test_every_payment_is_found_once_wherever_it_is(world: World, script: list[tuple[str, int, int]]) -> None:
    world.runner.run(world.example(script))
