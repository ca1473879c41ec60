"""`POST /rpc` and `WS /rpc`: JSON-RPC 2.0, with a key."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from front.doors.rpc import MAX_BATCH
from front.rpc.methods import METHODS
from shared.settings import Settings
from shared.store.api_keys import Scope
from tests.integration.front.rest_support import make_key
from tests.integration.front.rpc_support import BOUND_S, Doors, Keyed, doors_of
from tests.integration.worker.conftest import world
from tests.receiving_support import Payer, administrator, all_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.worker.support import World
    from tests.receiving_support import Worker

__all__ = ["world"]

NOWHERE = "A" * 32
EVERY = (Scope.READ, Scope.RECEIVE, Scope.SPEND)


@pytest.fixture
async def doors(settings: Settings, worker: Worker, tmp_path: Path) -> AsyncIterator[Doors]:
    async with doors_of(settings.model_copy(update={"home": tmp_path})) as doors:
        doors.app.state.rpc._wait_s = 0.1
        yield doors


@pytest.fixture
async def caller(doors: Doors, worker: Worker) -> Keyed:
    return doors.keyed(await make_key(worker.database, *EVERY))


def call(number: Any, method: str = "getBalancesAndStatus", params: Any = (NOWHERE,)) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


async def test_each_method_needs_its_scope(doors: Doors, worker: Worker) -> None:
    keys = {scope: doors.keyed(await make_key(worker.database, scope)) for scope in Scope}
    for name, method in METHODS.items():
        for scope, keyed in keys.items():
            error = (await keyed.call(name, []))["error"]
            is_allowed = error["message"].startswith(f"{name} takes")
            assert is_allowed == (scope in method.scopes), (name, scope)
            if not is_allowed:
                assert (error["code"], error["data"]["code"]) == (-32001, "missing_scope")
    assert {name: "+".join(sorted(method.scopes)) for name, method in METHODS.items()} == {
        **dict.fromkeys(("createNewChannel", "deposit", "sendMessageAndPay", "createPaymentPackage"), "spend"),
        **dict.fromkeys(("close", "sweep", "setAutoRefill"), "admin+spend"),
        **dict.fromkeys(("getBalancesAndStatus", "getChannelsForPeer"), "read"),
        "verifyPaymentPackage": "receive",
        "getCommand": "read+spend",
    }


async def test_nobody_calls_without_a_key(doors: Doors) -> None:
    for headers in ({}, {"authorization": "Bearer sluice_nobody"}, {"authorization": "Basic abc"}):
        for method in ("getBalancesAndStatus", "nonsense"):
            response = await doors.post(call(1, method), local=False, **headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["data"]["code"] == "unauthorized"
    unread = await doors.post(b"{", local=False)
    assert unread.status_code == 401, "what a stranger sends is not even read"


@pytest.mark.parametrize("scheme", ["header", "subprotocol"])
async def test_a_key_of_a_socket_may_stand_in_the_header_or_among_the_subprotocols(
    doors: Doors, caller: Keyed, worker: Worker, scheme: str
) -> None:
    given: dict[str, Any] = {}
    if scheme == "subprotocol":
        given = {"headers": {}, "subprotocols": ["sluice", f"bearer.{caller.token}"]}
    payer = Payer()
    await worker.open(payer)
    async with caller.socket(**given) as ws:
        assert ws.websocket.subprotocol == (None if scheme == "header" else "sluice")
        answer = await ws.call("verifyPaymentPackage", payer.package(5, 5))
        assert answer == {"jsonrpc": "2.0", "result": [5, "base", payer.channel], "id": answer["id"]}
        assert await ws.event("payment_received") == [5, "base", None, payer.channel]
    url = f"ws://127.0.0.1:{doors.port}/v1/events"
    async with connect(url, subprotocols=["sluice", f"bearer.{caller.token}"], proxy=None) as events:  # type: ignore[list-item]
        assert json.loads(await events.recv())["type"] == "aa_channels_ready"
        assert events.subprotocol == "sluice"


async def test_no_socket_without_a_key(doors: Doors) -> None:
    for given in (
        {},
        {"subprotocols": ["sluice", "bearer.sluice_nobody"]},
        {"subprotocols": ["sluice"]},
        {"headers": {"authorization": "Bearer sluice_nobody"}},
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with doors.keyed("").socket(**{"headers": {}, **given}):
                pass
        assert refused.value.response.status_code == 401, given


async def test_the_key_is_never_sent_back(caller: Keyed) -> None:
    key = f"bearer.{caller.token}"
    with pytest.raises(InvalidStatus) as refused:
        async with caller.socket(headers={}, subprotocols=[key]):
            pass
    assert caller.token not in str(refused.value.response.headers) + str(refused.value.response.body)
    async with caller.socket(headers={}, subprotocols=[key, "sluice"]) as ws:
        assert ws.websocket.response is not None
        assert caller.token not in str(ws.websocket.response.headers)


async def test_who_may_not_read_hears_no_events(doors: Doors, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    keyed = doors.keyed(await make_key(worker.database, Scope.RECEIVE))
    async with keyed.socket() as ws:
        await ws.call("verifyPaymentPackage", payer.package(5, 5))
        refused = await ws.call("getBalancesAndStatus", payer.channel)
        assert refused["error"]["data"]["code"] == "missing_scope"
        await ws.call("verifyPaymentPackage", payer.package(6, 1))
        assert ws.events == []


async def test_a_revoked_key_ends_its_socket(doors: Doors, caller: Keyed, database_url: str) -> None:
    async with caller.socket() as ws:
        await ws.call("getBalancesAndStatus", NOWHERE)
        async with administrator(database_url) as owner:
            await owner.execute("UPDATE api_keys SET revoked_at = now()")
        with pytest.raises(ConnectionClosed) as closed:
            await ws.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


# -------------------------------------------------------------------------------------------------- JSON-RPC 2.0


async def test_a_batch_is_answered_as_a_whole(caller: Keyed) -> None:
    batch = [call(1), {**call(2), "id": "two"}, call(None), {"foo": "boo"}, call(3, "nonsense")]
    notification = {"jsonrpc": "2.0", "method": "getBalancesAndStatus", "params": [NOWHERE]}
    response = await caller.send([*batch, notification])
    assert response.status_code == 200
    told = [(answer["id"], answer["error"]["code"]) for answer in response.json()]
    assert told == [(1, -32603), ("two", -32603), (None, -32603), (None, -32600), (3, -32601)]
    assert (await caller.send([notification] * 3)).status_code == 204
    async with caller.socket() as ws:
        await ws.websocket.send(json.dumps([call(7), notification]))
        [answer] = json.loads(await asyncio.wait_for(ws.websocket.recv(), BOUND_S))
        assert answer["id"] == 7


async def test_nobody_who_wants_no_answer_gets_one(caller: Keyed, worker: Worker, database_url: str) -> None:
    payer = Payer()
    await worker.open(payer)
    notification = {"jsonrpc": "2.0", "method": "close", "params": [payer.channel]}
    response = await caller.send(notification)
    assert (response.status_code, response.content) == (204, b"")
    assert len((await all_rows(database_url))["commands"]) == 1, "but it is carried out"


BAD = [
    (b"{", -32700),
    (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}', -32700),
    (b"[" * 40 + b"]" * 40, -32700),
    (b"[]", -32600),
    (b"5", -32600),
    (b"null", -32600),
    (b'{"id":1,"method":"close","params":[]}', -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"close"}', -32600),
    (b'{"jsonrpc":"2.0","id":1}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"close","params":"x"}', -32600),
    (b'{"jsonrpc":"2.0","id":{},"method":"close"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"close","idempotency_key":5}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"nonsense"}', -32601),
    (b'{"jsonrpc":"2.0","id":1,"method":"close"}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"close","params":[1,2]}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"close","params":{"address":"x"}}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"deposit","params":{"amount":20000}}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"deposit","params":["x",-1]}', -32602),
]


async def test_bad_requests_have_the_standards_numbers(caller: Keyed) -> None:
    for body, number in BAD:
        response = await caller.send(body)
        assert (response.status_code, response.json()["error"]["code"]) == (200, number), body
        assert response.headers["cache-control"] == "no-store"


async def test_what_is_too_much_is_refused(caller: Keyed) -> None:
    assert (await caller.send(b" " * 70_000)).status_code == 413
    many = await caller.send([call(number) for number in range(MAX_BATCH + 1)])
    assert many.json()["error"]["data"]["code"] == "batch_too_large"
    as_header = await caller.send([call(1)], idempotency_key="k")
    assert as_header.json()["error"]["data"]["code"] == "key_of_a_batch"


async def test_arguments_may_have_names(caller: Keyed, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer)
    named = await caller.call("getBalancesAndStatus", {"aa_address": payer.channel})
    assert named["result"]["amount_deposited_by_peer"] == 1_000_000
    package = payer.package(5, 5)
    assert (await caller.call("verifyPaymentPackage", package))["result"] == [5, "base", payer.channel]
    again = await caller.call("verifyPaymentPackage", {"package": package})
    assert again["error"]["data"]["code"] == "duplicate"
    wrong = await caller.call("createNewChannel", {"peer": NOWHERE, "initial_amount": 5})
    assert wrong["error"]["message"] == "initial_amount must be > 1e4"


async def test_a_call_with_a_key_is_one_order_for_each_caller(
    caller: Keyed, doors: Doors, worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    numbers = []
    for members, headers in (({"idempotency_key": "k"}, {}), ({}, {"idempotency_key": "k"})):
        response = await caller.send({**call(1, "close", [payer.channel]), **members}, **headers)
        numbers.append(response.json()["error"]["data"]["command_id"])
    assert numbers[0] == numbers[1]
    other = await caller.call("sweep", [payer.channel], idempotency_key="k")
    assert other["error"]["data"]["code"] == "idempotency_key_reused"
    second = doors.keyed(await make_key(worker.database, Scope.SPEND))
    await second.call("close", [payer.channel], idempotency_key="k")
    await doors.call("close", payer.channel, idempotency_key="k")
    assert len((await all_rows(database_url))["commands"]) == 3, "each caller has keys of his own"


async def test_who_may_spend_and_not_read_sees_what_he_has_ordered_himself(
    caller: Keyed, doors: Doors, worker: Worker
) -> None:
    payer = Payer()
    await worker.open(payer)
    spender = doors.keyed(await make_key(worker.database, Scope.SPEND))
    orders = [await one.call("close", [payer.channel], idempotency_key="k") for one in (caller, spender)]
    foreign, own = [order["error"]["data"]["command_id"] for order in orders]
    hidden = await spender.call("getCommand", [foreign])
    assert hidden["error"]["data"]["code"] == "unknown_command"
    assert (await spender.call("getCommand", [own]))["result"]["id"] == own
    assert (await caller.call("getCommand", [own]))["result"]["id"] == own


async def test_packages_are_shown_to_the_key_that_had_them_signed(world: World, tmp_path: Path) -> None:
    settings = Settings(database_url=world.database_url, home=tmp_path)
    async with world.running(), doors_of(settings) as doors:
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        caller = doors.keyed(await make_key(world.database, Scope.SPEND, Scope.READ))
        [package, _, com_layer] = (await caller.call("createPaymentPackage", [1_000, peer.channel]))["result"]
        assert com_layer is None
        assert package["signed_message"]["payment_amount"] == 1_000
        [row] = [command for command in (await all_rows(world.database_url))["commands"] if "sign" in str(command)]
        assert package["authors"][0]["authentifiers"]["r"] not in str(row)
        shown = (await caller.call("getCommand", [1]))["result"]
        other = doors.keyed(await make_key(world.database, Scope.SPEND, Scope.READ))
        hidden = [(await other.call("getCommand", [1]))["result"], await doors.result("getCommand", 1)]
    assert shown["result"]["package"] == package
    assert [one["result"]["package"] for one in hidden] == [None, None]


async def test_the_answers_are_as_described(doors: Doors, caller: Keyed) -> None:
    document = doors.app.openapi()
    described = document["paths"]["/rpc"]["post"]
    schema = described["responses"]["200"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.validator_for(schema)
    for body in (call(1), [call(1), call("x")], call(1, "nonsense"), b"{"):
        validator.validate((await caller.send(body)).json())
    asked = jsonschema_rs.validator_for(described["requestBody"]["content"]["application/json"]["schema"])
    asked.validate(described["requestBody"]["content"]["application/json"]["example"])
    asked.validate([call(1)])
