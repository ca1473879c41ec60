"""The payer SDK pays a payment request by the address of its page: no more than is due, and once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sluice import Payer, PaymentUncertainError, RequestError, UnknownChannelError
from sluice.payer.requests import is_request_url

if TYPE_CHECKING:
    from tests.integration.sdk.conftest import Market

DEPOSIT = 200_000
PAGE = Path(__file__).parents[3] / "docs" / "payment_requests.md"


async def asked(market: Market, **what: Any) -> str:
    async with httpx.AsyncClient(base_url=market.front) as http:
        headers = {"authorization": f"Bearer {market.key}"}
        response = await http.post("v1/payment-requests", json={"amount": 1_200, **what}, headers=headers)
    assert response.status_code == 201, response.text
    url: str = response.json()["url"]
    return url


async def test_what_is_due_is_paid_and_no_more(market: Market) -> None:
    url = await asked(market, memo="A cup")
    async with market.payer() as payer:
        asking = await payer.request(url)
        assert (asking.state, asking.due, asking.memo) == ("open", 1_200, "A cup")
        for refused, given in (("too_expensive", {"at_most": 1_199}), ("more_than_due", {"amount": 1_201})):
            with pytest.raises(RequestError) as error:
                await payer.pay_request(url, **given)
            assert error.value.code == refused
        with pytest.raises(UnknownChannelError, match="deposit"):
            await payer.pay_request(url)
        assert not payer.channels()
        first = await payer.pay_request(url, 500, deposit=DEPOSIT)
        assert (await payer.request(url)).due == 700
        # Two at once: the second finds nothing due.
        outcomes = await asyncio.gather(payer.pay_request(url), payer.pay_request(url), return_exceptions=True)
        [paid] = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        [late] = [outcome for outcome in outcomes if isinstance(outcome, RequestError)]
        assert (first.amount, paid.amount, late.code) == (500, 700, "not_payable")
        [channel] = payer.channels()
        assert channel.state.spent_by_me == 1_200
        assert (await payer.request(url)).state == "paid"


async def test_a_payment_whose_receipt_was_lost_is_sent_again_and_not_made_again(market: Market) -> None:
    url, other = await asked(market), await asked(market)
    lossy = Lossy()
    async with httpx.AsyncClient(transport=lossy) as http, market.payer(http=http) as payer:
        await payer.pay_request(other, deposit=DEPOSIT)
        lossy.loses = True
        with pytest.raises(PaymentUncertainError):
            await payer.pay_request(url)
        lossy.loses = False
        again = await payer.pay_request(url)
        assert again.duplicate
        assert payer.channels()[0].state.spent_by_me == 2_400
        assert (await payer.request(url)).state == "paid"


async def test_nothing_is_signed_for_what_is_no_request(market: Market) -> None:
    url = await asked(market)
    async with market.payer() as payer:
        for address, code in (
            (market.front, "invalid_url"),
            (url[:-1], "invalid_url"),
            (url[:-22] + "A" * 22, "unknown_payment_request"),
        ):
            with pytest.raises(RequestError) as error:
                await payer.pay_request(address, deposit=DEPOSIT)
            assert error.value.code == code
        assert not await payer.payments()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": "B" * 22}, "bad_answer"),
        ({"due": "1200"}, "bad_answer"),
        ({"due": 10**16}, "bad_answer"),
        ({"accepts": []}, "no_way_to_pay"),
        ({"accepts": [{"network": "mainnet"}]}, "another_network"),
        ({"accepts": [{"post_url": "https://thief.example/post"}]}, "another_host"),
        ({"accepts": [{"amount": 900}]}, "no_way_to_pay"),
        ({"state": "expired", "due": 0}, "not_payable"),
    ],
)
async def test_terms_that_surprise_are_not_paid(tmp_path: Any, change: dict[str, Any], code: str) -> None:
    way = {
        "scheme": "obyte-channel",
        "network": "devnet",
        "asset": "base",
        "amount": 5,
        "receiver": "2SATGZDFDXNNJRVZ52O4J6VYTTMO2EZR",
        "post_url": "https://pay.example/post",
        "agent_versions": ["1.2"],
        "min_timeout_s": 800,
        "max_timeout_s": 1500,
    }
    terms = {"id": "A" * 22, "state": "open", "amount": 5, "asset": "base", "received": 0, "due": 5, "accepts": [way]}
    terms |= change
    terms["accepts"] = [way | item for item in terms["accepts"]]  # type: ignore[attr-defined,operator]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=terms))
    async with (
        httpx.AsyncClient(transport=transport) as http,
        Payer.open(tmp_path / "payer", hub_url=None, network="devnet", http=http) as payer,
    ):
        with pytest.raises(RequestError) as error:
            await payer.pay_request(f"https://pay.example/pay/{'A' * 22}", deposit=DEPOSIT)
    assert error.value.code == code


async def test_the_snippet_of_the_page_about_requests_runs(market: Market, capsys: pytest.CaptureFixture[str]) -> None:
    [snippet] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    url = await asked(market, memo="A cup")
    async with market.payer() as payer:
        await names["settle"](payer, url)
        assert (await payer.request(url)).state == "paid"
    assert capsys.readouterr().out.startswith("A cup 1200\n")


def test_addresses_of_requests() -> None:
    assert is_request_url(f"https://pay.example/base/pay/{'A' * 22}")
    for url in ("https://pay.example/", f"https://pay.example/pay/{'A' * 22}?x=1", f"ftp://pay.example/pay/{'A' * 22}"):
        assert not is_request_url(url)


class Lossy(httpx.AsyncBaseTransport):
    """Delivers every request, and loses the answers to payments while it is told to."""

    def __init__(self) -> None:
        self.loses = False
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if self.loses and b'"pay"' in await request.aread():
            await answer.aread()
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()
