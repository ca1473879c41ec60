from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.store.api_keys import Scope
from tests.receiving_support import Payer, all_rows, payer_key

if TYPE_CHECKING:
    import httpx

    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

URL = "/v1/packages/verify"


@pytest.fixture
async def payer(worker: Worker) -> Payer:
    somebody = Payer()
    await worker.open(somebody)
    return somebody


@pytest.fixture
async def token(worker: Worker) -> str:
    return await worker.make_key(Scope.RECEIVE)


async def verify(front: Front, token: str, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await front.http.post(URL, content=content, headers={"authorization": f"Bearer {token}"})


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["title"]
    assert document["detail"]
    return response.status_code, document["code"]


async def test_a_package_is_credited_and_its_receipt_returned(front: Front, payer: Payer, token: str) -> None:
    response = await verify(front, token, payer.package(1000, 600))
    receipt = response.json()
    assert response.status_code == 200
    assert receipt == {
        "payment_id": receipt["payment_id"],
        "amount": 600,
        "asset": "base",
        "aa_address": payer.channel,
        "period": 1,
        "amount_spent": 1000,
        "duplicate": False,
    }
    again = await verify(front, token, payer.package(1000, 600))
    assert again.json() == {**receipt, "duplicate": True}


async def test_both_doors_lead_to_the_same_books(front: Front, payer: Payer, token: str) -> None:
    receipt = (await verify(front, token, payer.package(1000, 600))).json()
    answer = await front.pay(payer.package(1000, 600))
    assert answer["receipt"] == {**receipt, "duplicate": True}


async def test_the_message_is_kept_and_not_part_of_the_package(
    front: Front, payer: Payer, token: str, database_url: str
) -> None:
    response = await verify(front, token, {**payer.package(1000, 600), "message": {"order": "\u00e9"}})
    assert response.status_code == 200
    assert any('"order":"\u00e9"' in row.replace('""', '"') for row in (await all_rows(database_url))["payments"])


async def test_a_refusal_is_a_problem_with_the_rule_and_our_view_of_the_channel(
    front: Front, payer: Payer, token: str
) -> None:
    response = await verify(front, token, payer.package(1000, 1001))
    assert problem(response) == (409, "over_credit")
    assert response.json()["channel"] == {"period": 1, "amount_spent": 0, "credit": 0, "status": "open"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"nonsense", 400, "not_json"),
        (b"[]", 400, "not_an_object"),
        (b'{"version":"4.0dev","version":"4.0dev"}', 400, "duplicate_key"),
        (b'{"message":"' + b"x" * 66_000 + b'"}', 413, "body_too_large"),
        ({}, 422, "missing_field"),
        ({**Payer().package(10, 10), "note": 1}, 422, "unknown_field"),
        (Payer().package(10, 0), 422, "invalid_amount"),
        (Payer().package(10, 10, aa_address=Payer(payer_key(2)).channel), 409, "unknown_channel"),
        (Payer(payer_key(2), timeout_s=10).first_package(10, 10), 409, "timeout_too_low"),
        (Payer().package(10, 10, period=3), 409, "wrong_period"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_packages_are_problems_and_change_nothing(
    front: Front, payer: Payer, token: str, database_url: str, body: Any, status: int, code: str
) -> None:
    await verify(front, token, payer.package(1, 2))  # the key's use is on record from here on
    before = await all_rows(database_url)
    assert problem(await verify(front, token, body)) == (status, code)
    assert await all_rows(database_url) == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Basic dXNlcjpwdw=="},
        {"authorization": "Bearer sluice_unknown"},
        {"authorization": "Bearer " + "x" * 5000},
    ],
    ids=["none", "empty", "no key", "another scheme", "unknown key", "endless key"],
)
async def test_without_a_valid_key_nothing_is_read(front: Front, payer: Payer, headers: dict[str, str]) -> None:
    response = await front.http.post(URL, json=payer.package(10, 10), headers=headers)
    assert problem(response) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert (await front.pay(payer.package(10, 10)))["receipt"]["duplicate"] is False


async def test_a_key_needs_the_scope(front: Front, payer: Payer, worker: Worker) -> None:
    reader = await worker.make_key(Scope.READ)
    assert problem(await verify(front, reader, payer.package(10, 10))) == (403, "missing_scope")


async def test_a_revoked_key_is_refused(front: Front, payer: Payer, worker: Worker) -> None:
    token = await worker.make_key(Scope.RECEIVE)
    async with worker.database.transaction() as conn:
        await conn.execute("UPDATE api_keys SET revoked_at = now()")
    assert problem(await verify(front, token, payer.package(10, 10))) == (401, "unauthorized")
