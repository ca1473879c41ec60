"""What an application that sells over HTTP needs from a front: prices, kept answers, and the terms to tell."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.store import instance
from shared.store.api_keys import Scope
from tests.integration.front.conftest import running_front
from tests.receiving_support import OWN, Payer, payer_key

if TYPE_CHECKING:
    import httpx

    from shared.settings import Settings
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

TOKEN = base64.b64encode(bytes(32)).decode()
PRICE = {"asset": "base", "amount": 600}


@pytest.fixture
async def payer(worker: Worker) -> Payer:
    somebody = Payer()
    await worker.open(somebody)
    return somebody


@pytest.fixture
async def token(worker: Worker) -> str:
    return await worker.make_key(Scope.RECEIVE)


async def verify(front: Front, token: str, package: dict[str, Any], **more: Any) -> httpx.Response:
    body = json.dumps({**package, **more})
    return await front.http.post("/v1/packages/verify", content=body, headers={"authorization": f"Bearer {token}"})


async def keep(front: Front, token: str, payment_id: Any, answer: Any) -> httpx.Response:
    return await front.http.put(
        f"/v1/payments/{payment_id}/answer", content=json.dumps(answer), headers={"authorization": f"Bearer {token}"}
    )


async def test_a_package_that_pays_the_price_is_credited(front: Front, payer: Payer, token: str) -> None:
    response = await verify(front, token, payer.package(600, 600), message={"for": 1}, price=PRICE)
    assert response.status_code == 200
    assert (response.json()["message"], response.json()["answer"]) == ({"for": 1}, None)


async def test_too_little_is_refused_and_not_credited(front: Front, worker: Worker, payer: Payer, token: str) -> None:
    response = await verify(front, token, payer.package(599, 599), price=PRICE)
    assert (response.status_code, response.json()["code"]) == (409, "payment_too_small")
    assert (await worker.read(payer)).spent_by_peer == 0


@pytest.mark.parametrize("introduced", [False, True], ids=["known channel", "with parameters"])
async def test_another_asset_is_refused_and_not_credited(
    front: Front, worker: Worker, token: str, *, introduced: bool
) -> None:
    payer = Payer(payer_key(2), asset=TOKEN)
    await worker.open(payer)
    package = payer.first_package(600, 600) if introduced else payer.package(600, 600)
    response = await verify(front, token, package, price=PRICE)
    assert (response.status_code, response.json()["code"]) == (409, "wrong_asset")
    assert (await worker.read(payer)).spent_by_peer == 0


async def test_what_was_credited_is_given_again_although_the_price_has_risen(
    front: Front, payer: Payer, token: str
) -> None:
    first = (await verify(front, token, payer.package(600, 600), message="m", price=PRICE)).json()
    again = await verify(front, token, payer.package(600, 600), message="n", price={**PRICE, "amount": 700})
    assert again.json() == {**first, "duplicate": True}


@pytest.mark.parametrize(
    "price",
    [None, 600, {}, {"asset": "base"}, {**PRICE, "more": 1}, {**PRICE, "amount": 0}, {"asset": 1, "amount": 1}],
    ids=str,
)
async def test_a_price_that_is_none_is_refused(front: Front, payer: Payer, token: str, price: Any) -> None:
    response = await verify(front, token, payer.package(600, 600), price=price)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_price")


async def test_the_first_answer_is_kept_and_comes_with_the_repeated_package(
    front: Front, payer: Payer, token: str
) -> None:
    number = (await verify(front, token, payer.package(600, 600), price=PRICE)).json()["payment_id"]
    assert (await keep(front, token, number, {"text": "é"})).json() == {"answer": {"text": "é"}}
    assert (await keep(front, token, number, "later")).json() == {"answer": {"text": "é"}}
    again = await verify(front, token, payer.package(600, 600), price=PRICE)
    assert again.json()["answer"] == {"text": "é"}


@pytest.mark.parametrize("number", [0, -1, 10**9, 2**63, 10**30])
async def test_no_answer_is_kept_for_a_payment_that_is_none(front: Front, token: str, number: int) -> None:
    response = await keep(front, token, number, "answer")
    assert (response.status_code, response.json()["code"]) == (404, "unknown_payment")


async def test_null_is_no_answer(front: Front, payer: Payer, token: str) -> None:
    number = (await verify(front, token, payer.package(600, 600))).json()["payment_id"]
    assert (await keep(front, token, number, None)).status_code == 422


async def test_answers_are_kept_for_holders_of_the_right_key_only(front: Front, worker: Worker) -> None:
    assert (await keep(front, "sluice_wrong", 1, "x")).status_code == 401
    assert (await keep(front, await worker.make_key(Scope.READ), 1, "x")).status_code == 403


async def test_anybody_may_ask_for_the_terms(settings: Settings, worker: Worker) -> None:
    async with worker.database.transaction() as conn:
        await instance.note_published(conn, ["1.1"])
    chosen = settings.model_copy(update={"min_channel_timeout_s": 900})
    async with running_front(chosen) as front:
        response = await front.http.get("/v1/terms")
    assert response.json() == {
        "network": "devnet",
        "receiver": OWN.address,
        "url": "http://127.0.0.1:6800/",
        "agent_versions": ["1.1"],
        "min_timeout_s": 900,
        "max_timeout_s": 1500,
    }


async def test_there_are_no_terms_before_the_first_start_of_a_worker(settings: Settings) -> None:
    async with running_front(settings) as front:
        response = await front.http.get("/v1/terms")
    assert (response.status_code, response.json()["code"]) == (503, "not_initialized")
