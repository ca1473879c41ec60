"""Payments that have moved to the archive, as payers and readers see them: nothing has changed."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Status
from shared.store import archive, lease
from shared.store.api_keys import Scope
from tests.receiving_support import Payer, administrator
from worker.archiving import Archiving, Keeping
from worker.guard import Guard

if TYPE_CHECKING:
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

YEAR_S = 31_536_000


class Past:
    """A payer whose first period, with three payments, has ended two years ago."""

    def __init__(self, front: Front, worker: Worker, database_url: str) -> None:
        self.front = front
        self.worker = worker
        self.url = database_url
        self.payer = Payer()
        self.first: list[dict[str, Any]] = []
        self.token = ""

    async def happen(self) -> None:
        await self.worker.open(self.payer)
        for spent in (1, 3, 6):
            answer = await self.front.pay(self.payer.package(spent, (spent + 1) // 2), message={"n": spent})
            self.first.append(answer)
        closed = {"status": Status.CLOSED, "deposited_by_peer": 0, "spent_by_peer": 0, "credit": 0, "claim": None}
        await self.worker.change(self.payer, **closed, last_event_id=2)
        await self.worker.change(self.payer, status=Status.OPEN, period=2, deposited_by_peer=1_000, last_event_id=3)
        async with administrator(self.url) as conn:
            await conn.execute(
                "INSERT INTO ledger_events (aa_address, event_id, kind, period, unit, payload, mci, unit_timestamp_s,"
                " seen_at) VALUES ($1, 2, 'closed', 1, $2, '{}', 1, 1, now() - interval '2 years')",
                self.payer.channel,
                "u" * 43 + "=",
            )
            await conn.execute("DELETE FROM events; UPDATE payments SET accepted_at = now() - interval '2 years'")
        self.token = await self.worker.make_key(Scope.READ)

    async def housekeep(self, keeping: Keeping) -> None:
        async with self.worker.database.transaction() as conn:
            held = await lease.acquire(conn, "wallet", "me", ttl_s=3600)
        assert held is not None
        await Archiving(Guard(self.worker.database, held), keeping).round()

    async def get(self, path: str = "", **headers: str) -> Any:
        allowed = {"authorization": f"Bearer {self.token}", **headers}
        return await self.front.http.get(f"/v1/payments{path}", headers=allowed)

    async def in_archive(self) -> int:
        async with administrator(self.url) as conn:
            count: int = await conn.fetchval("SELECT count(*) FROM payments_archive")
            return count


@pytest.fixture
async def past(front: Front, worker: Worker, database_url: str) -> Past:
    past = Past(front, worker, database_url)
    await past.happen()
    return past


def records(text: str) -> list[tuple[str, str, str]]:
    return [(row["record"], row["amount"], row["balance"]) for row in csv.DictReader(io.StringIO(text))]


async def test_a_package_of_a_period_long_ago_gets_its_first_receipt(past: Past) -> None:
    await past.housekeep(Keeping(YEAR_S))
    assert await past.in_archive() == 3

    again = await past.front.pay(past.payer.package(3, 2), message={"n": 3})
    assert again == {**past.first[1], "receipt": {**past.first[1]["receipt"], "duplicate": True}}
    never_seen = await past.front.pay(past.payer.package(4, 2))
    assert "error" in never_seen
    assert "receipt" in await past.front.pay(past.payer.package(1, 1, period=2))


async def test_lists_pages_and_statements_are_the_same_before_and_after(past: Past) -> None:
    before = [await past.get(), await past.get("?order=asc&limit=2"), await past.get("", accept="text/csv")]
    await past.housekeep(Keeping(YEAR_S))
    after = [await past.get(), await past.get("?order=asc&limit=2"), await past.get("", accept="text/csv")]
    assert await past.in_archive() == 3
    assert [answer.text for answer in after] == [answer.text for answer in before]
    payment = before[0].json()["items"][0]
    assert (await past.get(f"/{payment['payment_id']}")).json() == payment


async def test_a_statement_still_reconciles_when_months_were_dropped(past: Past) -> None:
    await past.front.pay(past.payer.package(10, 10, period=2))
    [first] = [row for row in records((await past.get("", accept="text/csv")).text) if row[0] == "closing"]
    await past.housekeep(Keeping(YEAR_S, YEAR_S))
    assert await past.in_archive() == 0

    whole = records((await past.get("", accept="text/csv")).text)
    assert whole == [("opening", "", "0"), ("dropped", "6", "6"), ("payment", "10", "16"), first]
    late = records((await past.get("?since=2025-12-31T00:00:00Z", accept="text/csv")).text)
    assert late == [("opening", "", "6"), ("payment", "10", "16"), ("closing", "10", "16")]
    early = records((await past.get("?until=2025-12-31T00:00:00Z", accept="text/csv")).text)
    assert early == [("opening", "", "0"), ("dropped", "6", "6"), ("closing", "6", "6")]
    assert (await past.get("?limit=5")).json()["items"][-1]["amount"] == 10


async def test_a_receiver_that_archives_nothing_moves_nothing(past: Past) -> None:
    await past.housekeep(Keeping(None, YEAR_S))
    async with past.worker.database.connection() as conn:
        assert await archive.may_move(conn)
    assert await past.in_archive() == 0
    assert len((await past.get()).json()["items"]) == 3
