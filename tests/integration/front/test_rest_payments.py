"""`GET /v1/payments`: pages that skip nothing, filters, and statements that reconcile."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

import front.doors.payments
import front.history
import front.statement
from shared.channels.model import Status
from shared.obyte.addresses import device_address
from shared.obyte.keys import KeyPair
from shared.obyte.pairing import parse_pairing_code
from shared.store import channels, contacts, payments
from shared.store.api_keys import Scope
from tests.integration.front.rest_support import problem
from tests.integration.store.builders import new_channel
from tests.receiving_support import Payer, payer_key

if TYPE_CHECKING:
    import httpx

    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

URL = "/v1/payments"
CSV = {"accept": "text/csv"}
ASSET = "x" * 43 + "="
DEVICE = KeyPair(bytes([3]) * 32)


class Books:
    """Two payers with a channel each, and somebody who reads what they have paid."""

    def __init__(self, front: Front, worker: Worker, token: str) -> None:
        self.front = front
        self.worker = worker
        self.token = token
        self.payers = [Payer(), Payer(payer_key(2)), Payer(payer_key(3), asset=ASSET)]
        self.spent = [0, 0, 0]

    async def pay(self, *amounts: int, payer: int = 0) -> None:
        for amount in amounts:
            self.spent[payer] += amount
            answer = await self.front.pay(
                self.payers[payer].package(self.spent[payer], amount), message={"for": "=1+1", "n": self.spent[payer]}
            )
            assert "receipt" in answer, answer

    async def get(self, path: str = URL, *, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        allowed = {"authorization": f"Bearer {self.token}"}
        return await self.front.http.get(path, params=params, headers=allowed | (headers or {}))

    async def amounts(self, **params: Any) -> list[int]:
        response = await self.get(**params)
        assert response.status_code == 200, response.text
        return [item["amount"] for item in response.json()["items"]]

    async def statement(self, **params: Any) -> list[dict[str, str]]:
        response = await self.get(headers=CSV, **params)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(response.text)))


@pytest.fixture
async def books(front: Front, worker: Worker) -> Books:
    books = Books(front, worker, await worker.make_key(Scope.READ))
    for payer in books.payers:
        await worker.open(payer)
    return books


def reconciled(rows: list[dict[str, str]], asset: str = "base") -> tuple[int, list[int], int]:
    """Opening balance, amounts, closing balance of an asset; each row's balance is checked on the way."""
    of_asset = [row for row in rows if row["asset"] == asset]
    balance = int(of_asset[0]["balance"])
    assert of_asset[0]["record"] == "opening"
    amounts = []
    for row in of_asset[1:-1]:
        assert row["record"] == "payment"
        amounts.append(int(row["amount"]))
        balance += amounts[-1]
        assert int(row["balance"]) == balance
    assert of_asset[-1]["record"] == "closing"
    assert (int(of_asset[-1]["balance"]), int(of_asset[-1]["amount"])) == (balance, sum(amounts))
    return int(of_asset[0]["balance"]), amounts, balance


# --------------------------------------------------------------------------------------------------------- pages


async def test_a_payment_is_shown_with_its_message_and_answer(books: Books) -> None:
    await books.pay(600)
    [payment] = (await books.get()).json()["items"]
    assert payment == {
        "payment_id": payment["payment_id"],
        "aa_address": books.payers[0].channel,
        "period": 1,
        "amount_spent": 600,
        "amount": 600,
        "asset": "base",
        "message": {"for": "=1+1", "n": 600},
        "response": None,
        "accepted_at": payment["accepted_at"],
    }
    assert (await books.get(f"{URL}/{payment['payment_id']}")).json() == payment
    assert problem(await books.get(f"{URL}/999999")) == (404, "unknown_payment")


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_follow_each_other_without_a_gap_or_a_repetition(books: Books, order: str) -> None:
    await books.pay(*range(1, 8))
    cursor, seen, pages = {}, [], 0
    while True:
        page = (await books.get(order=order, limit=3, **cursor)).json()
        seen += [item["amount"] for item in page["items"]]
        pages += 1
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted(range(1, 8), reverse=order == "desc")
    assert pages == 3


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_waits_for_payments_that_are_being_committed(
    books: Books, order: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front.history, "_LOOKS", 2)
    await books.pay(1)
    late = await asyncpg.connect(database_url)
    await late.execute("BEGIN")
    await late.execute("UPDATE channels SET updated_at = now() WHERE aa_address = $1", books.payers[1].channel)
    await late.execute(
        "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset) VALUES ($1, 1, 2, 2, 'base')",
        books.payers[1].channel,
    )
    await books.pay(3)
    assert problem(await books.get(order=order)) == (503, "overloaded")
    await late.execute("COMMIT")
    await late.close()
    assert sorted(await books.amounts(order=order)) == [1, 2, 3]


