"""The door on loopback: who is let in, what calls come to, and that no call is carried out twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from front.rpc import sockets
from front.rpc.reader_key import ReaderKeyError, read_or_make
from front.rpc.sockets import Places
from front.server import ListenersError, gunicorn_options
from shared.obyte.keys import KeyPair
from shared.settings import Settings
from shared.store import alarms, channels, events
from shared.store.alarms import AlarmKind
from shared.store.events import EventKind, NewEvent
from tests.integration.front.rpc_support import BOUND_S, Doors, Socket, doors_of
from tests.integration.payer.support import Receiver, listening
from tests.integration.worker.conftest import world
from tests.receiving_support import Payer, all_rows
from tests.running import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.worker.support import World
    from tests.receiving_support import Worker

__all__ = ["world"]

NOWHERE = "A" * 32
STATUS = {"jsonrpc": "2.0", "id": 1, "method": "getBalancesAndStatus", "params": [NOWHERE]}
UNKNOWN = ("aa_address not known", "unknown_channel")


@pytest.fixture
async def doors(settings: Settings, worker: Worker, tmp_path: Path) -> AsyncIterator[Doors]:
    async with doors_of(settings.model_copy(update={"home": tmp_path})) as doors:
        yield doors


@pytest.fixture
async def open_payer(doors: Doors, worker: Worker) -> Payer:
    payer = Payer()
    await worker.open(payer)
    return payer


async def count_of_commands(database_url: str) -> int:
    return len((await all_rows(database_url))["commands"])


# ---------------------------------------------------------------------------------------------------- who is let in


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"origin": "https://127.0.0.1"},
    {"host": "evil.example"},
    {"host": "evil.example:6333"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "evil.example", "origin": "http://evil.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"x-forwarded-for": "192.0.2.1"},
    {"forwarded": "for=192.0.2.1"},
]


async def test_what_a_page_or_a_proxy_sends_is_refused(doors: Doors) -> None:
    url = f"http://127.0.0.1:{doors.local_port}/"
    for headers, verb in itertools.product(FOREIGN, ("POST", "OPTIONS", "GET")):
        sent = headers | {"content-type": "text/plain"}
        response = await doors.http.request(verb, url, headers=sent, content=json.dumps(STATUS))
        assert response.status_code == 403, headers
        assert "access-control-allow-origin" not in response.headers
        assert response.json()["error"]["code"] == -32600
        assert response.json()["id"] is None


async def test_programs_name_the_door_as_they_like(doors: Doors) -> None:
    url = f"http://127.0.0.1:{doors.local_port}/"
    for host in ("127.0.0.1", "127.0.0.1:6333", "localhost", "LOCALHOST:80", "[::1]:6333"):
        for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
            response = await doors.http.post(url, headers=headers, json=STATUS)
            told = response.json()["error"]["message"]
            assert told == "aa_address not known", "some clients name the door as their origin"


async def test_no_page_can_open_a_socket(doors: Doors) -> None:
    url = f"ws://127.0.0.1:{doors.local_port}/"
    for headers in ({"origin": "https://evil.example"}, {"origin": "http://localhost:3000"}):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=headers, proxy=None):
                pass
        assert refused.value.response.status_code == 403
    async with connect(url, additional_headers={"origin": f"http://127.0.0.1:{doors.local_port}"}, proxy=None) as own:
        assert (await Socket(own).call("getBalancesAndStatus", NOWHERE))["error"] == "aa_address not known"


async def test_the_fronts_own_port_does_not_do_without_a_key(doors: Doors) -> None:
    for path in ("/", "/rpc"):
        response = await doors.http.post(f"http://127.0.0.1:{doors.port}{path}", json=STATUS)
        assert response.status_code in (401, 404, 405)


async def test_the_rest_of_the_front_is_not_on_this_port(doors: Doors) -> None:
    response = await doors.http.get(f"http://127.0.0.1:{doors.local_port}/healthz")
    assert response.json()["error"]["message"] == "Invalid Request"


def test_the_door_is_on_loopback_and_on_a_port_of_its_own(settings: Settings) -> None:
    binds = gunicorn_options(settings, local_rpc_port=6333)["bind"]
    assert [bind for bind in binds if bind.endswith(":6333")] == ["127.0.0.1:6333"]
    assert not any("6333" in bind for bind in gunicorn_options(settings)["bind"])
    for taken in ("0.0.0.0:6333", "127.0.0.1:6333", "[::]:6333"):
        with pytest.raises(ListenersError):
            gunicorn_options(settings, binds=[taken], local_rpc_port=6333)


def test_beside_listeners_that_are_handed_over_the_door_is_opened_too(settings: Settings) -> None:
    [port] = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as given:
        binds = gunicorn_options(settings, binds=[f"fd://{given.fileno()}"], local_rpc_port=port)["bind"]
        assert binds[0] == f"fd://{given.fileno()}"
        with socket.socket(fileno=int(binds[1].removeprefix("fd://"))) as door:
            assert door.getsockname() == ("127.0.0.1", port)
            with pytest.raises(ListenersError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
                gunicorn_options(settings, binds=["fd://3"], local_rpc_port=port)
    with pytest.raises(ListenersError, match="opens no address beside"):
        gunicorn_options(settings, binds=["fd://3", "127.0.0.1:6800"])


def test_the_secret_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    secret = read_or_make(tmp_path / "home")
    assert read_or_make(tmp_path / "home") == secret
    assert ((tmp_path / "home" / "rpc.key").stat().st_mode & 0o777) == 0o600
    (tmp_path / "home" / "rpc.key").write_text("short")
    with pytest.raises(ReaderKeyError):
        read_or_make(tmp_path / "home")
    with pytest.raises(ReaderKeyError):
        read_or_make(tmp_path / "home" / "rpc.key")


# -------------------------------------------------------------------------------------------------- bad arguments


BAD: list[tuple[str, list[Any], tuple[str, str | None]]] = [
    ("getBalancesAndStatus", ["nonsense"], UNKNOWN),
    ("getBalancesAndStatus", [5], UNKNOWN),
    ("getBalancesAndStatus", [], ("getBalancesAndStatus takes (aa_address)", "bad_params")),
    ("getBalancesAndStatus", [NOWHERE, 1], ("getBalancesAndStatus takes (aa_address)", "bad_params")),
    ("deposit", [NOWHERE, 20_000], ("unknown channel", "unknown_channel")),
    ("deposit", [NOWHERE, "20000"], ("amount must be positive integer", "bad_params")),
    ("deposit", [NOWHERE, 0.5], ("amount must be positive integer", "bad_params")),
    ("deposit", [NOWHERE, True], ("amount must be positive integer", "bad_params")),
    ("sendMessageAndPay", [NOWHERE, "hi", 5], ("AA address not found", "unknown_channel")),
    ("sendMessageAndPay", [NOWHERE, "hi", -5], ("payment_amount must be a positive integer", "bad_params")),
    ("createPaymentPackage", [5, NOWHERE], ("AA address not found", "unknown_channel")),
    ("createPaymentPackage", [None, NOWHERE], ("payment_amount must be a positive integer", "bad_params")),
    ("close", [NOWHERE], UNKNOWN),
    ("sweep", [NOWHERE], ("unknown AA address", "unknown_channel")),
    ("setAutoRefill", [NOWHERE, 20_000, 5], UNKNOWN),
    ("verifyPaymentPackage", ["x"], ("not an object", "bad_params")),
    ("createNewChannel", [5, 20_000, {}], ("peer must be string", "bad_params")),
    ("createNewChannel", ["x", 0, {}], ("amount must be positive integer", "bad_params")),
    ("createNewChannel", ["x", 10_000, {}], ("initial_amount must be > 1e4", "bad_params")),
    ("createNewChannel", ["x", 20_000, {"timeout": 1.5}], ("timeout must be a positive integer", "bad_params")),
    ("createNewChannel", ["x", 20_000, {"asset": "x"}], ("asset is not valid", "bad_params")),
    ("createNewChannel", ["x", 20_000, {"salt": "x" * 51}], ("Salt must be 50 char max", "bad_params")),
    (
        "createNewChannel",
        ["x", 20_000, {"auto_refill_amount": 10_000}],
        ("auto_refill_amount must be superior to 1e4", "bad_params"),
    ),
    ("createNewChannel", ["x", 20_000, {}], ("no peer address nor way to contact peer", "bad_params")),
    ("getChannelsForPeer", [5], ("peer must be a string", "bad_params")),
    ("getChannelsForPeer", [NOWHERE, "x"], ("invalid asset", "bad_params")),
    ("getChannelsForPeer", ["x"], ("peer should be a pairing address, an url or a peer address", "bad_params")),
    (
        "getChannelsForPeer",
        ["http://127.0.0.1:1"],
        ("no channel opened with this peer url for this asset", "unknown_channel"),
    ),
    ("getCommand", [7], ("there is no command with this number", "unknown_command")),
    ("setMaxUnconfirmedByAsset", ["base", 1], ('Unknown RPC call "setMaxUnconfirmedByAsset"', None)),
]


async def test_bad_calls_are_told_in_the_references_words(doors: Doors, database_url: str) -> None:
    for method, params, told in BAD:
        assert await doors.refusal(method, *params) == told, (method, params)
    assert await count_of_commands(database_url) == 0


async def test_packages_are_credited_once(doors: Doors, open_payer: Payer) -> None:
    package = open_payer.package(700, 700)
    assert await doors.result("verifyPaymentPackage", package) == [700, "base", open_payer.channel]
    again = (await doors.call("verifyPaymentPackage", package))["error"]
    assert again["message"] == "Payment amount is over your available credit."
    assert (again["data"]["code"], again["data"]["amount"], again["data"]["duplicate"]) == ("duplicate", 700, True)
    as_object = {"jsonrpc": "2.0", "id": 1, "method": "verifyPaymentPackage", "params": open_payer.package(800, 100)}
    assert (await doors.post(as_object)).json()["result"] == [100, "base", open_payer.channel]
    for package, text in (
        (open_payer.package(800, 500), "Payment amount is over your available credit."),
        (open_payer.package(9_000_000, 1), "AA not funded enough."),
        (open_payer.package(900, 1, period=2), "wrong period"),
    ):
        assert (await doors.refusal("verifyPaymentPackage", package))[0] == text
    status = await doors.result("getBalancesAndStatus", open_payer.channel)
    assert status["amount_spent_by_peer"] == 800
    assert status["free_amount"] == 800
    assert await doors.result("getChannelsForPeer", open_payer.address) == [open_payer.channel]


# ------------------------------------------------------------------------------------------------ once, and in time


async def test_a_call_that_takes_too_long_names_its_command_and_is_the_same_under_its_key(
    doors: Doors, open_payer: Payer, database_url: str
) -> None:
    doors.app.state.rpc._wait_s = 0.1
    error = (await doors.call("sendMessageAndPay", open_payer.channel, "hi", 5, idempotency_key="order-7"))["error"]
    number = error["data"]["command_id"]
    assert error["message"] == f"no response from peer yet: command {number} goes on, see getCommand({number})"
    assert error["data"]["code"] == "in_progress"
    again = (await doors.call("sendMessageAndPay", open_payer.channel, "hi", 5, idempotency_key="order-7"))["error"]
    assert again == error
    async with doors.socket() as ws:
        over_ws = await ws.call("sendMessageAndPay", open_payer.channel, "hi", 5, idempotency_key="order-7")
        assert over_ws["error"] == error["message"]
    assert await count_of_commands(database_url) == 1
    shown = await doors.result("getCommand", number)
    assert (shown["id"], shown["kind"], shown["state"]) == (number, "pay", "queued")

    other = await doors.refusal("sendMessageAndPay", open_payer.channel, "hi", 6, idempotency_key="order-7")
    assert other[1] == "idempotency_key_reused"
    assert (await doors.refusal("close", open_payer.channel, idempotency_key="x" * 256))[1] == "invalid_idempotency_key"
    await doors.call("sendMessageAndPay", open_payer.channel, "hi", 5)
    assert await count_of_commands(database_url) == 2, "without a key each call is another one"


async def test_a_front_that_stops_waits_no_more(doors: Doors, open_payer: Payer) -> None:
    waiting = asyncio.create_task(doors.call("close", open_payer.channel))
    async with asyncio.timeout(BOUND_S):
        while not doors.app.state.rpc._calls:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    doors.app.state.rpc.end()
    async with asyncio.timeout(5):
        assert (await waiting)["error"]["data"]["code"] == "in_progress"


async def test_a_package_is_handed_over_again_after_the_front_was_started_anew(world: World, tmp_path: Path) -> None:
    settings = Settings(database_url=world.database_url, home=tmp_path)
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        async with doors_of(settings) as doors:
            first = await doors.result("createPaymentPackage", 1_000, peer.channel, idempotency_key="p")
        async with doors_of(settings) as doors:
            again = await doors.result("createPaymentPackage", 1_000, peer.channel, idempotency_key="p")
            [number] = [command["id"] for command in [await doors.result("getCommand", 1)]]
            shown = await doors.result("getCommand", number)
        async with doors_of(settings.model_copy(update={"home": tmp_path / "elsewhere"})) as other:
            hidden = await other.result("getCommand", number)
    assert first == again
    assert first[1:] == [None, None], "nobody has said where this peer is reached"
    assert shown["result"]["package"] == first[0]
    assert hidden["result"]["package"] is None
    signature = first[0]["authors"][0]["authentifiers"]["r"]
    rows = await all_rows(world.database_url)
    assert [table for table, found in rows.items() if any(signature in row for row in found)] == ["sent_payments"]


async def test_a_lost_answer_costs_nothing_twice(world: World, tmp_path: Path) -> None:
    async with (
        world.running(),
        doors_of(Settings(database_url=world.database_url, home=tmp_path)) as doors,
        listening(Receiver(KeyPair(bytes([42]) * 32))) as receiver,
    ):
        aa_address = await doors.result("createNewChannel", receiver.url, 1_000_000, {}, idempotency_key="open")
        again = await doors.result("createNewChannel", receiver.url, 1_000_000, {}, idempotency_key="open")
        pay = ("sendMessageAndPay", aa_address, {"order": 7}, 700)
        one, two = await asyncio.gather(*(doors.result(*pay, idempotency_key="pay") for _ in range(2)))
        assert (again, one, two) == (aa_address, "received 700", "received 700")
        assert receiver.total == 700
        assert receiver.commands.count("pay") == 1

        owner = KeyPair(bytes([43]) * 32).address
        bare = await doors.result("createNewChannel", owner, 20_001, {"salt": "s", "timeout": 1_000.0})
        assert await doors.result("getChannelsForPeer", owner) == [bare]
        async with world.database.connection() as conn:
            stored = (await channels.find(conn, [bare]))[bare]
        assert (stored.salt, stored.channel.timeout_s) == ("s", 1_000)
        assert stored.channel.version == "1.1", "every owner of an address knows that one"


# ---------------------------------------------------------------------------------------------------------- sockets


async def test_events_of_the_reference_come_to_each_client_and_no_others(
    doors: Doors, open_payer: Payer, worker: Worker
) -> None:
    async with doors.socket() as one, doors.socket() as other:
        async with worker.database.transaction() as conn:
            await alarms.put(conn, AlarmKind.HUB_AWAY, "hub", {})
        package = open_payer.package(700, 700)
        await doors.http.post(
            f"http://127.0.0.1:{doors.port}/post",
            json={"command": "pay", "params": {"signed_package": package, "message": {"order": 7}}},
        )
        for ws in (one, other):
            frame = json.loads(await asyncio.wait_for(ws.websocket.recv(), BOUND_S))
            assert frame == {"event": "payment_received", "data": [700, "base", {"order": 7}, open_payer.channel]}


async def test_sockets_are_limited_in_number(doors: Doors) -> None:
    doors.app.state.rpc_places = Places(1)
    async with doors.socket():
        with pytest.raises(InvalidStatus) as refused:
            async with doors.socket():
                pass
        assert refused.value.response.status_code == 503


async def test_an_endless_text_ends_the_socket(doors: Doors) -> None:
    async with doors.socket() as ws:
        for _ in range(3):
            await ws.websocket.send('["' + "x" * 40_000)
        with pytest.raises(ConnectionClosed) as closed:
            await ws.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_calls_of_a_socket_are_carried_out_a_few_at_a_time(
    doors: Doors, open_payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_IN_FLIGHT", 2)
    doors.app.state.rpc._wait_s = 0.5
    async with doors.socket() as ws:
        for number in range(6):
            call = {"jsonrpc": "2.0", "id": number, "method": "close", "params": [open_payer.channel]}
            await ws.websocket.send(json.dumps(call))
        most = 0
        while len(ws.answers) < 6:
            most = max(most, doors.app.state.rpc._calls)
            await ws.hear()
    assert 0 < most <= 2


async def test_what_was_ordered_is_ordered_though_the_caller_hangs_up(
    doors: Doors, open_payer: Payer, database_url: str
) -> None:
    doors.app.state.rpc._wait_s = 0.1
    async with doors.socket() as ws:
        call = {"jsonrpc": "2.0", "id": 1, "method": "close", "params": [open_payer.channel]}
        await ws.websocket.send(json.dumps(call))
    async with asyncio.timeout(BOUND_S):
        while not await count_of_commands(database_url):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_who_takes_nothing_is_cut_off(doors: Doors, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SEND_S", 0.2)
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", doors.local_port))
        await loop.sock_sendall(deaf, HANDSHAKE)
        assert (await loop.sock_recv(deaf, 12)) == b"HTTP/1.1 101"
        large = NewEvent(EventKind.CHANNEL_CREATED_BY_PEER, NOWHERE, {"peer_address": "x" * 100_000})
        async with worker.database.transaction() as conn:
            for _ in range(100):
                await events.add(conn, large)
        async with asyncio.timeout(BOUND_S):
            while doors.app.state.rpc_places._free < sockets.MAX_SOCKETS:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
