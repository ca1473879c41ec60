"""The dependency, with both of its receivers: this process, and a front that is asked over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from starlette.responses import PlainTextResponse, StreamingResponse

from shared.settings import Settings
from shared.store import payments
from shared.store.api_keys import Scope
from sluice.fastapi import RESPONSES, InProcessReceiver, PaymentRequired, Payments, Purchase, RemoteReceiver
from sluice.terms import decode_receipt, encode_package, read_terms
from tests import receiving_support
from tests.integration.front.conftest import running_front
from tests.receiving_support import OWN, Payer, payer_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluice.fastapi.receivers import PackageReceiver
    from tests.receiving_support import Worker

SECRET = "correct horse battery"
PRICE = 600


@dataclass
class Shop:
    """An application with things to sell, its customers' connection, and what its handlers did."""

    http: httpx.AsyncClient
    receiver: PackageReceiver
    handled: Counter[str]
    worker: Worker
    payer: Payer

    async def get(self, path: str, package: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        return await self.ask("GET", path, package, **more)

    async def ask(self, method: str, path: str, package: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        headers = {**({} if package is None else header(package)), **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def credited(self) -> int:
        return (await self.worker.read(self.payer)).spent_by_peer


with_both = pytest.mark.parametrize("shop", ["in process", "remote"], indirect=True)
"""For what depends on the receiver; the rest is tested with a remote one."""


def header(package: dict[str, Any]) -> dict[str, str]:
    return {"Sluice-Payment": encode_package(json.dumps(package))}


# Where the framework finds names of annotations.
Paid = Annotated[Purchase, Depends(PaymentRequired(PRICE))]


async def by_length(request: Request) -> int:
    if "words" not in request.query_params:
        raise HTTPException(422, "how many words?")
    return int(request.query_params["words"]) * 10


async def consumed(request: Request) -> int:
    return len([part async for part in request.stream()])


def application(receiver: PackageReceiver, handled: Counter[str]) -> FastAPI:  # noqa: C901 - many small handlers
    app = FastAPI()
    Payments(app, receiver)

    def count(name: str) -> int:
        handled[name] += 1
        return handled[name]

    @app.get("/weather", responses=RESPONSES)
    async def weather(purchase: Paid, place: str = "here") -> dict[str, Any]:
        return {"place": place, "time": count("weather"), "payment": purchase.payment_id}

    @app.post("/ask")
    async def ask(purchase: Paid, question: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return {"question": question, "time": count("ask")}

    @app.post("/consumed", dependencies=[Depends(consumed)])
    async def after(purchase: Paid) -> int:
        return count("consumed")

    @app.post("/raw")
    async def raw(request: Request, purchase: Paid) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    @app.get("/static")
    async def static(purchase: Annotated[Purchase, Depends(PaymentRequired(PRICE, keep_answer=False))]) -> Any:
        count("static")
        return {"is_repeat": purchase.is_repeat}

    @app.get("/large")
    async def large(purchase: Paid) -> PlainTextResponse:
        count("large")
        return PlainTextResponse("x" * 100_000)

    @app.get("/stream")
    async def stream(purchase: Paid) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"y" * 10_000

        return StreamingResponse(parts())

    @app.get("/gone")
    async def gone(purchase: Paid) -> None:
        raise HTTPException(404, f"gone {count('gone')}")

    @app.get("/fails-first")
    async def fails_first(purchase: Paid) -> str:
        if count("fails-first") == 1:
            raise ZeroDivisionError
        return "well"

    @app.get("/busy-first")
    async def busy_first(purchase: Paid) -> str:
        if count("busy-first") == 1:
            raise HTTPException(503, "busy")
        return "well"

    @app.get("/slow")
    async def slow(purchase: Paid) -> int:
        mine = count("slow")
        await asyncio.sleep(0)
        return mine

    @app.get("/free")
    async def free() -> str:
        return "free"

    @app.get("/words")
    async def words(purchase: Annotated[Purchase, Depends(PaymentRequired(by_length))]) -> int:
        return purchase.amount

    @app.get("/token")
    async def token(purchase: Annotated[Purchase, Depends(PaymentRequired(1, asset="A" * 43 + "="))]) -> int:
        return purchase.amount

    return app


@asynccontextmanager
async def opened(kind: str, database_url: str, worker: Worker) -> AsyncIterator[PackageReceiver]:
    settings = Settings(database_url=database_url, funding_wait_s=0.3)
    if kind == "in process":
        yield InProcessReceiver(settings, secret=SECRET)
        return
    async with running_front(settings) as front:
        key = await worker.make_key(Scope.RECEIVE)
        yield RemoteReceiver("http://front/", api_key=key, http=front.http)


@pytest.fixture
async def shop(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(receiving_support.worker(database_url))
        payer = Payer()
        await worker.open(payer)
        receiver = await stack.enter_async_context(opened(getattr(request, "param", "remote"), database_url, worker))
        handled: Counter[str] = Counter()
        app = application(receiver, handled)
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://shop"))
        yield Shop(http, receiver, handled, worker, payer)


@with_both
async def test_without_a_package_there_are_terms_and_no_answer(shop: Shop) -> None:
    response = await shop.get("/weather")
    assert response.status_code == 402
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["code"] == "payment_required"
    [terms] = read_terms(response.json())
    assert (terms.amount, terms.asset, terms.receiver, terms.network) == (PRICE, "base", OWN.address, "devnet")
    assert (terms.min_timeout_s, terms.max_timeout_s) == (800, 1500)
    assert response.json()["accepts"][0]["post_url"] == "http://127.0.0.1:6800/post"
    assert not shop.handled


@with_both
async def test_a_package_that_pays_gets_the_answer_and_a_receipt(shop: Shop) -> None:
    response = await shop.get("/weather?place=there", shop.payer.package(PRICE, PRICE))
    assert response.status_code == 200
    receipt = decode_receipt(response.headers["sluice-receipt"])
    assert receipt is not None
    assert (receipt.amount, receipt.aa_address, receipt.duplicate) == (PRICE, shop.payer.channel, False)
    assert response.json() == {"place": "there", "time": 1, "payment": receipt.payment_id}
    assert response.headers["cache-control"] == "private, no-store"


@with_both
async def test_the_same_request_again_gets_the_same_answer_and_costs_nothing(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    first, again = [await shop.get("/weather", package) for _ in range(2)]
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert decode_receipt(again.headers["sluice-receipt"]).duplicate  # type: ignore[union-attr]
    assert (shop.handled["weather"], await shop.credited()) == (1, PRICE)


@with_both
async def test_a_package_buys_no_second_answer(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    assert (await shop.get("/weather", package)).status_code == 200
    for method, path, more in [
        ("GET", "/weather?place=there", {}),
        ("GET", "/static", {}),
        ("POST", "/ask", {"json": {}}),
        ("GET", "/weather", {"headers": {"host": "other"}}),
        ("GET", "/weather", {"headers": {"authorization": "Bearer other"}}),
    ]:
        response = await shop.ask(method, path, package, **more)
        assert (response.status_code, response.json()["code"]) == (409, "package_used"), path
        assert "sluice-receipt" not in response.headers
    assert shop.handled.total() == 1


async def test_a_body_is_part_of_what_is_bought(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    first = await shop.ask("POST", "/ask", package, json={"q": 1})
    assert first.json() == {"question": {"q": 1}, "time": 1}
    assert (await shop.ask("POST", "/ask", package, json={"q": 1})).json() == first.json()
    assert (await shop.ask("POST", "/ask", package, json={"q": 2})).json()["code"] == "package_used"


async def test_bodies_reach_whoever_reads_them(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    assert (await shop.ask("POST", "/consumed", package, content=b"early")).json() == 1
    assert (await shop.ask("POST", "/consumed", package, content=b"other")).status_code == 409
    raw = await shop.ask("POST", "/raw", shop.payer.package(2 * PRICE, PRICE), content=b"abc")
    assert raw.text == "abc"


async def test_a_body_that_is_too_large_is_refused_before_anything_is_credited(shop: Shop) -> None:
    response = await shop.ask("POST", "/raw", shop.payer.package(PRICE, PRICE), content=b"a" * 1_048_577)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert await shop.credited() == 0


async def test_a_package_that_was_paid_elsewhere_buys_nothing_here(shop: Shop, database_url: str) -> None:
    async with running_front(Settings(database_url=database_url)) as front:
        package = shop.payer.package(PRICE, PRICE)
        forged = {"http": "GET /weather", "seal": "0" * 64}
        assert "receipt" in await front.pay(package, message=forged)
    response = await shop.get("/weather", package)
    assert (response.status_code, response.json()["code"]) == (409, "package_used")


@with_both
async def test_too_little_is_not_taken(shop: Shop) -> None:
    response = await shop.get("/weather", shop.payer.package(PRICE - 1, PRICE - 1))
    assert (response.status_code, response.json()["code"]) == (402, "payment_too_small")
    assert read_terms(response.json())[0].amount == PRICE
    assert await shop.credited() == 0


async def test_another_asset_is_not_taken(shop: Shop) -> None:
    response = await shop.get("/token", shop.payer.package(PRICE, PRICE))
    assert (response.status_code, response.json()["code"]) == (402, "wrong_asset")
    assert await shop.credited() == 0


@with_both
async def test_a_refusal_tells_the_rule_and_how_the_receiver_sees_the_channel(shop: Shop) -> None:
    response = await shop.get("/weather", shop.payer.package(PRICE, PRICE, period=2))
    assert (response.status_code, response.json()["code"]) == (402, "wrong_period")
    assert response.json()["channel"] == {"period": 1, "amount_spent": 0, "credit": 0, "status": "open"}


@with_both
async def test_a_package_of_nobody_is_refused(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    package["signed_message"]["payment_amount"] += 1
    response = await shop.get("/weather", package)
    assert (response.status_code, response.json()["code"]) == (402, "bad_signature")
    stranger = await shop.get("/weather", Payer(payer_key(9)).package(PRICE, PRICE))
    assert (stranger.status_code, stranger.json()["code"]) == (402, "unknown_channel")


async def test_a_header_that_holds_no_package_is_refused(shop: Shop) -> None:
    for value in ("", "!", "e30=", "W10", "x" * 3_073, "bm90IGpzb24", "eyJhIjoxLCJhIjoyfQ"):
        response = await shop.http.get("/weather", headers={"Sluice-Payment": value})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_payment_header"), value


async def test_one_package_at_a_time(shop: Shop) -> None:
    headers = [("Sluice-Payment", "e30"), ("Sluice-Payment", "e30")]
    response = await shop.http.get("/weather", headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_payment_header")


async def test_members_beside_the_package_are_refused(shop: Shop) -> None:
    for extra in ({"message": 1}, {"price": {"asset": "base", "amount": 1}}, {"more": 1}):
        response = await shop.get("/weather", {**shop.payer.package(PRICE, PRICE), **extra})
        assert (response.status_code, response.json()["code"]) == (402, "unknown_field")


async def test_a_failed_handler_is_tried_again_with_the_same_package(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    failed = await shop.get("/fails-first", package)
    assert (failed.status_code, failed.json()["code"]) == (500, "application_failed")
    assert "sluice-receipt" in failed.headers
    again = await shop.get("/fails-first", package)
    assert (again.status_code, again.json()) == (200, "well")
    assert await shop.credited() == PRICE


async def test_an_error_of_the_server_is_not_kept(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    answers = [await shop.get("/busy-first", package) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 200]
    assert "sluice-receipt" in answers[0].headers


async def test_an_error_that_is_an_answer_is_kept(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    answers = [await shop.get("/gone", package) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, {"detail": "gone 1"})] * 2


async def test_without_keeping_the_handler_runs_again(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    answers = [await shop.get("/static", package) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"is_repeat": False}, {"is_repeat": True}]
    assert await shop.credited() == PRICE


@with_both
async def test_what_is_too_large_to_be_kept_is_given_once(shop: Shop) -> None:
    for number, path in enumerate(["/large", "/stream"], start=1):
        package = shop.payer.package(number * PRICE, PRICE)
        first, again = [await shop.get(path, package) for _ in range(2)]
        assert (first.status_code, len(first.content)) == (200, 100_000)
        assert (again.status_code, again.json()["code"]) == (409, "answer_not_kept")
        assert "sluice-receipt" in again.headers


@with_both
async def test_of_many_at_once_all_get_one_answer_and_one_payment_is_credited(shop: Shop) -> None:
    package = shop.payer.package(PRICE, PRICE)
    answers = await asyncio.gather(*(shop.get("/slow", package) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await shop.credited() == PRICE


async def test_prices_follow_the_request(shop: Shop) -> None:
    assert read_terms((await shop.get("/words?words=7")).json())[0].amount == 70
    assert (await shop.get("/words?words=7", shop.payer.package(70, 70))).json() == 70
    assert (await shop.get("/words?words=8", shop.payer.package(140, 70))).json()["code"] == "payment_too_small"


async def test_what_the_price_refuses_costs_nothing(shop: Shop) -> None:
    response = await shop.get("/words", shop.payer.package(70, 70))
    assert (response.status_code, response.json()) == (422, {"detail": "how many words?"})
    assert await shop.credited() == 0


async def test_what_is_free_stays_free(shop: Shop) -> None:
    assert (await shop.get("/free")).json() == "free"
    response = await shop.get("/free", shop.payer.package(PRICE, PRICE))
    assert "sluice-receipt" not in response.headers
    assert await shop.credited() == 0


async def test_what_was_sold_is_on_record_and_nothing_that_could_buy_again(shop: Shop) -> None:
    await shop.get("/weather?place=secret", shop.payer.package(PRICE, PRICE))
    async with shop.worker.database.connection() as conn:
        [payment] = await payments.page(conn)
    message = json.loads(payment.message or "")
    assert message.keys() == {"http", "seal"}
    assert message["http"] == "GET /weather"


@pytest.mark.parametrize(
    "receiver",
    [
        RemoteReceiver("http://127.0.0.1:9/", api_key="k"),
        InProcessReceiver(Settings(database_url="postgresql://nobody@127.0.0.1:9/none"), secret=SECRET),
    ],
    ids=["remote", "in process"],
)
async def test_a_receiver_that_is_away_is_not_the_payers_fault(receiver: PackageReceiver) -> None:
    app = application(receiver, Counter())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
            response = await http.get("/weather")
    assert (response.status_code, response.json()["code"]) == (503, "receiver_unavailable")
    assert response.headers["retry-after"]


async def test_a_key_without_the_scope_is_told_in_the_log_only(database_url: str) -> None:
    async with receiving_support.worker(database_url) as worker:
        payer = Payer()
        await worker.open(payer)
        async with running_front(Settings(database_url=database_url)) as front:
            receiver = RemoteReceiver("http://front/", api_key=await worker.make_key(Scope.READ), http=front.http)
            app = application(receiver, Counter())
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
                response = await http.get("/weather", headers=header(payer.package(PRICE, PRICE)))
    assert (response.status_code, response.json()["code"]) == (503, "receiver_unavailable")
    assert "scope" not in response.text


def test_prices_and_secrets_that_are_none_are_refused_at_once() -> None:
    for price in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="positive integer"):
            PaymentRequired(price)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 characters"):
        InProcessReceiver(Settings(), secret="short")


async def test_an_application_without_payments_says_so() -> None:
    app = FastAPI()

    @app.get("/")
    async def sell(purchase: Annotated[Purchase, Depends(PaymentRequired(1))]) -> int:
        return purchase.amount

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        with pytest.raises(RuntimeError, match=r"Payments\(app, receiver\)"):
            await http.get("/")