async def test_filters_choose_payments(books: Books) -> None:
    await books.pay(1, 20, 300)
    await books.pay(4, payer=1)
    await books.pay(50, payer=2)
    assert await books.amounts(channel=books.payers[0].channel) == [300, 20, 1]
    assert await books.amounts(peer=books.payers[1].address) == [4]
    assert await books.amounts(asset=ASSET) == [50]
    assert await books.amounts(min_amount=4, max_amount=50, order="asc") == [20, 4, 50]
    moment = datetime.now(UTC)
    assert await books.amounts(since=moment.isoformat()) == []
    assert len(await books.amounts(until=moment.isoformat())) == 5


async def test_a_page_with_much_text_ends_early(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.doors.payments, "_MAX_TEXT", 50)
    await books.pay(1, 2, 3)
    first = (await books.get(order="asc")).json()
    assert [item["amount"] for item in first["items"]] == [1, 2]
    rest = (await books.get(cursor=first["next_cursor"])).json()
    assert ([item["amount"] for item in rest["items"]], rest["next_cursor"]) == ([3], None)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 201},
        {"limit": "many"},
        {"cursor": "desc-x"},
        {"cursor": "desc-1", "order": "asc"},
        {"cursor": "asc-" + "9" * 19},
        {"since": "yesterday"},
        {"since": "0.5"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "0001-01-01T00:00:00+23:59"},
        {"until": "9999-12-31T23:59:59-23:59"},
        {"channel": "\0"},
        {"asset": "gold"},
        {"min_amount": 10**30},
        {"colour": "red"},
    ],
    ids=str,
)
async def test_what_cannot_be_asked_for_is_refused(books: Books, params: dict[str, Any]) -> None:
    assert problem(await books.get(**params)) == (422, "invalid_request")


# ---------------------------------------------------------------------------------------------------- statements


async def test_a_statement_reconciles_and_continues_the_one_before(books: Books) -> None:
    await books.pay(1, 20)
    noon = datetime.now(UTC).isoformat()
    await books.pay(300)
    await books.pay(4000, payer=1)
    assert reconciled(await books.statement()) == (0, [1, 20, 300, 4000], 4321)
    assert reconciled(await books.statement(until=noon)) == (0, [1, 20], 21)
    assert reconciled(await books.statement(since=noon)) == (21, [300, 4000], 4321)
    assert reconciled(await books.statement(since=noon, channel=books.payers[0].channel)) == (21, [300], 321)


async def test_each_asset_has_its_own_balance(books: Books) -> None:
    await books.pay(1, 2)
    await books.pay(50, payer=2)
    rows = await books.statement()
    assert reconciled(rows) == (0, [1, 2], 3)
    assert reconciled(rows, ASSET) == (0, [50], 50)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert reconciled(await books.statement(since=later), ASSET) == (50, [], 50)


