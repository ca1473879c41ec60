"""A shop whose orders are paid by payment requests: the customer gets the address of a page, and pays there.

The shop asks its front for a request for each order, and delivers when the stream of events says that it is paid: once
for each request, however the money came. It keeps the cursor of the last event it has handled, so it can stop and come
back without missing one.

    FRONT_URL   where the receiver's front is, such as http://127.0.0.1:6800/
    API_KEY     of scopes `receive` and `read`
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import uvicorn
from fastapi import Body, FastAPI, HTTPException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PRICES = {"tea": 300, "cup": 1_200}
MAX_ORDERS = 10_000
PORT = 8001
PAYABLE_S = 3_600
AGAIN_S = 1.0


@dataclass
class Order:
    """`request`: the id of the payment request; `page`: where the customer pays."""

    number: int
    item: str
    request: str
    page: str
    is_delivered: bool = False


@dataclass
class Shop:
    """Orders, in memory; a real shop keeps them in its database, together with the cursor."""

    http: httpx.AsyncClient
    orders: dict[int, Order] = field(default_factory=dict)
    cursor: str | None = None
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def take(self, item: str) -> Order:
        """Write an order down, and ask for the money."""
        if item not in PRICES:
            raise HTTPException(404, "we do not sell this")
        if len(self.orders) >= MAX_ORDERS:
            raise HTTPException(503, "too many orders")
        number = next(self._numbers)
        wanted = {
            "amount": PRICES[item],
            "memo": f"Order {number}: {item}",
            "metadata": {"order": number},
            "expires_in_s": PAYABLE_S,
        }
        # A real shop sends the order's lasting number as the Idempotency-Key: sent again, no second request is made.
        answer = await self.http.post("v1/payment-requests", json=wanted)
        asked = answer.raise_for_status().json()
        order = Order(number, item, asked["id"], asked["url"])
        self.orders[number] = order
        return order

    async def look(self, order: Order) -> dict[str, Any]:
        """Return what the customer sees of an order."""
        answer = await self.http.get(f"v1/payment-requests/{order.request}")
        asked = answer.raise_for_status().json()
        return {
            "order": order.number,
            "item": order.item,
            "pay_at": order.page,
            **{name: asked[name] for name in ("state", "missing", "surplus")},
            "is_delivered": order.is_delivered,
        }

    async def deliver(self) -> None:
        """Deliver what is paid, again and again from where it was left. Runs forever."""
        while True:
            try:
                await self._follow()
            except httpx.HTTPError as error:
                print(f"the front is away: {type(error).__name__}")
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        headers = {} if self.cursor is None else {"last-event-id": self.cursor}
        following = self.http.stream(
            "GET", "v1/events", params={"types": "payment_request_paid"}, headers=headers, timeout=60
        )
        async with following as stream:
            stream.raise_for_status()
            async for line in stream.aiter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line.removeprefix("data: "))
                if event.get("type") == "payment_request_paid":
                    self._deliver(event["data"]["request"])
                # Only now: whoever stops in between sees the event again, and delivers once all the same.
                self.cursor = event.get("id", self.cursor)

    def _deliver(self, request: str) -> None:
        for order in self.orders.values():
            if order.request == request and not order.is_delivered:
                order.is_delivered = True
                print(f"order {order.number} is paid: off goes the {order.item}")


def create(front_url: str | None = None, api_key: str | None = None) -> FastAPI:
    """Make the shop."""
    key = os.environ["API_KEY"] if api_key is None else api_key
    http = httpx.AsyncClient(
        base_url=front_url or os.environ["FRONT_URL"], headers={"authorization": f"Bearer {key}"}, trust_env=False
    )
    shop = Shop(http)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        delivering = asyncio.create_task(shop.deliver())
        try:
            yield
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            await http.aclose()

    app = FastAPI(title="A shop", lifespan=lifespan)

    @app.post("/orders", status_code=201)
    async def order(item: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
        return await shop.look(await shop.take(item))

    @app.get("/orders/{number}")
    async def look(number: int) -> dict[str, Any]:
        if number not in shop.orders:
            raise HTTPException(404, "there is no such order")
        return await shop.look(shop.orders[number])

    return app


if __name__ == "__main__":
    uvicorn.run(create(), port=PORT)
