"""`/v1/webhooks` through a front, with the worker's side beside it."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from front.app import create_app
from shared.settings import Settings
from shared.store import webhooks
from shared.store.api_keys import Scope
from shared.webhooks.errors import SignatureError
from shared.webhooks.signing import read_secret
from tests.integration.front.rest_support import make_key, problem
from tests.integration.webhooks.support import CHANNELS, LOOPBACK, Answer, Office, Receiver, hours

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

A = CHANNELS[0]


class Api:
    """Somebody with a key for administration."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http = http
        self.token = token

    async def send(self, method: str, path: str = "", body: Any = None, **headers: str) -> httpx.Response:
        allowed = {"authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.http.request(method, f"/v1/webhooks{path}", json=body, headers=allowed)

    async def ok(self, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
        response = await self.send(method, path, body, **headers)
        assert response.is_success, response.text
        return response.json() if response.content else None


@pytest.fixture
async def api(office: Office, webhooks_database_url: str) -> AsyncIterator[Api]:
    async with office.database.transaction() as conn:
        await webhooks.declare_signer(conn, office.terms.reader.public_key)
    settings = Settings(database_url=webhooks_database_url, webhook_allowed_networks=",".join(LOOPBACK), max_webhooks=3)
    app = create_app(settings)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://front"))
        yield Api(http, await make_key(office.database, Scope.ADMIN))


async def test_the_life_of_a_webhook(api: Api, office: Office, receiver: Receiver) -> None:
    created = await api.send("POST", body={"url": receiver.url, "description": "shop"})
    assert created.status_code == 201
    webhook = created.json()
    at = f"/{webhook['id']}"
    assert created.headers["location"] == f"/v1/webhooks{at}"
    secret = read_secret(webhook["secret"])

    await office.happen(1)
    await office.work()
    assert office.verified(receiver.requests[0], secret)
    assert office.verified(receiver.requests[0], secret) == receiver.requests[0].id

    shown = await api.ok("GET", at)
    assert "secret" not in shown
    assert (shown["state"], shown["pending"], shown["description"]) == ("active", 0, "shop")
    assert (await api.ok("GET"))["items"] == [shown]

    changed = await api.ok("PATCH", at, {"paused": True, "types": ["channel_refilled"]})
    assert (changed["state"], changed["types"], changed["url"]) == ("paused", ["channel_refilled"], receiver.url)
    await office.happen(2)
    assert await office.work() == 0
    changed = await api.ok("PATCH", at, {"paused": False, "types": None, "description": "the shop"})
    assert (changed["state"], changed["types"], changed["description"]) == ("active", None, "the shop")
    assert await office.work() == 1

    assert await api.ok("DELETE", at) is None
    assert problem(await api.send("GET", at)) == (404, "unknown_webhook")
    assert problem(await api.send("DELETE", at)) == (404, "unknown_webhook")
    await office.happen(3)
    assert await office.work() == 0


async def test_a_secret_is_told_once_and_is_never_stored_in_clear(api: Api, office: Office, receiver: Receiver) -> None:
    webhook = await api.ok("POST", body={"url": receiver.url})
    async with office.database.connection() as conn:
        stored = str([tuple(row) for row in await conn.fetch("SELECT * FROM webhook_secrets")])
    told = webhook["secret"].removeprefix("whsec_")
    assert told not in stored
    for path in ("", f"/{webhook['id']}", f"/{webhook['id']}/deliveries"):
        assert told not in (await api.send("GET", path)).text


async def test_the_same_request_under_the_same_key_makes_one_webhook(api: Api, receiver: Receiver) -> None:
    body = {"url": receiver.url, "types": ["payment_received"]}
    first = await api.send("POST", body=body, idempotency_key="k")
    again = await api.send("POST", body=body, idempotency_key="k")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.json()["id"], again.json()["secret"]) == (first.json()["id"], None)
    assert problem(await api.send("POST", body={"url": receiver.url}, idempotency_key="k")) == (
        422,
        "idempotency_key_reused",
    )
    assert len((await api.ok("GET"))["items"]) == 1


async def test_there_are_only_so_many_webhooks(api: Api, receiver: Receiver) -> None:
    for _ in range(3):
        await api.ok("POST", body={"url": receiver.url})
    assert problem(await api.send("POST", body={"url": receiver.url})) == (409, "too_many_webhooks")


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://shop.example/"},
        {"url": "https://user:secret@shop.example/"},
        {"url": "https://shop.example/", "types": ["no_such_event"]},
        {"url": "https://shop.example/", "types": []},
        {"url": "https://shop.example/", "secret": "mine"},
        {"url": "https://shop.example/", "description": "x" * 201},
        {},
        [],
    ],
)
async def test_a_webhook_that_is_not_as_described_is_refused(api: Api, body: Any) -> None:
    response = await api.send("POST", body=body)
    assert problem(response) == (422, "invalid_request")
    assert "secret@" not in response.text


async def test_only_keys_for_administration_may(api: Api, office: Office) -> None:
    api.token = await make_key(office.database, Scope.READ, Scope.SPEND, Scope.RECEIVE)
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/1"), ("GET", "/1/deliveries"), ("POST", "/1/test")):
        assert problem(await api.send(method, path)) == (403, "missing_scope")