async def test_a_statement_is_of_one_moment_whatever_is_paid_meanwhile(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.pay(1, 2)
    honest = payments.totals

    async def totals_and_then_a_payment(*given: Any) -> Any:
        found = await honest(*given)
        await books.pay(40)
        return found

    monkeypatch.setattr(payments, "totals", totals_and_then_a_payment)
    assert reconciled(await books.statement()) == (0, [1, 2], 3)


async def test_a_statement_of_nothing_says_so(books: Books) -> None:
    assert reconciled(await books.statement()) == (0, [], 0)
    assert reconciled(await books.statement(asset=ASSET), ASSET) == (0, [], 0)


async def test_no_message_is_a_formula_to_a_spreadsheet(books: Books) -> None:
    await books.pay(1)
    row = (await books.statement())[1]
    assert row["message"] == '{"for":"=1+1","n":1}'


async def test_a_statement_that_is_too_large_is_refused(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.statement, "MAX_ROWS", 2)
    await books.pay(1, 2, 3)
    assert problem(await books.get(headers=CSV)) == (422, "statement_too_large")


async def test_a_statement_has_no_pages(books: Books) -> None:
    assert problem(await books.get(headers=CSV, limit=5)) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.1", "text/csv"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
    ],
)
async def test_csv_is_for_who_accepts_it_by_name(books: Books, accept: str, media_type: str) -> None:
    response = await books.get(headers={"accept": accept})
    assert response.headers["content-type"].partition(";")[0] == media_type


# -------------------------------------------------------------------------------------------------------- channels


async def test_channels_are_listed_in_pages_and_filtered(books: Books, worker: Worker) -> None:
    await worker.change(books.payers[1], status=Status.CLOSED, deposited_by_peer=0)
    newest_first = [payer.channel for payer in reversed(books.payers)]

    async def listed(**params: Any) -> list[str]:
        return [item["aa_address"] for item in (await books.get("/v1/channels", **params)).json()["items"]]

    assert await listed() == newest_first
    assert await listed(status="closed") == [books.payers[1].channel]
    assert await listed(asset=ASSET) == [books.payers[2].channel]
    assert await listed(peer=books.payers[0].address) == [books.payers[0].channel]
    first = (await books.get("/v1/channels", limit=2)).json()
    assert first["next_cursor"] == newest_first[1]
    assert await listed(limit=2, cursor=first["next_cursor"]) == newest_first[2:]


@pytest.fixture
async def contacted(books: Books, worker: Worker) -> list[str]:
    """Channels: one that we opened at a URL, one of a device, one whose peer says that the URL is his."""
    url, code = "https://shop.example/", parse_pairing_code(f"{DEVICE.pubkey_b64}@hub.example/bb#once")
    found = []
    for number, (role, peer_url) in enumerate([("B", url), ("A", None), ("A", url)]):
        new = new_channel(number, peer_address=payer_key(7 + number).address, role=role, peer_url=peer_url)
        async with worker.database.transaction() as conn:
            await channels.insert(conn, new)
            if peer_url is None:
                await contacts.note_device(conn, new.aa_address, code.device_address)
        found.append(new.aa_address)
    return found


@pytest.mark.parametrize(
    ("peer", "which"),
    [
        ("https://shop.example", 0),
        ("https://shop.example/", 0),
        (device_address(DEVICE.pubkey_b64), 1),
        (f"{DEVICE.pubkey_b64}@elsewhere.example/bb#0000", 1),
        (payer_key(9).address, 2),
    ],
)
async def test_channels_with_a_peer_are_found_by_whatever_he_is_called(
    books: Books, contacted: list[str], peer: str, which: int
) -> None:
    async def listed(**params: Any) -> list[str]:
        return [item["aa_address"] for item in (await books.get("/v1/channels", **params)).json()["items"]]

    assert await listed(peer=peer) == [contacted[which]]
    assert await listed(peer=peer, asset="base") == [contacted[which]]
    assert await listed(peer=peer, asset=ASSET) == []


@pytest.mark.parametrize("peer", ["", "nobody", "ftp://shop.example", "A" * 32, "x" * 1_001])
async def test_who_is_called_like_nobody_is_no_filter(books: Books, peer: str) -> None:
    assert problem(await books.get("/v1/channels", peer=peer)) == (422, "invalid_request")
