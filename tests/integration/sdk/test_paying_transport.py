"""httpx clients that pay: what a server sells is bought within the budget, once."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.responses import StreamingResponse

from sluice import Payer, PayerError, PaymentRefusedError, PaymentUncertainError
from sluice.fastapi import PaymentRequired, Payments, Purchase, RemoteReceiver
from sluice.httpx import Budget, PayingTransport, PaymentDeclinedError, SyncPayingTransport, payment_of
from sluice.payer.peers import RetryPolicy
from tests.integration.payer.support import BOUND_S
from tests.integration.sdk.support import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.sdk.conftest import Market

BUDGET = Budget(per_request=1_000, total=100_000, deposit=200_000)
RETRY = RetryPolicy(attempts=3, first_pause_s=0.01, longest_pause_s=0.05)


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """The network, which loses answers, and a look at what goes over it."""

    inner: httpx.AsyncBaseTransport = field(default_factory=httpx.AsyncHTTPTransport)
    lose: int = 0
    """So many answers to paid requests never arrive."""
    packages: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if "sluice-payment" in request.headers:
            self.packages.append(request.headers["sluice-payment"])
            if self.lose:
                self.lose -= 1
                await response.aclose()
                raise httpx.ReadError("lost")
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass
class Stall:
    """What the stall asks, and how often it sold."""

    url: str = ""
    price: int = 100
    sold: int = 0


def price(request: Request) -> int:
    stall: Stall = request.app.state.stall
    return stall.price


def selling(market: Market, stall: Stall) -> FastAPI:
    app = FastAPI()
    Payments(app, RemoteReceiver(market.front, api_key=market.key))

    app.state.stall = stall

    async def sold(purchase: Annotated[Purchase, Depends(PaymentRequired(price))]) -> int:
        stall.sold += 1
        return stall.sold

    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"part"

        return StreamingResponse(parts())

    app.get("/answer")(sold)
    app.post("/answer")(sold)
    app.get("/stream", dependencies=[Depends(PaymentRequired(1, keep_answer=False))])(stream)
    return app


@asynccontextmanager
async def stall_of(market: Market) -> AsyncIterator[Stall]:
    stall = Stall()
    async with serving(selling(market, stall)) as url:
        stall.url = f"{url}/answer"
        yield stall


def buyer(payer: Payer, budget: Budget = BUDGET, **more: Any) -> httpx.AsyncClient:
    transport = PayingTransport(payer, budget, retry=RETRY, open_wait_s=BOUND_S, **more)
    return httpx.AsyncClient(transport=transport, timeout=BOUND_S)


async def test_the_first_purchase_opens_a_channel_and_the_others_use_it(market: Market) -> None:
    async with stall_of(market) as stall, market.payer() as payer, buyer(payer) as http:
        answers = [await http.get(stall.url)]
        answers += await asyncio.gather(*(http.post(stall.url, json={"n": number}) for number in range(8)))
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(answer.json() for answer in answers) == list(range(1, 10))
        [channel] = payer.channels()
        assert channel.state.spent_by_me == 900
        assert {payment.state for payment in await payer.payments()} == {"accepted"}
        paid = payment_of(answers[0])
        assert paid is not None
        assert paid[1] is not None
        assert (paid[0], paid[1].amount) == (1, 100)
        stall.price = 1_001
        with pytest.raises(PaymentDeclinedError, match="1001 for a request"):
            await http.get(stall.url)


async def test_a_lost_answer_is_asked_for_again_with_the_same_package(market: Market) -> None:
    wire = Wire()
    async with stall_of(market) as stall, market.payer() as payer, buyer(payer, inner=wire) as http:
        wire.lose = 2
        assert (await http.get(stall.url)).json() == 1
        assert (len(wire.packages), len(set(wire.packages))) == (3, 1)
        wire.lose = 3
        with pytest.raises(PaymentUncertainError) as lost:
            await http.get(stall.url)
        again = await http.get(stall.url, extensions={"sluice_payment_id": lost.value.payment_id})
        assert (again.json(), stall.sold) == (2, 2)
        assert payer.channels()[0].state.spent_by_me == 200


async def test_a_price_that_rises_meanwhile_is_paid_within_the_budget_of_the_request(market: Market) -> None:
    async with stall_of(market) as stall, market.payer() as payer:
        wire = Wire()

        class Rising(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if "sluice-payment" in request.headers and len(wire.packages) == 0:
                    stall.price = 300
                return await wire.handle_async_request(request)

            async def aclose(self) -> None:
                await wire.aclose()

        async with buyer(payer, Budget(400, 1_000, deposit=200_000), inner=Rising()) as http:
            assert (await http.get(stall.url)).json() == 1
            assert payer.channels()[0].state.spent_by_me == 400
            stall.price, wire.packages[:] = 200, []
            with pytest.raises(PaymentDeclinedError, match="500 for a request"):
                await http.get(stall.url)


@pytest.mark.parametrize(
    ("price", "spent"),
    # 350 were signed and 400 are recorded: 370 say too little, 501 too little for 151.
    [(20, 400 + 20), (151, 501 + 151)],
    ids=["taken over", "overtaken"],
)
async def test_a_restored_payer_gets_in_step_only_as_far_as_it_is_allowed(
    market: Market, price: int, spent: int
) -> None:
    backup = market.home.parent / "backup"
    async with stall_of(market) as stall:
        async with market.payer() as payer, buyer(payer) as http:
            assert (await http.get(stall.url)).status_code == 200
        shutil.copytree(market.home, backup)
        async with market.payer() as payer, buyer(payer) as http:
            for _ in range(3):
                await http.get(stall.url)
        shutil.rmtree(market.home)
        backup.rename(market.home)
        async with market.payer() as payer:
            async with buyer(payer) as http:
                with pytest.raises(PaymentRefusedError) as refused:
                    await http.post(stall.url)
                assert refused.value.code == "package_used"
                [channel] = payer.channels()
                assert channel.state.spent_by_me == 200  # one package, and no other was tried
            stall.price = 150
            async with buyer(payer, Budget(per_request=1_000, total=10_000, resync=49)) as http:
                with pytest.raises(PayerError, match="50 more"):
                    await http.post(stall.url)
            stall.price = price
            async with buyer(payer, Budget(per_request=1_000, total=10_000, resync=50)) as http:
                assert (await http.post(stall.url)).json() == 5
                assert channel.state.spent_by_me == spent


async def test_an_empty_channel_is_filled_up_as_far_as_deposits_go(market: Market) -> None:
    budget = Budget(per_request=20_000, total=10**6, deposit=20_000, max_deposited=40_000)
    async with stall_of(market) as stall, market.payer() as payer, buyer(payer, budget) as http:
        stall.price = 15_000
        assert [(await http.get(stall.url)).json() for _ in range(2)] == [1, 2]
        with pytest.raises(PaymentDeclinedError, match="all deposits"):
            await http.get(stall.url)
        assert (stall.sold, len(payer.channels())) == (2, 1)


async def test_a_synchronous_client_pays_too(market: Market) -> None:
    def program(url: str) -> list[Any]:
        with market.sync_payer() as payer, httpx.Client(transport=SyncPayingTransport(payer, BUDGET)) as http:
            answers = [http.get(url).json(), http.post(url, json=[1]).json()]
            with http.stream("GET", url.replace("answer", "stream")) as response:
                return [*answers, b"".join(response.iter_bytes()), payer.channels()[0].state.spent_by_me]

    async with stall_of(market) as stall:
        assert await asyncio.to_thread(program, stall.url) == [1, 2, b"part" * 3, 201]


TERMS: dict[str, Any] = {
    "scheme": "obyte-channel",
    "network": "devnet",
    "asset": "base",
    "amount": 100,
    "receiver": "MXMEKGN37H5QO2AWHT7XRG6LHJVVTAWU",
    "post_url": "http://127.0.0.1:1/post",
    "agent_versions": ["1.2"],
    "min_timeout_s": 800,
    "max_timeout_s": 1500,
}


class Asking(httpx.AsyncBaseTransport):
    """A server that wants to be paid on whatever terms."""

    def __init__(self, *accepts: dict[str, Any], kind: str = "application/problem+json") -> None:
        self.accepts = list(accepts)
        self.kind = kind

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = {"code": "payment_required", "accepts": self.accepts}
        return httpx.Response(402, json=body, headers={"content-type": self.kind})


@pytest.fixture
async def payer(tmp_path: Path) -> AsyncIterator[Payer]:
    """A payer who has no channel, and sees no ledger."""
    async with Payer.open(tmp_path / "payer", hub_url=None, network="devnet") as opened:
        yield opened


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 1_001}, "price_too_high"),
        ({"asset": "A" * 43 + "="}, "no_terms"),
        ({"network": "mainnet"}, "another_network"),
        ({"post_url": "http://127.0.0.2/post"}, "another_receiver"),
        ({"min_timeout_s": 90_000, "max_timeout_s": 90_000}, "timeout_too_long"),
        ({}, "no_channel"),
    ],
    ids=str,
)
async def test_surprises_are_declined(payer: Payer, change: dict[str, Any], code: str) -> None:
    budget = Budget(per_request=1_000, total=10_000)
    async with buyer(payer, budget, inner=Asking({**TERMS, **change})) as http:
        with pytest.raises(PaymentDeclinedError) as declined:
            await http.get("http://127.0.0.1/")
        assert declined.value.code == code
        transport = http._transport
        assert isinstance(transport, PayingTransport)
        assert transport.spending.total == 0


async def test_packages_go_by_https_only(payer: Payer) -> None:
    terms = {**TERMS, "post_url": "http://shop.example/post"}
    async with buyer(payer, inner=Asking(terms)) as http:
        for url in ("http://shop.example/", "https://shop.example/"):
            with pytest.raises(PaymentDeclinedError, match="not be encrypted"):
                await http.get(url)


async def test_other_402s_pass_as_they_are(payer: Payer) -> None:
    for asking in (Asking(TERMS, kind="application/json"), Asking(), Asking({**TERMS, "scheme": "exact"})):
        async with buyer(payer, inner=asking) as http:
            response = await http.get("http://127.0.0.1/")
            assert (response.status_code, response.json()["code"]) == (402, "payment_required")
            assert payment_of(response) is None
