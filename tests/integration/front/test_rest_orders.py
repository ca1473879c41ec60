"""`/v1` from behind the load balancer: two fronts, one worker, peers that answer or do not."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import verify_signed_message
from shared.store.api_keys import Scope
from tests.integration.front.rest_support import api_of, make_key, problem
from tests.integration.payer.support import Fault, Receiver, listening
from tests.integration.worker.conftest import world
from tests.integration.worker.support import OWN_KEY, eventually
from tests.receiving_support import all_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.front.rest_support import Api
    from tests.integration.worker.support import World

__all__ = ["world"]

AWAY = Fault(status=503)
NOWHERE = "A" * 32


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver(KeyPair(bytes([42]) * 32))) as receiver:
        yield receiver


@pytest.fixture
async def api(world: World) -> AsyncIterator[Api]:
    async with api_of(world) as api:
        yield api


async def opened(api: Api, receiver: Receiver, amount: int = 1_000_000) -> str:
    """Open a channel to the receiver and wait until the ledger has it."""
    response = await api.order("/channels", {"peer": receiver.url, "initial_amount": amount})
    aa_address: str = (await api.outcome(response))["result"]["aa_address"]

    async def is_open() -> bool:
        return (await api.get(f"/v1/channels/{aa_address}")).json()["status"] == "open"

    await eventually(is_open, "an open channel")
    return aa_address


@asynccontextmanager
async def paying(world: World, api: Api, receiver: Receiver) -> AsyncIterator[str]:
    async with world.running():
        yield await opened(api, receiver)


async def count_of_commands(world: World) -> int:
    return len((await all_rows(world.database_url))["commands"])


# ------------------------------------------------------------------------------------------------- the whole life


async def test_a_channel_lives_its_life_over_rest(world: World, api: Api, receiver: Receiver) -> None:
    async with paying(world, api, receiver) as aa_address:
        at = f"/channels/{aa_address}"
        paid = await api.order(f"{at}/payments", {"amount": 7_000, "message": {"order": 7}})
        assert (paid.status_code, paid.json()["state"]) == (200, "succeeded")
        assert paid.json()["result"]["response"] == "received 7000"
        [sent] = (await api.get(f"/v1{at}/payments")).json()["items"]
        assert (sent["id"], sent["state"], sent["message"]) == ("1-7000", "delivered", {"order": 7})
        assert (await api.get(f"/v1{at}/payments/1-7000")).json() == sent

        deposited = await api.order(f"{at}/deposits", {"amount": 50_000})
        assert (await api.outcome(deposited))["result"]["amount"] == 50_000
        refilled = await api.order(f"{at}/auto-refill", {"amount": 60_000, "threshold": 20_000}, method="PUT")
        assert (await api.outcome(refilled))["state"] == "succeeded"

        async def has_arrived() -> bool:
            return (await api.get(f"/v1{at}")).json()["deposited_by_me"] == 1_050_000

        await eventually(has_arrived, "the second deposit")
        channel = (await api.get(f"/v1{at}")).json()
        assert channel["auto_refill"] == {"amount": 60_000, "threshold": 20_000}
        assert (channel["free_amount"], channel["deposits_on_their_way"]) == (1_043_000, 0)
        assert (channel["opened_by"], channel["spent_by_me"], channel["possibly_lost"]) == ("me", 7_000, 0)
        assert "claim" not in channel

        ended = await api.outcome(await api.order(f"{at}/auto-refill", {"off": True}, method="PUT"))
        assert ended["result"] == {"auto_refill": "off"}
        closed = await api.outcome(await api.order(f"{at}/close", {"period": 1}))
        assert closed["result"]["unit"]
    assert receiver.total == 7_000


async def test_a_sweep_settles_the_period(world: World, api: Api, receiver: Receiver) -> None:
    async with paying(world, api, receiver) as aa_address:
        await api.order(f"/channels/{aa_address}/payments", {"amount": 7_000})
        swept = await api.outcome(await api.order(f"/channels/{aa_address}/sweep"))
    assert (swept["kind"], swept["state"]) == ("sweep", "succeeded")


async def test_without_waiting_a_command_is_answered_with_where_to_poll(world: World, api: Api) -> None:
    async with world.running():
        peer = await world.peer()
        response = await api.order(f"/channels/{peer.channel}/close", wait=None)
        assert response.status_code == 202
        assert response.json()["state"] == "queued"
        assert response.headers["location"] == f"/v1/commands/{response.json()['id']}"
        assert "preference-applied" not in response.headers
        command = await api.outcome(response)
    assert (command["state"], command["error"]["code"]) == ("failed", "not_closable")


async def test_who_waits_is_answered_in_time_though_no_worker_runs(world: World, api: Api) -> None:
    peer = await world.peer()
    response = await api.order(f"/channels/{peer.channel}/close", wait=1)
    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert response.headers["preference-applied"] == "wait=1"
    polled = await api.get(response.headers["location"], wait=1)
    assert (polled.status_code, polled.json()["state"]) == (200, "queued")


async def test_a_command_that_fails_while_its_caller_waits_is_a_problem(world: World, api: Api) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        response = await api.order(f"/channels/{peer.channel}/payments", {"amount": 5, "peer": "http://127.0.0.1:1/"})
    assert problem(response) == (409, "command_failed")
    assert response.json()["command"]["error"]["code"] == "insufficient_funds"
    assert response.json()["detail"].startswith("insufficient_funds: ")


# --------------------------------------------------------------------------------------------- uncertain payments


async def test_an_uncertain_payment_is_listed_and_sent_again_as_the_same_bytes(
    world: World, api: Api, receiver: Receiver
) -> None:
    async with paying(world, api, receiver) as aa_address:
        at = f"/channels/{aa_address}"
        receiver.faults.extend([AWAY] * 100)
        response = await api.order(f"{at}/payments", {"amount": 700})
        assert problem(response) == (409, "command_failed")
        assert response.json()["command"]["error"]["code"] == "uncertain"
        assert (await api.get(f"/v1{at}")).json()["possibly_lost"] == 700
        [lost] = (await api.get(f"/v1{at}/payments", state="uncertain")).json()["items"]

        receiver.faults.clear()
        again = await api.order(f"{at}/payments/{lost['id']}/resend")
        assert (again.status_code, again.json()["result"]["response"]) == (200, "received 700")
        assert (await api.get(f"/v1{at}/payments", state="uncertain")).json()["items"] == []
        assert (await api.get(f"/v1{at}")).json()["possibly_lost"] == 0
        unknown = await api.order(f"{at}/payments/1-701/resend")
    assert problem(unknown) == (404, "unknown_payment")
    assert len({json.dumps(package) for package in receiver.packages}) == 1
    assert receiver.total == 700


# ----------------------------------------------------------------------------------------------------- packages


async def test_a_package_is_shown_to_the_key_that_asked_for_it_and_to_nobody_else(world: World, api: Api) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        body = {"aa_address": peer.channel, "amount": 1_000}
        response = await api.order("/packages", body, key="p1")
        again = await api.order("/packages", body, key="p1")
        polled = await api.get(response.headers["location"])
        others = [await make_key(world.database, Scope.READ), await make_key(world.database, Scope.READ, Scope.SPEND)]
        seen = [await api.send("GET", response.headers["location"], token=token) for token in others]
    package = response.json()["result"]["package"]
    said: Any = verify_signed_message(package, DEVNET, expected_signer=OWN_KEY.address).payload
    assert (said["amount_spent"], said["payment_amount"], said["aa_address"]) == (1_000, 1_000, peer.channel)
    assert again.json() == polled.json() == response.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert [found.json()["result"] for found in seen] == [
        {"period": 1, "amount": 1_000, "amount_spent": 1_000, "package": None}
    ] * 2
    signature = package["authors"][0]["authentifiers"]["r"]
    rows = await all_rows(world.database_url)
    assert [table for table, found in rows.items() if any(signature in row for row in found)] == ["sent_payments"]


# -------------------------------------------------------------------------------------------------- idempotency


async def test_a_repeated_request_gets_the_kept_answer_from_any_front(world: World, api: Api) -> None:
    peer = await world.peer()
    first = await api.order(f"/channels/{peer.channel}/close", {}, key="k", wait=None)
    async with world.running():
        await api.outcome(first)
    again = [await api.order(f"/channels/{peer.channel}/close", {}, key="k", wait=wait) for wait in (None, 5)]
    for response in again:
        assert (response.status_code, response.json()) == (202, first.json())
        assert response.headers["idempotent-replayed"] == "true"
        assert response.headers["location"] == first.headers["location"]
    assert await count_of_commands(world) == 1


async def test_a_failure_is_kept_as_well(world: World, api: Api) -> None:
    peer = await world.peer()
    async with world.running():
        first = await api.order(f"/channels/{peer.channel}/close", key="k")
    again = await api.order(f"/channels/{peer.channel}/close", key="k")
    assert problem(first) == problem(again) == (409, "command_failed")
    assert first.json() == again.json()


async def test_a_key_belongs_to_one_request_of_one_caller(world: World, api: Api) -> None:
    peer = await world.peer()
    deposits = f"/channels/{peer.channel}/deposits"
    await api.order(deposits, {"amount": 20_000}, key="k", wait=None)
    other_body = await api.order(deposits, {"amount": 20_001}, key="k", wait=None)
    other_path = await api.order(f"/channels/{peer.channel}/payments", {"amount": 20_000}, key="k", wait=None)
    assert problem(other_body) == problem(other_path) == (422, "idempotency_key_reused")
    token = await make_key(world.database, Scope.SPEND)
    other_caller = await api.send(
        "POST", f"/v1{deposits}", token=token, json={"amount": 20_001}, headers={"idempotency-key": "k"}
    )
    assert other_caller.status_code == 202
    assert await count_of_commands(world) == 2


async def test_the_same_request_written_otherwise_is_the_same_request(world: World, api: Api) -> None:
    peer = await world.peer()
    path, headers = f"/v1/channels/{peer.channel}/auto-refill", {"idempotency-key": "k"}
    bodies = [b'{"amount":20000,"threshold":5}', b'{ "threshold": 5, "amount": 20000 }']
    one, two = [await api.send("PUT", path, content=body, headers=headers) for body in bodies]
    assert (one.status_code, two.status_code) == (202, 202)
    assert one.json() == two.json()


async def test_who_asks_while_the_first_request_waits_is_told_so(world: World, api: Api) -> None:
    peer = await world.peer()
    waiting = asyncio.create_task(api.order(f"/channels/{peer.channel}/close", key="k", wait=3))

    async def is_recorded() -> bool:
        return bool((await all_rows(world.database_url))["kept_answers"])

    await eventually(is_recorded, "the first request")
    response = await api.order(f"/channels/{peer.channel}/close", key="k", wait=3)
    assert problem(response) == (409, "request_in_flight")
    assert response.headers["retry-after"] == "1"
    first = await waiting
    again = await api.order(f"/channels/{peer.channel}/close", key="k", wait=3)
    assert (first.status_code, again.json()) == (202, first.json())


async def test_of_many_requests_at_once_through_two_fronts_one_is_carried_out(
    world: World, api: Api, receiver: Receiver
) -> None:
    async with paying(world, api, receiver) as aa_address:
        path = f"/channels/{aa_address}/payments"
        waits = [None, 5] * 10
        answers = await asyncio.gather(*(api.order(path, {"amount": 700}, key="k", wait=wait) for wait in waits))
        assert {response.status_code for response in answers} <= {200, 202, 409}
        assert {problem(response)[1] for response in answers if response.status_code == 409} <= {"request_in_flight"}
        told = [response for response in answers if response.status_code != 409]
        assert len({response.json()["id"] for response in told}) == 1
        assert (await api.outcome(told[0]))["state"] == "succeeded"
    assert receiver.total == 700
    assert len(receiver.packages) == 1


async def test_after_a_front_died_while_it_waited_another_goes_on_in_its_place(world: World, api: Api) -> None:
    peer = await world.peer()
    dying = asyncio.create_task(api.order(f"/channels/{peer.channel}/close", key="k", wait=1))
    first = await dying
    async with world.database.transaction() as conn:  # as if the front had not come to answer
        await conn.execute("SET LOCAL ROLE NONE")
        await conn.execute("UPDATE kept_answers SET status = NULL, body = NULL, waiting_until = now()")
    async with world.running():
        await api.outcome(first)
        again = await api.order(f"/channels/{peer.channel}/close", key="k", wait=1)
    assert problem(again) == (409, "command_failed")
    assert again.json()["command"]["id"] == first.json()["id"]
    assert await count_of_commands(world) == 1


async def test_after_a_day_the_answer_is_made_anew_and_nothing_is_done_twice(world: World, api: Api) -> None:
    peer = await world.peer()
    deposits = f"/channels/{peer.channel}/deposits"
    first = await api.order(deposits, {"amount": 20_000}, key="k", wait=None)
    async with world.database.transaction() as conn:
        await conn.execute("SET LOCAL ROLE NONE")
        await conn.execute("UPDATE kept_answers SET created_at = now() - interval '25 hours'")
    again = await api.order(deposits, {"amount": 20_000}, key="k", wait=None)
    other = await api.order(deposits, {"amount": 20_001}, key="k", wait=None)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert "idempotent-replayed" not in again.headers
    assert problem(other) == (422, "idempotency_key_reused")
    assert await count_of_commands(world) == 1


# --------------------------------------------------------------------------------------------- who may, and what


SPENDING = ["deposits", "payments", "payments/1-1/resend"]
MANAGING = ["close", "sweep"]


async def test_each_order_needs_its_scope(world: World, api: Api) -> None:
    peer = await world.peer()
    at = f"/v1/channels/{peer.channel}"
    reader, admin, spender = [await make_key(world.database, scope) for scope in (Scope.READ, Scope.ADMIN, Scope.SPEND)]
    spending = ["/v1/channels", "/v1/packages", *(f"{at}/{what}" for what in SPENDING)]
    managing = [f"{at}/{what}" for what in MANAGING]
    for path in spending + managing:
        assert problem(await api.send("POST", path, token=reader, json={})) == (403, "missing_scope")
        assert problem(await api.send("POST", path, token="sluice_nobody", json={})) == (401, "unauthorized")
    for path in spending:
        assert problem(await api.send("POST", path, token=admin, json={})) == (403, "missing_scope")
    for path in managing:
        assert (await api.send("POST", path, token=admin, json={})).status_code == 202
    for path in ("/v1/channels", at, f"{at}/payments", "/v1/payments", "/v1/commands/1"):
        assert problem(await api.send("GET", path, token=spender)) == (403, "missing_scope")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("deposits", b'{"amount": 1', 400, "not_json"),
        ("deposits", b"[]", 400, "not_an_object"),
        ("deposits", b'{"amount":5,"amount":6}', 400, "duplicate_key"),
        ("deposits", b'{"amount":' + b"[" * 40 + b"]" * 40 + b"}", 400, "nested_too_deep"),
        ("deposits", b'{"amount":5}' + b" " * 66_000, 413, "body_too_large"),
        ("deposits", {}, 422, "invalid_request"),
        ("deposits", {"amount": 0}, 422, "invalid_request"),
        ("deposits", {"amount": 1.0}, 422, "invalid_request"),
        ("deposits", {"amount": True}, 422, "invalid_request"),
        ("deposits", {"amount": "5"}, 422, "invalid_request"),
        ("deposits", {"amount": 9_000_000_000_000_001}, 422, "invalid_request"),
        ("deposits", {"amount": 5, "note": 1}, 422, "invalid_request"),
        ("payments", {"amount": 5, "message": "\u00e9" * 6_000}, 422, "invalid_request"),
        ("auto-refill", {"amount": 5}, 422, "invalid_request"),
    ],
    ids=lambda value: None if isinstance(value, bytes | dict) else str(value),
)
async def test_bad_orders_are_problems_and_order_nothing(
    world: World, api: Api, path: str, body: Any, status: int, code: str
) -> None:
    peer = await world.peer()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    method = "PUT" if path == "auto-refill" else "POST"
    response = await api.send(method, f"/v1/channels/{peer.channel}/{path}", content=content)
    assert problem(response) == (status, code)
    assert await count_of_commands(world) == 0


async def test_a_fault_names_the_place_and_never_the_value(world: World, api: Api) -> None:
    peer = await world.peer()
    response = await api.send("POST", f"/v1/channels/{peer.channel}/deposits", json={"amount": "a secret"})
    assert response.json()["faults"] == [{"at": "body.amount", "rule": "Input should be a valid integer"}]
    assert "a secret" not in response.text


async def test_unknown_channels_and_commands_are_not_found(api: Api) -> None:
    for path in ("close", "deposits", "payments"):
        response = await api.order(f"/channels/{NOWHERE}/{path}", {} if path == "close" else {"amount": 20_000})
        assert problem(response) == (404, "unknown_channel")
    assert problem(await api.get(f"/v1/channels/{NOWHERE}")) == (404, "unknown_channel")
    assert problem(await api.get("/v1/commands/999")) == (404, "unknown_command")
    assert problem(await api.get("/v1/channels/nonsense")) == (422, "invalid_request")
    assert problem(await api.get("/v1/channels", colour="red")) == (422, "invalid_request")


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9"])
async def test_a_key_has_to_be_printable_and_short(world: World, api: Api, key: str) -> None:
    peer = await world.peer()
    headers = {"idempotency-key": key.encode("latin-1")}
    response = await api.send("POST", f"/v1/channels/{peer.channel}/close", headers=headers)  # type: ignore[arg-type]
    assert problem(response) == (422, "invalid_request")
