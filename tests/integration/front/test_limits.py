"""Limits on running fronts, with a real Redis that is shared, frozen and gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from shared.store import channels
from shared.store.api_keys import Scope
from sluice.home import socket_directory
from sluice.machine.account import Account
from sluice.machine.embedded import Redis
from tests.integration.front.conftest import running_front
from tests.integration.front.rest_support import problem
from tests.receiving_support import Payer, administrator, payer_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from shared.settings import Settings
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

BOUND_S = 15.0


def limited(settings: Settings, **limits: Any) -> Settings:
    return settings.model_copy(update=limits)


async def post(front: Front, command: str, params: dict[str, Any], address: str = "192.0.2.1") -> httpx.Response:
    body = {"command": command, "params": params}
    return await front.http.post("/post", json=body, headers={"x-forwarded-for": address})


async def pay(front: Front, package: dict[str, Any]) -> httpx.Response:
    return await post(front, "pay", {"signed_package": package})


async def order(front: Front, payer: Payer, token: str) -> httpx.Response:
    return await front.http.post(
        f"/v1/channels/{payer.channel}/sweep", headers={"authorization": f"Bearer {token}", "idempotency-key": "k"}
    )


def assert_limited(response: httpx.Response, code: str, limit: str, *, most: int, window_s: int) -> None:
    assert (response.status_code, response.json()["code"]) == (429, code), response.text
    wait_s = response.headers["retry-after"]
    assert int(wait_s) >= 1
    assert response.headers["ratelimit-policy"] == f'"{limit}";q={most};w={window_s}'
    assert response.headers["ratelimit"] == f'"{limit}";r=0;t={wait_s}'


# ---------------------------------------------------------------------------------------------------------- payments


async def test_a_channel_makes_so_many_payments_and_its_neighbour_goes_on(settings: Settings, worker: Worker) -> None:
    one, other = Payer(), Payer(payer_key(2))
    await worker.open(one)
    await worker.open(other)
    async with running_front(limited(settings, limit_payments_per_channel=0.02)) as front:
        assert "receipt" in (await pay(front, one.package(1, 1))).json()
        refused = await pay(front, one.package(2, 1))
        assert_limited(refused, "too_many_payments", "payments", most=1, window_s=1)
        assert refused.json().keys() == {"error", "code"}
        assert 40 <= int(refused.headers["retry-after"]) <= 50
        assert "receipt" in (await pay(front, other.package(1, 1))).json()
    assert (await worker.read(one)).spent_by_peer == 1


async def test_a_stranger_uses_up_nothing_of_the_channel_that_he_names(settings: Settings, worker: Worker) -> None:
    payer, stranger = Payer(), Payer(payer_key(2))
    await worker.open(payer)
    async with running_front(
        limited(settings, limit_payments_per_channel=0.02, limit_refusals_per_channel=0.02)
    ) as front:
        forged = stranger.package(5, 5, aa_address=payer.channel)
        assert (await pay(front, forged)).json()["code"] == "wrong_signer"
        assert (await pay(front, forged)).status_code == 429
        unsigned = {**payer.package(1, 1), "authors": forged["authors"]}
        # He is the one it names: refused for what he has used up, before anybody looks at the signature.
        assert (await pay(front, unsigned)).status_code == 429
        assert "receipt" in (await pay(front, payer.package(1, 1))).json()


async def test_who_sends_what_is_refused_has_to_pause(settings: Settings, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    async with running_front(limited(settings, limit_refusals_per_channel=0.02)) as front:
        assert (await pay(front, payer.package(2_000_000, 1))).json()["code"] == "not_funded"
        refused = await pay(front, payer.package(1, 1))
        assert_limited(refused, "too_many_refusals", "refusals", most=1, window_s=1)


async def test_who_only_waits_for_his_deposit_is_not_held_back(settings: Settings, worker: Worker) -> None:
    payer = Payer()
    await worker.insert(payer)
    async with running_front(limited(settings, limit_refusals_per_channel=0.02)) as front:
        for _ in range(3):
            assert (await pay(front, payer.package(1, 1))).status_code == 200


async def test_an_application_is_told_of_its_payers_limits_as_a_problem(settings: Settings, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    headers = {"authorization": f"Bearer {await worker.make_key(Scope.RECEIVE)}"}
    async with running_front(limited(settings, limit_payments_per_channel=0.02)) as front:
        for spent, status in ((1, 200), (2, 429)):
            response = await front.http.post("/v1/packages/verify", json=payer.package(spent, 1), headers=headers)
            assert response.status_code == status
    assert problem(response) == (429, "too_many_payments")


# --------------------------------------------------------------------------------------- network addresses and keys


async def test_one_address_asks_so_often_and_another_goes_on(settings: Settings, worker: Worker) -> None:
    async with running_front(limited(settings, limit_posts_per_address=0.02, limit_public_per_address=0.02)) as front:
        ready = {"aa_address": Payer().channel}
        assert (await post(front, "is_ready", ready)).status_code == 200
        assert_limited(await post(front, "is_ready", ready), "too_many_requests", "posts", most=1, window_s=1)
        assert (await post(front, "is_ready", ready, "192.0.2.2")).status_code == 200
        assert (await front.http.get("/v1/terms")).status_code == 200
        assert_limited(await front.http.get("/v1/terms"), "too_many_requests", "public", most=1, window_s=1)
        assert (await front.http.get("/v1/terms", headers={"x-forwarded-for": "192.0.2.2"})).status_code == 200


async def test_one_address_asks_for_so_many_new_channels(settings: Settings, worker: Worker) -> None:
    first, second, third = (Payer(salt=salt) for salt in ("a", "b", "c"))
    async with running_front(limited(settings, limit_openings_per_address=2)) as front:
        for payer in (first, second, second, first):  # asking again makes no channel
            assert "response" in (await post(front, "create_channel", payer.parameters)).json()
        refused = await post(front, "create_channel", third.parameters)
        assert_limited(refused, "too_many_openings", "openings", most=2, window_s=3_600)
        assert (await pay(front, third.first_package(1, 1))).json()["code"] == "too_many_openings"
        assert "response" in (await post(front, "create_channel", first.parameters)).json()
        assert "response" in (await post(front, "create_channel", third.parameters, "192.0.2.2")).json()


async def test_payers_of_one_application_ask_for_so_many_new_channels_and_those_of_others_go_on(
    settings: Settings, worker: Worker
) -> None:
    known = Payer()
    await worker.open(known)
    keys = [{"authorization": f"Bearer {await worker.make_key(Scope.RECEIVE)}"} for _ in range(2)]
    async with running_front(limited(settings, limit_openings_per_address=0.3, funding_wait_s=0.01)) as front:

        async def hand_in(number: int, headers: dict[str, str]) -> httpx.Response:
            package = Payer(payer_key(number)).first_package(1, 1)
            return await front.http.post("/v1/packages/verify", json=package, headers=headers)

        for number in range(2, 5):
            assert problem(await hand_in(number, keys[0])) == (409, "definition_not_published")
        assert_limited(await hand_in(5, keys[0]), "too_many_openings", "openings_of_keys", most=3, window_s=3_600)
        call = {"jsonrpc": "2.0", "id": 1, "method": "verifyPaymentPackage"}
        package = Payer(payer_key(5)).first_package(1, 1)
        answer = (await front.http.post("/rpc", json={**call, "params": [package]}, headers=keys[0])).json()
        assert answer["error"]["data"]["code"] == "too_many_openings"
        assert problem(await hand_in(2, keys[0])) == (409, "definition_not_published")
        assert (await hand_in(1, keys[0])).status_code == 200
        assert problem(await hand_in(5, keys[1])) == (409, "definition_not_published")


async def test_asking_for_given_up_channels_is_limited_as_asking_for_new_ones_is(
    settings: Settings, worker: Worker, database_url: str
) -> None:
    payers = [Payer(payer_key(number)) for number in (1, 2, 3)]
    for payer in payers:
        await worker.insert(payer)
    async with administrator(database_url) as owner:
        await owner.execute("UPDATE channels SET expired_at = now(), asked_at = now() - interval '14 days'")
    async with running_front(limited(settings, limit_openings_per_address=2)) as front:
        for payer in payers:
            await post(front, "is_ready", {"aa_address": payer.channel})
        async with worker.database.connection() as conn:
            assert len(await channels.not_watched(conn)) == 2
        await post(front, "is_ready", {"aa_address": payers[2].channel}, "192.0.2.2")
        async with worker.database.connection() as conn:
            assert len(await channels.not_watched(conn)) == 3


async def test_each_kind_of_work_of_a_key_has_a_limit_of_its_own(settings: Settings, worker: Worker) -> None:
    token = await worker.make_key(Scope.READ, Scope.RECEIVE, Scope.SPEND)
    payer = Payer()
    await worker.open(payer)
    headers = {"authorization": f"Bearer {token}"}
    limits = {f"limit_{kind}_per_key": 0.02 for kind in ("reads", "receives", "orders")}
    async with running_front(limited(settings, **limits)) as front:

        async def each() -> list[httpx.Response]:
            return [
                await front.http.get("/v1/channels", headers=headers),
                await front.http.post("/v1/packages/verify", json=payer.package(1, 1), headers=headers),
                await order(front, payer, token),
            ]

        assert [answer.status_code for answer in await each()] == [200, 200, 202]
        for answer, name in zip(await each(), ("reads", "receives", "orders"), strict=True):
            assert problem(answer) == (429, "too_many_requests")
            assert_limited(answer, "too_many_requests", name, most=1, window_s=1)


# ------------------------------------------------------------------------------------------------------------- Redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that a test may freeze and stop."""
    account = Account()
    server = Redis(socket_directory(tmp_path, account.owner), tmp_path / "redis.log", account)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def frozen(server: Redis) -> Iterator[None]:
    with redis.Redis.from_url(server.url) as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_fronts_share_their_limits(settings: Settings, worker: Worker, own_redis: Redis) -> None:
    shared = limited(settings.connected(redis_url=own_redis.url), limit_openings_per_address=8, limit_orders_per_key=1)
    token = await worker.make_key(Scope.SPEND)
    open_ = Payer()
    await worker.open(open_)
    async with running_front(shared) as one, running_front(shared) as other:
        for number in range(8):
            payer = Payer(salt=f"s{number}-")
            assert "response" in (await post(one, "create_channel", payer.parameters)).json()
        # The other front hears of it with the first that it tells itself.
        made = 0
        while (await post(other, "create_channel", Payer(salt=f"t{made}-").parameters)).status_code != 429:
            made += 1
            assert made < 8, "alone it would let eight through"
            await asyncio.sleep(0.3)
        # What moves money is counted in Redis at once.
        answers = [(await order(front, open_, token)).status_code for front in (one, other)]
        assert answers == [202, 429]


