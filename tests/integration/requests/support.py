"""A front on a real socket, somebody who asks for payments, and payers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from shared.store.api_keys import Scope
from tests.integration.front.rest_support import serving
from tests.receiving_support import Payer, Worker, payer_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.settings import Settings
    from worker.payment_requests import RequestTelling

URL = "/v1/payment-requests"
ASSET = "x" * 43 + "="


@dataclass
class Shop:
    """Who asks, through two fronts in turn, and who pays: three payers, the last in another asset."""

    worker: Worker
    teller: RequestTelling
    fronts: list[httpx.AsyncClient]
    token: str
    payers: list[Payer] = field(
        default_factory=lambda: [Payer(), Payer(payer_key(2)), Payer(payer_key(3), asset=ASSET)]
    )
    spent: dict[int, int] = field(default_factory=dict)
    turn: int = 0

    @property
    def front(self) -> httpx.AsyncClient:
        self.turn += 1
        return self.fronts[self.turn % len(self.fronts)]

    async def send(
        self, method: str, path: str = URL, *, token: str | None = None, key: str | None = None, **given: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token or self.token}"}
        if key is not None:
            headers["idempotency-key"] = key
        return await self.front.request(method, path, headers=headers, **given)

    async def ask(self, **what: Any) -> dict[str, Any]:
        response = await self.send("POST", json={"amount": 1_200, **what})
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    async def look(self, request_id: str) -> dict[str, Any]:
        response = await self.send("GET", f"{URL}/{request_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def package(self, payer: int, amount: int) -> dict[str, Any]:
        self.spent[payer] = self.spent.get(payer, 0) + amount
        return self.payers[payer].package(self.spent[payer], amount)

    async def deliver(self, package: dict[str, Any], request_id: str) -> dict[str, Any]:
        params = {"signed_package": package, "message": {"request": request_id}}
        response = await self.front.post("/post", json={"command": "pay", "params": params})
        answer: dict[str, Any] = response.json()
        assert "receipt" in answer, answer
        return answer

    async def pay(self, request_id: str, amount: int, *, payer: int = 0) -> dict[str, Any]:
        return await self.deliver(self.package(payer, amount), request_id)


@contextlib.asynccontextmanager
async def open_shop(
    settings: Settings, worker: Worker, teller: RequestTelling, *, fronts: int = 2
) -> AsyncIterator[Shop]:
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(settings)) for _ in range(fronts)]
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in urls]
        shop = Shop(worker, teller, clients, await worker.make_key(Scope.READ, Scope.RECEIVE))
        for payer in shop.payers:
            await worker.open(payer)
        yield shop
