"""The link between a payment and its request: made with the payment, whatever its message says and whoever is first."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.bus import Bus
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt
from shared.receiving.verification import verify_payment_package
from shared.requests.standing import RequestState
from shared.store import payment_requests
from shared.store.payment_requests import NewRequest, NotCancellableError, PaymentRequest
from tests.integration.store.builders import insert_open
from tests.integration.store.builders import payment as new_payment
from tests.receiving_support import ROOMY, Payer, administrator, payer_key

if TYPE_CHECKING:
    from shared.store.database import Connection, Database
    from tests.receiving_support import Worker
    from worker.payment_requests import RequestTelling

RULES = AcceptanceRules({}, ROOMY, watcher_max_silence_s=3600)


async def ask(database: Database, **what: Any) -> PaymentRequest:
    async with database.transaction() as conn:
        return await payment_requests.insert(conn, NewRequest(**{"amount": 100, **what}))


async def look(database: Database, request_id: str) -> PaymentRequest:
    async with database.connection() as conn:
        found = await payment_requests.get(conn, request_id)
    assert found is not None
    return found


async def told(database_url: str) -> list[str]:
    async with administrator(database_url) as conn:
        rows = await conn.fetch("SELECT kind FROM events WHERE kind LIKE 'payment_request%' ORDER BY id")
    return [row["kind"].removeprefix("payment_request_") for row in rows]


async def test_two_payers_of_the_last_missing_part_are_both_credited_and_it_is_paid_once(
    worker: Worker, database: Database, database_url: str, teller: RequestTelling
) -> None:
    request = await ask(database)
    payers = [Payer(), Payer(payer_key(2))]
    fronts = [Acceptor(database, RULES, Bus(None)) for _ in payers]
    for payer in payers:
        await worker.open(payer)
    message = json.dumps({"request": request.id})
    packages = [verify_payment_package(payer.package(100, 100), DEVNET) for payer in payers]
    outcomes = await asyncio.gather(*(map(Acceptor.submit, fronts, packages, [message, message])))
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    await teller.round()
    standing = (await look(database, request.id)).standing
    assert (standing.state, standing.surplus) == (RequestState.OVERPAID, 100)
    assert await told(database_url) == ["paid", "overpaid"]
    for front in fronts:
        await front.close()


NAMING = ['{"request": "ID", "order": 7}', '{"\\u0072equest": "x", "request":"ID"}']
NOT_NAMING = [
    None,
    '"request"',
    '["request", "ID"]',
    '{"request": {"id": "ID"}}',
    '{"request": ["ID"]}',
    '{"inside": {"request": "ID"}}',
    '{"Request": "ID"} "request"',
    '{"request": "ID\\u0000"}',
    '{"request": "\\ud800ID"}',
    '{"request": "ID",}',
    '"request"' + "[" * 30_000,
    '{"request": null}',
    '{"request": 1111111111111111111111}',
    '{"request": "AAAAAAAAAAAAAAAAAAAAAA"}',
]


async def test_whatever_a_message_says_the_payment_is_recorded_and_linked_if_it_names_the_request(
    worker: Worker, database: Database, database_url: str
) -> None:
    request, of_digits = await ask(database), await ask(database)
    async with administrator(database_url) as conn:
        await conn.execute("UPDATE payment_requests SET id = repeat('1', 22) WHERE id = $1", of_digits.id)
    messages = NAMING + NOT_NAMING
    for number, message in enumerate(messages, 1):
        async with worker.database.transaction() as conn:
            text = None if message is None else message.replace("ID", request.id)
            await _insert_payment(conn, text, number=number)
    found = await look(database, request.id)
    assert (found.payments, found.in_time) == (len(NAMING), 7 * len(NAMING))
    assert (await look(database, "1" * 22)).payments == 0


async def test_an_expiry_is_told_only_when_no_payment_in_time_can_come_any_more(
    worker: Worker, database: Database, database_url: str, teller: RequestTelling
) -> None:
    request = await ask(database, expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with worker.database.transaction() as conn:
        await _insert_payment(conn, json.dumps({"request": request.id}), amount=100)
        await _expire(database_url, request.id)
        telling = asyncio.create_task(teller.round())
        done, _ = await asyncio.wait([telling], timeout=0.1)
        assert not done
        assert (await look(database, request.id)).standing.state is RequestState.EXPIRED
    await telling
    assert (await look(database, request.id)).standing.state is RequestState.PAID
    assert await told(database_url) == ["paid"]


async def test_what_comes_after_the_expiry_is_credited_and_late(
    worker: Worker, database: Database, database_url: str, teller: RequestTelling
) -> None:
    request = await ask(database, expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with worker.database.transaction() as conn:
        await _insert_payment(conn, json.dumps({"request": request.id}), amount=40)
    await _expire(database_url, request.id)
    await teller.round()
    async with worker.database.transaction() as conn:
        await _insert_payment(conn, json.dumps({"request": request.id}), amount=60, number=2)
    await teller.round()
    await teller.round()
    standing = (await look(database, request.id)).standing
    assert (standing.state, standing.in_time, standing.late, standing.due) == (RequestState.LATE, 40, 60, 0)
    assert await told(database_url) == ["partially_paid", "expired", "late"]


async def test_a_request_is_cancelled_before_it_is_paid_and_not_after(
    worker: Worker, database: Database, database_url: str, teller: RequestTelling
) -> None:
    request, paid = await ask(database), await ask(database, amount=7)
    async with worker.database.transaction() as conn:
        await _insert_payment(conn, json.dumps({"request": paid.id}))
    async with database.transaction() as conn:
        first = await payment_requests.cancel(conn, request.id)
        second = await payment_requests.cancel(conn, request.id)
        assert first is not None
        assert second is not None
        assert second == replace(first, now=second.now)
        assert await payment_requests.cancel(conn, "A" * 22) is None
        with pytest.raises(NotCancellableError, match="paid"):
            await payment_requests.cancel(conn, paid.id)
    async with worker.database.transaction() as conn:
        await _insert_payment(conn, json.dumps({"request": request.id}), number=2)
    await teller.round()
    found = await look(database, request.id)
    assert (found.standing.state, found.late) == (RequestState.CANCELLED, 7)
    assert await told(database_url) == ["cancelled", "paid", "late"]


async def test_a_payment_that_was_being_committed_when_it_was_cancelled_counts(
    worker: Worker, database: Database, database_url: str, teller: RequestTelling
) -> None:
    request = await ask(database, amount=7)
    async with worker.database.transaction() as conn:
        await _insert_payment(conn, json.dumps({"request": request.id}))
        async with database.transaction() as other:
            await payment_requests.cancel(other, request.id)
    await teller.round()
    assert (await look(database, request.id)).standing.state is RequestState.PAID
    assert await told(database_url) == ["cancelled", "paid"]


async def test_many_payments_are_told_in_several_steps(
    worker: Worker, database: Database, database_url: str, teller: RequestTelling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.payment_requests.PAYMENTS_AT_ONCE", 2)
    request = await ask(database, amount=35)
    for number in range(1, 6):
        async with worker.database.transaction() as conn:
            await _insert_payment(conn, json.dumps({"request": request.id}), number=number)
    rounds = 1
    while await teller.round():
        rounds += 1
    assert rounds == 3
    assert await told(database_url) == ["partially_paid"] * 4 + ["paid"]
    assert (await look(database, request.id)).standing.state is RequestState.PAID


async def test_pages_of_requests_and_of_their_payments(worker: Worker, database: Database) -> None:
    made = [await ask(database, memo=f"{number}") for number in range(5)]
    async with worker.database.transaction() as conn:
        await insert_open(conn)
        for number in range(1, 6):
            await _insert_payment(conn, json.dumps({"request": made[0].id}), number=number, is_open=True)
    async with database.connection() as conn:
        first = await payment_requests.page(conn, limit=3)
        rest = await payment_requests.page(conn, before=first[-1].number, limit=3)
        assert [item.id for item in first + rest] == [item.id for item in reversed(made)]
        assert [item.id for item in await payment_requests.page(conn, state=RequestState.PARTIALLY_PAID)] == [
            made[0].id
        ]
        head = await payment_requests.payments_page(conn, made[0].id, limit=3)
        tail = await payment_requests.payments_page(conn, made[0].id, after=head[-1].id, limit=3)
    assert len({item.reference for item in head + tail}) == 5


async def _insert_payment(
    conn: Connection, message: str | None, *, amount: int = 7, number: int = 1, is_open: bool = False
) -> None:
    if not is_open and number == 1:
        await insert_open(conn)
    new = new_payment(number * 1_000, amount)
    await conn.execute(
        "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset, message) "
        "VALUES ($1, $2, $3, $4, 'base', $5)",
        new.aa_address,
        new.period,
        new.amount_spent,
        new.payment_amount,
        message,
    )


async def _expire(database_url: str, request_id: str) -> None:
    async with administrator(database_url) as conn:
        await conn.execute("UPDATE payment_requests SET expires_at = clock_timestamp() WHERE id = $1", request_id)
