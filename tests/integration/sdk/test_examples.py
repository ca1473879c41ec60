"""The examples, as a reader runs them: servers and clients over sockets, a front, a worker and a ledger behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from examples.pay_per_call import client as words_client
from examples.pay_per_call import server as words_server
from examples.pay_per_second import client as ticks_client
from examples.pay_per_second import server as ticks_server
from examples.shop import client as shop_client
from examples.shop import server as shop_server
from shared.store.api_keys import Scope
from tests.integration.sdk.support import serving

if TYPE_CHECKING:
    from tests.integration.sdk.conftest import Market


async def test_pay_per_call(market: Market) -> None:
    async with serving(words_server.create(market.front, market.key)) as url, market.payer() as payer:
        assert await words_client.buy(payer, url) == words_server.MEANINGS
        assert payer.channels()[0].state.spent_by_me == 300
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/words/lock")).status_code == 402
            assert (await http.get("/words/boat")).status_code == 404


async def test_pay_per_second(market: Market) -> None:
    app = ticks_server.create(market.front, market.key, second_s=0.001)
    async with serving(app) as url, market.payer() as payer:
        lines = [line async for line in ticks_client.watch(payer, url, 12)]
        assert lines == [f"tick {number}" for number in range(12)]
        assert payer.channels()[0].state.spent_by_me == 12 * ticks_server.PRICE_PER_SECOND
        async with httpx.AsyncClient(base_url=url) as http:
            assert [(await http.get(f"/ticks?seconds={many}")).status_code for many in ("61", "x", "60")] == [
                422,
                422,
                402,
            ]


async def test_shop(market: Market) -> None:
    key = await market.make_key(Scope.RECEIVE, Scope.READ)
    async with serving(shop_server.create(market.front, key)) as url, market.payer() as payer:
        first, second = await shop_client.buy(payer, url, "cup")
        assert (first["state"], first["missing"], first["is_delivered"]) == ("partially_paid", 600, False)
        assert (second["state"], second["missing"], second["is_delivered"]) == ("paid", 0, True)
        assert (await payer.resend(2)).duplicate
        [channel] = payer.channels()
        await channel.pay(5, message={"request": second["pay_at"][-22:]})
        async with httpx.AsyncClient(base_url=url) as http:
            after = (await http.get("/orders/1")).json()
            assert (after["state"], after["surplus"]) == ("overpaid", 5)
            assert (await http.post("/orders", json={"item": "boat"})).status_code == 404
            assert (await http.get("/orders/2")).status_code == 404
