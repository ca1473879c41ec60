"""`/v1/payment-requests` and `/pay/…` over real sockets, through two fronts in turn."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from front.pages import live
from shared.store.api_keys import Scope
from tests.integration.front.rest_support import problem
from tests.integration.requests.support import ASSET, URL
from tests.receiving_support import administrator

if TYPE_CHECKING:
    import httpx

    from tests.integration.requests.support import Shop

SECRET = {"customer": "Ada"}


async def test_a_request_is_paid_in_parts_twice_too_late_and_in_another_asset(shop: Shop, database_url: str) -> None:
    made = await shop.ask(memo="A cup", metadata=SECRET, expires_in_s=600)
    assert made["url"] == f"https://pay.example/pay/{made['id']}"
    assert (made["state"], made["missing"], made["metadata"]) == ("open", 1_200, SECRET)
    package = shop.package(0, 500)
    first = await shop.deliver(package, made["id"])
    assert (await shop.deliver(package, made["id"]))["receipt"]["payment_id"] == first["receipt"]["payment_id"]
    await shop.pay(made["id"], 9, payer=2)
    found = await shop.look(made["id"])
    assert (found["state"], found["received"], found["missing"]) == ("partially_paid", 500, 700)
    assert (found["payments"], found["other_asset_payments"]) == (2, 1)
    await shop.pay(made["id"], 800, payer=1)
    await shop.teller.round()
    async with administrator(database_url) as conn:
        await conn.execute("UPDATE payment_requests SET expires_at = now() - interval '1 s'")
    await shop.pay(made["id"], 1)
    found = await shop.look(made["id"])
    assert (found["state"], found["received"], found["received_late"], found["surplus"]) == ("overpaid", 1_301, 1, 101)
    listed = (await shop.send("GET", f"{URL}/{made['id']}/payments")).json()["items"]
    assert [(item["amount"], item["asset"], item["is_counted"], item["is_late"]) for item in listed] == [
        (500, "base", True, False),
        (9, ASSET, False, False),
        (800, "base", True, False),
        (1, "base", True, True),
    ]
    assert listed[0]["payment_id"] == first["receipt"]["payment_id"]
    assert (await shop.send("GET", params={"state": "overpaid"})).json()["items"] == [found]
    assert (await shop.send("GET", params={"state": "open"})).json() == {"items": [], "next_cursor": None}


async def test_the_same_order_makes_one_request(shop: Shop) -> None:
    body = {"amount": 5, "memo": "tea"}
    answers = await asyncio.gather(*(shop.send("POST", json=body, key="order-7") for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count(None) == 1
    assert answers[0].headers["location"] == f"{URL}/{answers[0].json()['id']}"
    assert len((await shop.send("GET")).json()["items"]) == 1
    other = await shop.send("POST", json={"amount": 6}, key="order-7")
    assert problem(other) == (422, "idempotency_key_reused")


async def test_lists_go_on_where_the_page_before_ended(shop: Shop) -> None:
    made = [(await shop.ask(amount=number))["id"] for number in range(1, 6)]
    seen, cursor = [], {}
    for _ in range(3):
        page = (await shop.send("GET", params={"limit": 2, **cursor})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert page["next_cursor"] is None
    assert seen == made[::-1]


async def test_who_may_do_what(shop: Shop) -> None:
    made = await shop.ask()
    reader = await shop.worker.make_key(Scope.READ)
    receiver = await shop.worker.make_key(Scope.RECEIVE)
    path = f"{URL}/{made['id']}"
    assert problem(await shop.send("POST", json={"amount": 5}, token=reader)) == (403, "missing_scope")
    assert problem(await shop.send("DELETE", path, token=reader)) == (403, "missing_scope")
    assert problem(await shop.send("GET", path, token=receiver)) == (403, "missing_scope")
    assert problem(await shop.send("GET", path, token="nobody")) == (401, "unauthorized")
    assert problem(await shop.send("GET", f"{URL}/{'A' * 22}")) == (404, "unknown_payment_request")
    assert problem(await shop.send("DELETE", f"{URL}/{'A' * 22}")) == (404, "unknown_payment_request")
    assert problem(await shop.send("GET", f"{URL}/{'A' * 22}/payments")) == (404, "unknown_payment_request")
    assert problem(await shop.send("GET", f"{URL}/short")) == (422, "invalid_request")
    assert problem(await shop.send("POST", json={"amount": 5, "tip": 1})) == (422, "invalid_request")
    assert problem(await shop.send("POST", json={"amount": 5, "expires_at": "2020-01-01T00:00:00Z"}))[0] == 422
    assert problem(await shop.send("POST", json=[])) == (400, "not_an_object")


async def test_cancelling(shop: Shop) -> None:
    made, paid = await shop.ask(), await shop.ask(amount=5)
    await shop.pay(paid["id"], 5)
    cancelled = await shop.send("DELETE", f"{URL}/{made['id']}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (await shop.send("DELETE", f"{URL}/{made['id']}")).json() == cancelled.json()
    assert problem(await shop.send("DELETE", f"{URL}/{paid['id']}")) == (409, "not_cancellable")
    await shop.pay(made["id"], 1_200)
    found = await shop.look(made["id"])
    assert (found["state"], found["received"], found["received_late"]) == ("cancelled", 1_200, 1_200)


# -------------------------------------------------------------------------------------------------------- for strangers


async def test_the_page_shows_what_is_public_and_nothing_else(shop: Shop) -> None:
    hostile = '<script>alert("1")</script> & "cup"'
    made = await shop.ask(
        memo=hostile, metadata=SECRET, public_metadata={"shop": "Tea"}, return_url="https://shop.example/?a=1&b=2"
    )
    page = await shop.front.get(f"/pay/{made['id']}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(&#34;1&#34;)" in page.text
    assert 'href="https://shop.example/?a=1&amp;b=2"' in page.text
    assert "Ada" not in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {address for address in loaded if "://" in address} == {"https://shop.example/?a=1&amp;b=2"}
    for address in loaded:
        if "://" not in address:
            assert (await shop.front.get(f"/pay/{address}")).status_code == 200, address
    assert "style=" not in page.text
    terms = (await shop.front.get(f"/pay/{made['id']}.json")).json()
    assert "Ada" not in json.dumps(terms)
    assert terms["metadata"] == {"shop": "Tea"}
    [way] = terms["accepts"]
    assert (way["scheme"], way["amount"], way["message"]) == ("obyte-channel", 1_200, {"request": made["id"]})
    assert way["post_url"] == "https://pay.example/post"


async def test_nothing_is_shown_of_requests_that_there_are_not(shop: Shop) -> None:
    for name in ("A" * 22, "x", "%00" * 22, "é" * 22, "..%2f..%2fetc"):
        page = await shop.front.get(f"/pay/{name}")
        assert page.status_code == 404
        for part in (f"{name}.json", f"{name}/qr.svg", f"{name}/events"):
            assert (await shop.front.get(f"/pay/{part}")).status_code == 404, part


async def test_the_terms_ask_for_what_is_missing_and_for_nothing_when_nothing_is(shop: Shop) -> None:
    made = await shop.ask()
    await shop.pay(made["id"], 500)
    terms = (await shop.front.get(f"/pay/{made['id']}.json")).json()
    assert (terms["due"], terms["accepts"][0]["amount"]) == (700, 700)
    await shop.pay(made["id"], 700)
    terms = (await shop.front.get(f"/pay/{made['id']}.json")).json()
    assert (terms["state"], terms["due"], terms["accepts"]) == ("paid", 0, [])
    page = (await shop.front.get(f"/pay/{made['id']}")).text
    assert "qr.svg" not in page
    assert "Thank you" in page


async def test_the_live_state_follows_every_payment_and_ends_when_it_is_paid(shop: Shop) -> None:
    made, other = await shop.ask(), await shop.ask()
    told = Told(shop.fronts[0], made["id"])
    async with asyncio.timeout(20):
        reading = asyncio.create_task(told.read())
        await told.until("open")
        await shop.pay(other["id"], 1_200)
        await shop.pay(made["id"], 500)
        await told.until("partially_paid")
        await shop.pay(made["id"], 700)
        await reading
    assert told.states == ["open", "partially_paid", "paid"]


async def test_the_live_state_tells_the_expiry_without_anybody_telling_it(shop: Shop) -> None:
    made = await shop.ask(expires_in_s=1)
    told = Told(shop.fronts[0], made["id"])
    async with asyncio.timeout(20):
        await told.read()
    assert told.states[-1] == "expired"


async def test_live_pages_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_WATCHERS_OF_ONE", 1)
    made, other = await shop.ask(), await shop.ask()
    front = shop.fronts[0]
    async with front.stream("GET", f"/pay/{made['id']}/events") as first:
        assert first.status_code == 200
        refused = await front.get(f"/pay/{made['id']}/events")
        assert problem(refused) == (503, "too_many_followers")
        assert refused.headers["retry-after"]
        async with front.stream("GET", f"/pay/{other['id']}/events") as second:
            assert second.status_code == 200
    async with asyncio.timeout(10):
        while (await _status(front, f"/pay/{made['id']}/events")) != 200:  # noqa: ASYNC110 - leaving rings no bell
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("bound", ["MAX_WATCHERS_OF_ADDRESS", "MAX_WATCHERS_OF_ONE_AND_ADDRESS"])
async def test_nobody_takes_all_places_of_live_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(live, bound, 1)
    made, front = await shop.ask(), shop.fronts[0]
    path = f"/pay/{made['id']}/events"
    one, other = ({"x-forwarded-for": f"192.0.2.{number}"} for number in (1, 2))
    async with front.stream("GET", path, headers=one) as first:
        assert first.status_code == 200
        assert problem(await front.get(path, headers=one)) == (503, "too_many_followers")
        async with front.stream("GET", path, headers=other) as second:
            assert second.status_code == 200
    async with asyncio.timeout(10):
        while (await _status(front, path, **one)) != 200:  # noqa: ASYNC110 - leaving rings no bell
            await asyncio.sleep(0.02)


async def _status(front: httpx.AsyncClient, path: str, **headers: str) -> int:
    async with front.stream("GET", path, headers=headers) as response:
        return response.status_code


class Told:
    """What a live page is told."""

    def __init__(self, front: httpx.AsyncClient, request_id: str) -> None:
        self.states: list[str] = []
        self._front = front
        self._path = f"/pay/{request_id}/events"
        self._news = asyncio.Event()

    async def read(self) -> None:
        async with self._front.stream("GET", self._path) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    told: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    if self.states[-1:] != [told["state"]]:
                        self.states.append(told["state"])
                    self._news.set()

    async def until(self, state: str) -> None:
        while self.states[-1:] != [state]:
            await self._news.wait()
            self._news.clear()