@pytest.mark.parametrize("is_frozen", [True, False])
async def test_without_redis_payments_flow_and_what_moves_our_money_waits(
    settings: Settings, worker: Worker, own_redis: Redis, *, is_frozen: bool
) -> None:
    payer = Payer()
    await worker.open(payer)
    token = await worker.make_key(Scope.READ, Scope.SPEND)
    reading = {"authorization": f"Bearer {token}"}
    # A limit that every payment is worth telling of.
    connected = limited(settings.connected(redis_url=own_redis.url), limit_payments_per_channel=100)
    async with running_front(connected) as front:
        assert (await order(front, payer, token)).status_code == 202
        with contextlib.ExitStack() as stack:
            if is_frozen:
                stack.enter_context(frozen(own_redis))
            else:
                own_redis.stop()
            longest_s = 0.0
            for spent in range(1, 21):
                began_s = time.monotonic()
                assert "receipt" in (await pay(front, payer.package(spent, 1))).json()
                longest_s = max(longest_s, time.monotonic() - began_s)
                await asyncio.sleep(0.02)
            assert longest_s < 0.2, "no payment waits for Redis"
            refused = await order(front, payer, token)
            assert problem(refused) == (503, "limits_unavailable")
            assert refused.headers["retry-after"] == "1"
            began_s = time.monotonic()
            assert problem(await order(front, payer, token)) == (503, "limits_unavailable")
            assert time.monotonic() - began_s < 0.2, "a Redis that is away is not waited for twice"
            assert (await front.http.get("/v1/channels", headers=reading)).status_code == 200
        if not is_frozen:
            own_redis.start()
        async with asyncio.timeout(BOUND_S):
            while (await order(front, payer, token)).status_code != 202:  # noqa: ASYNC110 - Redis rings no bell
                await asyncio.sleep(0.05)


async def test_who_wants_no_limit_on_orders_needs_no_redis_for_them(
    settings: Settings, worker: Worker, tmp_path: Path
) -> None:
    payer = Payer()
    await worker.open(payer)
    token = await worker.make_key(Scope.SPEND)
    nowhere = limited(settings.connected(redis_url=f"unix://{tmp_path}/nothing"), limit_orders_per_key=0)
    async with running_front(nowhere) as front:
        assert (await order(front, payer, token)).status_code == 202