async def test_before_the_first_worker_there_is_nothing_to_seal_with(api: Api, webhooks_database_url: str) -> None:
    with psycopg.connect(webhooks_database_url) as owner:
        owner.execute("DELETE FROM webhook_signer")
    assert problem(await api.send("POST", body={"url": "https://shop.example/"})) == (503, "not_initialized")


async def test_after_a_rotation_both_secrets_sign_and_a_second_one_is_refused(
    api: Api, office: Office, receiver: Receiver
) -> None:
    webhook = await api.ok("POST", body={"url": receiver.url})
    at = f"/{webhook['id']}/secret"
    rotated = await api.ok("POST", at, {"overlap_s": 600})
    assert rotated["previous_secret_ends_at"] is not None
    assert problem(await api.send("POST", at)) == (409, "rotation_under_way")
    await office.happen(1)
    await office.work()
    for told in (webhook, rotated):
        office.verified(receiver.requests[0], read_secret(told["secret"]))
    last = await api.ok("POST", at, {"overlap_s": 0, "end_previous": True})
    await office.happen(2)
    await office.work()
    office.verified(receiver.requests[1], read_secret(last["secret"]))
    for told in (webhook, rotated):
        with pytest.raises(SignatureError):
            office.verified(receiver.requests[1], read_secret(told["secret"]))


async def test_a_test_event_goes_to_one_webhook_whatever_its_types(
    api: Api, office: Office, receiver: Receiver
) -> None:
    webhook = await api.ok("POST", body={"url": receiver.url, "types": ["alarm_raised"]})
    await api.ok("POST", body={"url": receiver.url})
    sent = await api.send("POST", f"/{webhook['id']}/test")
    assert sent.status_code == 202
    assert await office.work() == 1
    [request] = receiver.requests
    assert (request.id, request.event["type"]) == (sent.json()["id"], "webhook_test")
    delivery = await api.ok("GET", f"/{webhook['id']}/deliveries/{request.id}")
    assert (delivery["state"], delivery["log"][0]["status"]) == ("delivered", 200)
    await api.ok("PATCH", f"/{webhook['id']}", {"paused": True})
    assert problem(await api.send("POST", f"/{webhook['id']}/test")) == (409, "webhook_not_active")


async def test_deliveries_are_listed_with_their_attempts_and_sent_again(
    api: Api, office: Office, receiver: Receiver
) -> None:
    webhook = await api.ok("POST", body={"url": receiver.url})
    at = f"/{webhook['id']}/deliveries"
    receiver.answer = Answer(status=500, body=b"no")
    await office.happen(1)
    await office.happen(2, channel=CHANNELS[1])
    await office.work()
    listed = (await api.ok("GET", at))["items"]
    assert [(item["aa_address"], item["state"], item["attempts"]) for item in listed] == [
        (CHANNELS[1], "pending", 1),
        (A, "pending", 1),
    ]
    assert listed[0]["next_attempt_at"] is not None
    page = await api.ok("GET", f"{at}?limit=1")
    rest = await api.ok("GET", f"{at}?limit=1&cursor={page['next_cursor']}")
    assert page["items"] + rest["items"] == listed
    assert (await api.ok("GET", f"{at}?state=pending&channel={A}&type=channel_refilled"))["items"] == listed[1:]
    assert (await api.ok("GET", f"{at}?state=delivered"))["items"] == []
    shown = await api.ok("GET", f"{at}/{listed[1]['id']}")
    [attempt] = shown["log"]
    assert (attempt["status"], attempt["error"], attempt["excerpt"]) == (500, "bad_status", "no")

    receiver.answer = Answer()
    await office.later(hours(1))
    assert await office.work() == 0
    again = await api.send("POST", f"{at}/{listed[1]['id']}/replay")
    assert again.status_code == 202
    assert await office.later(60) == 1
    assert receiver.requests[-1].id == listed[1]["id"]
    assert len((await api.ok("GET", f"{at}/{listed[1]['id']}"))["log"]) == 3
    assert problem(await api.send("POST", f"{at}/zzz-1/replay")) == (404, "unknown_delivery")
    assert problem(await api.send("GET", f"{at}/{listed[1]['id'].split('-')[0]}-99999999")) == (404, "unknown_delivery")


async def test_events_are_sent_again_from_a_cursor_or_a_time(api: Api, office: Office, receiver: Receiver) -> None:
    webhook = await api.ok("POST", body={"url": receiver.url})
    at = f"/{webhook['id']}/replay"
    await office.happen(1)
    await office.happen(2)
    await office.happen(3)
    assert await office.work() == 3
    ids = [request.id for request in receiver.requests]
    assert (await api.send("POST", at, {"after": ids[0]})).status_code == 202
    assert await office.work() == 2
    assert [request.id for request in receiver.requests[3:]] == ids[1:]

    started = await office.database_now()
    await api.ok("POST", at, {"since": (started - timedelta(hours=1)).isoformat()})
    assert await office.work() == 3
    await api.ok("POST", at, {"since": (started + timedelta(hours=1)).isoformat()})
    assert await office.work() == 0

    for body in ({}, {"after": ids[0], "since": "2026-01-01T00:00:00Z"}, {"after": "x"}, {"since": "yesterday"}):
        assert problem(await api.send("POST", at, body)) == (422, "invalid_request")
    assert problem(await api.send("POST", at, {"after": "another-1"})) == (410, "expired_cursor")
