"""API keys on running fronts: remembered for nothing, and worth nothing a moment after they ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from front import authentication
from shared.store import api_keys, commands
from shared.store.api_keys import Scope
from shared.store.key_news import KeyNews, NewsPace
from tests.integration.front.conftest import running_front
from tests.integration.front.rest_support import problem
from tests.integration.front.test_server import START_S, free_port, running
from tests.receiving_support import Payer, administrator

if TYPE_CHECKING:
    from pathlib import Path

    from front.authentication import ApiKeys
    from shared.settings import Settings
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

BOUND_S = 15.0


class Clock:
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def silently(owner: Any, change: str) -> None:
    """Change keys so that nobody is told."""
    await owner.execute("ALTER TABLE api_keys DISABLE TRIGGER tell_of_api_key")
    await owner.execute(f"UPDATE api_keys SET {change} = now()")  # noqa: S608 - a column's name


async def heard(front: Front) -> ApiKeys:
    """The keys of a front that hears of changes."""
    keys: ApiKeys = front.app.state.api_keys
    assert keys.news is not None
    await asyncio.wait_for(keys.news.until_current(), BOUND_S)
    return keys


async def read(front: Front, token: str, **headers: str) -> httpx.Response:
    return await front.http.get("/v1/channels", headers=bearer(token) | headers)


async def test_a_remembered_key_asks_the_database_nothing(
    front: Front, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await heard(front)
    token = await worker.make_key(Scope.READ)
    assert (await read(front, token)).status_code == 200

    async def asked(*_: Any) -> Any:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(authentication.api_keys, "find", asked)
    for _ in range(100):
        await keys.require(f"Bearer {token}", Scope.READ)


async def test_while_nothing_is_heard_each_use_asks_the_database(
    front: Front, worker: Worker, database_url: str
) -> None:
    keys = await heard(front)
    token = await worker.make_key(Scope.READ)
    assert (await read(front, token)).status_code == 200
    keys.news = None
    async with administrator(database_url) as owner:
        await silently(owner, "revoked_at")
    assert problem(await read(front, token)) == (401, "unauthorized")


async def test_a_cut_connection_is_noticed_and_made_again(front: Front, worker: Worker, database_url: str) -> None:
    keys = await heard(front)
    token = await worker.make_key(Scope.READ)
    assert (await read(front, token)).status_code == 200
    assert keys.news is not None
    async with administrator(database_url) as owner:
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'sluice-key-news' AND datname = current_database()"
        )
        async with asyncio.timeout(BOUND_S):
            while keys.news.is_current:  # noqa: ASYNC110 - a cut rings no bell
                await asyncio.sleep(0.005)
        await silently(owner, "revoked_at")
        assert problem(await read(front, token)) == (401, "unauthorized")
        await owner.execute("UPDATE api_keys SET revoked_at = NULL")
    await heard(front)
    assert (await read(front, token)).status_code == 200


async def test_what_was_heard_counts_for_a_short_while_only(database_url: str) -> None:
    clock = Clock()
    news = KeyNews(database_url, lambda _: None, clock=clock, pace=NewsPace(beat_s=3_600))
    listening = asyncio.create_task(news.run())
    try:
        await asyncio.wait_for(news.until_current(), BOUND_S)
        clock.ahead_s = NewsPace().trust_s  # and no beat since: the cable is cut, or the server is frozen
        assert not news.is_current
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_what_changes_while_a_key_is_looked_up_is_not_remembered(
    front: Front, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await heard(front)
    token = await worker.make_key(Scope.READ)
    find = api_keys.find

    async def revoked_meanwhile(*arguments: Any) -> Any:
        found = await find(*arguments)
        async with worker.database.transaction() as conn:
            await api_keys.revoke(conn, found.id)
        keys.forget(found.id)  # as it is told
        return found

    monkeypatch.setattr(authentication.api_keys, "find", revoked_meanwhile)
    await keys.require(f"Bearer {token}", Scope.READ)
    monkeypatch.setattr(authentication.api_keys, "find", find)
    assert problem(await read(front, token)) == (401, "unauthorized")


async def test_an_expired_key_is_told_so(front: Front, worker: Worker, database_url: str) -> None:
    keys = await heard(front)
    clock = keys._clock = Clock()
    async with worker.database.transaction() as conn:
        token, _ = await api_keys.create(conn, "shop", [Scope.READ], expires_in_s=3_600)
    assert (await read(front, token)).status_code == 200
    async with administrator(database_url) as owner:
        await silently(owner, "expires_at")
    assert (await read(front, token)).status_code == 200, "it is remembered with its end"
    clock.ahead_s = 3_600.0
    response = await read(front, token)
    assert problem(response) == (401, "key_expired")
    assert "has expired at 20" in response.json()["detail"]
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_stream_ends_when_its_key_expires(
    front: Front, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "RECHECK_S", 3_600.0)
    keys = await heard(front)
    async with worker.database.transaction() as conn:
        token, _ = await api_keys.create(conn, "shop", [Scope.READ], expires_in_s=0.5)
    with pytest.raises(Exception, match="has expired"):
        await asyncio.wait_for(keys.until_ended(f"Bearer {token}", Scope.READ), BOUND_S)


async def test_no_order_is_taken_after_its_key_was_revoked(front: Front, worker: Worker, database_url: str) -> None:
    """Whatever a front remembers: who orders holds his key, and who revokes it waits for that."""
    await heard(front)
    payer = Payer()
    await worker.open(payer)
    token = await worker.make_key(Scope.READ, Scope.SPEND)
    order = f"/v1/channels/{payer.channel}/sweep"
    assert (await front.http.post(order, headers=bearer(token))).status_code == 202
    async with administrator(database_url) as owner:
        await silently(owner, "revoked_at")
        assert (await read(front, token)).status_code == 200
        assert problem(await front.http.post(order, headers=bearer(token))) == (401, "unauthorized")
        assert await owner.fetchval("SELECT count(*) FROM commands") == 1


async def test_a_key_has_so_many_unfinished_orders_and_no_more(
    settings: Settings, worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    token, other = await worker.make_key(Scope.SPEND), await worker.make_key(Scope.SPEND)
    async with running_front(settings.model_copy(update={"max_unfinished_commands_per_key": 3})) as front:

        async def order(key: str, by: str = token) -> httpx.Response:
            headers = bearer(by) | {"idempotency-key": key}
            return await front.http.post(f"/v1/channels/{payer.channel}/sweep", headers=headers)

        statuses = [(await answer).status_code for answer in [asyncio.ensure_future(order(str(n))) for n in range(8)]]
        assert sorted(statuses) == [202] * 3 + [429] * 5
        taken = str(statuses.index(202))
        assert (await order(taken)).headers["idempotent-replayed"] == "true"
        refused = await order("one more")
        assert problem(refused) == (429, "too_many_commands")
        assert refused.headers["retry-after"] == "1"
        assert (await order("one more", by=other)).status_code == 202
        async with administrator(database_url) as owner:
            await owner.execute(
                "UPDATE commands SET state = 'failed', error = 'e', finished_at = now() WHERE idempotency_key <> ''"
            )
        assert (await order("one more")).status_code == 202
    async with worker.database.connection() as conn:
        assert await commands.has_room(conn, 1, 2, idempotency_key="")
        assert not await commands.has_room(conn, 1, 1, idempotency_key="")


async def test_who_guesses_is_locked_out_and_nobody_else(front: Front, worker: Worker) -> None:
    await heard(front)
    known, unknown = await worker.make_key(Scope.READ), await worker.make_key(Scope.READ)
    assert (await read(front, known)).status_code == 200
    for number in range(30):
        assert problem(await read(front, f"guess {number}")) == (401, "unauthorized")
    locked = await read(front, "guess again")
    assert problem(locked) == (429, "too_many_failures")
    assert int(locked.headers["retry-after"]) in range(1, 4)
    assert problem(await read(front, unknown)) == (429, "too_many_failures")
    assert (await read(front, known)).status_code == 200, "a key that is known here is looked up for nobody"
    assert (await read(front, unknown, **{"x-forwarded-for": "192.0.2.1"})).status_code == 200


async def test_it_is_noted_from_where_a_key_is_used(front: Front, worker: Worker) -> None:
    token = await worker.make_key(Scope.READ)
    assert (await read(front, token, **{"x-forwarded-for": "192.0.2.7"})).status_code == 200
    async with asyncio.timeout(BOUND_S), worker.database.connection() as conn:
        while not (key := (await api_keys.every(conn))[0]).last_used_at:  # noqa: ASYNC110 - it is in a database
            await asyncio.sleep(0.01)
    assert key.last_used_from == "192.0.2.7"


async def until_it_answers(http: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_revoked_key_stops_at_once_in_every_process(settings: Settings, worker: Worker, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(2)]
    token = await worker.make_key(Scope.READ)
    async with contextlib.AsyncExitStack() as stack:
        for port in ports:
            await stack.enter_async_context(running(settings, [f"127.0.0.1:{port}"], tmp_path / f"{port}.log"))
        urls = [f"http://127.0.0.1:{port}/v1/channels" for port in ports]
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, headers=bearer(token)))
        await asyncio.gather(*(until_it_answers(http, url) for url in urls))
        for _ in range(10):  # long enough that both hear, and remember
            assert [(await http.get(url)).status_code for url in urls] == [200, 200]
            await asyncio.sleep(0.1)
        streams = [
            await stack.enter_async_context(http.stream("GET", f"http://127.0.0.1:{port}/v1/events", timeout=BOUND_S))
            for port in ports
        ]
        async with worker.database.transaction() as conn:
            assert await api_keys.revoke(conn, 1)
        revoked_s = time.monotonic()
        for url in urls:
            while (await http.get(url)).status_code == 200:
                assert time.monotonic() - revoked_s < 1.0
        for stream in streams:
            assert "unauthorized" in [line async for line in stream.aiter_lines()][-2]
        assert time.monotonic() - revoked_s < authentication.RECHECK_S
