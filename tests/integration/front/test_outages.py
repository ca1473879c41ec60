"""A front needs Postgres and nothing else; what it cannot do now it says so, and recovers by itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from shared.settings import Settings
from shared.store.api_keys import Scope
from tests.integration.front.conftest import Front, running_front
from tests.receiving_support import OWN, Payer, administrator, payer_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.receiving_support import Worker

DEAD_REDIS = "redis://127.0.0.1:1/0"
DEAD_POSTGRES = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
async def payer(worker: Worker) -> Payer:
    somebody = Payer()
    await worker.open(somebody)
    return somebody


@contextlib.asynccontextmanager
async def database_away(database_url: str, postgres_url: str) -> AsyncIterator[None]:
    """Throw everybody out of the database and let nobody in."""
    name = urlsplit(database_url).path.removeprefix("/")
    async with administrator(postgres_url) as conn:
        await conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        try:
            yield
        finally:
            await conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def unavailable(front: Front, command: str, params: Any) -> str:
    response = await front.http.post("/post", json={"command": command, "params": params})
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert set(response.json()) == {"error", "code"}
    code: str = response.json()["code"]
    return code


@pytest.mark.parametrize("redis", [None, DEAD_REDIS], ids=["no Redis configured", "Redis is down"])
async def test_payments_are_taken_without_redis(database_url: str, payer: Payer, redis: str | None) -> None:
    async with running_front(Settings(database_url=database_url, redis_url=redis)) as front:
        assert "receipt" in await front.pay(payer.package(10, 10))
        assert "response" in await front.command("create_channel", Payer(payer_key(2)).parameters)
        assert await front.command("is_ready", {"aa_address": payer.channel}) == {"response": True}


async def test_without_postgres_every_command_is_to_be_repeated() -> None:
    async with running_front(Settings(database_url=DEAD_POSTGRES)) as front:
        for command, params in (
            ("pay", {"signed_package": Payer().package(10, 10)}),
            ("pay", {"signed_package": Payer().first_package(10, 10)}),
            ("is_ready", {"aa_address": OWN.address}),
            ("create_channel", Payer().parameters),
        ):
            assert await unavailable(front, command, params) == "database_unavailable"
        response = await front.http.post(
            "/v1/packages/verify", json=Payer().package(10, 10), headers={"authorization": "Bearer sluice_x"}
        )
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        assert int(response.headers["retry-after"]) > 0


async def test_bad_packages_are_refused_even_without_postgres() -> None:
    async with running_front(Settings(database_url=DEAD_POSTGRES)) as front:
        assert (await front.pay(Payer().package(10, 0)))["code"] == "invalid_amount"


async def test_payments_go_on_when_postgres_is_back(
    front: Front, payer: Payer, worker: Worker, database_url: str, postgres_url: str
) -> None:
    assert "receipt" in await front.pay(payer.package(10, 10))
    await worker.database.close()
    async with database_away(database_url, postgres_url):
        code = await unavailable(front, "pay", {"signed_package": payer.package(20, 10)})
        assert code == "database_unavailable"
        assert (await front.http.get("/readyz")).status_code == 503
    assert (await front.pay(payer.package(20, 10)))["receipt"]["duplicate"] is False
    assert (await front.http.get("/readyz")).status_code == 200


_DIES_IN_COMMIT = """
    CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
      PERFORM pg_terminate_backend(pg_backend_pid());
      RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER die AFTER INSERT ON payments DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION die();
"""


async def test_a_commit_of_unknown_outcome_gives_no_receipt_and_the_retry_is_safe(
    front: Front, payer: Payer, worker: Worker, database_url: str
) -> None:
    async with administrator(database_url) as conn:
        await conn.execute(_DIES_IN_COMMIT)
        await unavailable(front, "pay", {"signed_package": payer.package(10, 10)})
        await conn.execute("DROP TRIGGER die ON payments")
    assert (await front.pay(payer.package(10, 10)))["receipt"]["duplicate"] is False
    assert (await worker.read(payer)).spent_by_peer == 10


async def test_before_a_worker_ever_ran_the_front_says_so(database_url: str) -> None:
    async with running_front(Settings(database_url=database_url)) as front:
        answer = await front.command("create_channel", Payer().parameters)
        assert answer == {"error": "I'm not initialized yet", "code": "not_initialized"}
        answer = await front.pay(Payer().first_package(10, 10))
        assert answer["error"] == "I'm not initialized yet"
        assert (await front.pay(Payer().package(10, 10)))["error"] == "unknown channel"


async def test_a_verify_before_a_worker_ever_ran_is_to_be_repeated(front: Front, worker: Worker) -> None:
    token = await worker.make_key(Scope.RECEIVE)
    async with worker.database.transaction() as conn:
        await conn.execute("UPDATE instance SET network = 'testnet'")
    response = await front.http.post(
        "/v1/packages/verify", json=Payer().first_package(10, 10), headers={"authorization": f"Bearer {token}"}
    )
    assert (response.status_code, response.json()["code"]) == (503, "not_initialized")
