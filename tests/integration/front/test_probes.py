from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from front.app import create_app
from shared.settings import Settings
from tests.integration.front.conftest import running_front
from tests.receiving_support import administrator

if TYPE_CHECKING:
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


async def readiness(front: Front) -> tuple[int, list[str]]:
    response = await front.http.get("/readyz")
    return response.status_code, response.json()["reasons"]


async def test_ready(front: Front) -> None:
    assert await readiness(front) == (200, [])


async def test_alive_and_not_ready_without_a_database() -> None:
    async with running_front(Settings(database_url=NOWHERE)) as front:
        assert (await front.http.get("/healthz")).json() == {"status": "alive"}
        assert await readiness(front) == (503, ["database_unavailable"])


async def test_not_ready_before_a_worker_has_said_whose_wallet_it_is(database_url: str) -> None:
    async with running_front(Settings(database_url=database_url)) as front:
        assert await readiness(front) == (503, ["not_initialized"])


async def test_not_ready_when_the_watcher_is_silent(front: Front, worker: Worker) -> None:
    async with worker.database.transaction() as conn:
        await conn.execute("UPDATE instance SET watcher_synced_at = now() - interval '1 hour'")
    assert await readiness(front) == (503, ["watcher_silent"])


async def test_not_ready_when_the_watcher_never_was_in_step(front: Front, worker: Worker) -> None:
    async with worker.database.transaction() as conn:
        await conn.execute("UPDATE instance SET watcher_synced_at = NULL")
    assert await readiness(front) == (503, ["watcher_silent"])


@pytest.mark.usefixtures("worker")
async def test_not_ready_on_another_network(database_url: str) -> None:
    async with running_front(Settings(database_url=database_url, network="testnet")) as front:
        assert await readiness(front) == (503, ["wrong_network"])


async def test_not_ready_on_a_schema_it_cannot_use(front: Front, database_url: str) -> None:
    async with administrator(database_url) as conn:
        await conn.execute("DELETE FROM schema_revisions")
    assert await readiness(front) == (503, ["schema_not_usable"])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/post", 405, "method_not_allowed"),
        ("GET", "/v1/packages/verify", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/healthz/", 404, "not_found"),
    ],
)
async def test_wrong_addresses_are_problem_documents(
    front: Front, method: str, path: str, status: int, code: str
) -> None:
    response = await front.http.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_unexpected_failure_tells_nothing_but_that(
    front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret is out")

    monkeypatch.setattr(front.app.state.receiver, "pay", broken)
    monkeypatch.setattr(front.app.state.api_keys, "require", broken)
    body = {"command": "pay", "params": {"signed_package": {"signed_message": "BODY"}}}
    peers = await front.http.post("/post", json=body)
    assert (peers.status_code, peers.json()) == (500, {"error": "internal error", "code": "internal_error"})
    others = await front.http.post("/v1/packages/verify", json={"signed_message": "BODY"})
    assert (others.status_code, others.json()["detail"]) == (500, "internal error")
    assert others.headers["content-type"] == "application/problem+json"
    assert "secret" not in peers.text + others.text
    assert "request_failed" in caplog.text
    assert "BODY" not in caplog.text


async def test_the_description_lists_every_door(front: Front) -> None:
    document = (await front.http.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/post",
        "/v1/packages",
        "/v1/packages/verify",
        "/v1/events",
        "/v1/channels",
        "/v1/channels/{aa_address}",
        "/v1/channels/{aa_address}/auto-refill",
        "/v1/channels/{aa_address}/close",
        "/v1/channels/{aa_address}/deposits",
        "/v1/channels/{aa_address}/payments",
        "/v1/channels/{aa_address}/payments/{payment_id}",
        "/v1/channels/{aa_address}/payments/{payment_id}/resend",
        "/v1/channels/{aa_address}/sweep",
        "/v1/commands/{command_id}",
        "/v1/payments",
        "/v1/payments/{payment_id}",
        "/v1/payments/{payment_id}/answer",
        "/v1/terms",
        "/v1/payment-requests",
        "/v1/payment-requests/{request_id}",
        "/v1/payment-requests/{request_id}/payments",
        "/v1/webhooks",
        "/v1/webhooks/{webhook_id}",
        "/v1/webhooks/{webhook_id}/deliveries",
        "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}",
        "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
        "/v1/webhooks/{webhook_id}/replay",
        "/v1/webhooks/{webhook_id}/secret",
        "/v1/webhooks/{webhook_id}/test",
        "/rpc",
        "/pay/{request_id}.json",
        "/healthz",
        "/readyz",
    }
    assert (await front.http.get("/docs")).status_code == 200


async def test_nothing_is_connected_before_the_server_starts_it() -> None:
    app = create_app(Settings(database_url=NOWHERE))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://front") as http:
        assert (await http.get("/healthz")).status_code == 200
