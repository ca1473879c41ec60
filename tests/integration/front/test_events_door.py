"""The stream of events over real sockets: server-sent events and WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from front import authentication
from front.app import create_app
from front.doors import events as door
from shared.receiving.errors import UnavailableError
from shared.store import alarms, events
from shared.store.alarms import AlarmKind
from shared.store.api_keys import Scope
from tests.receiving_support import Payer, administrator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from shared.settings import Settings
    from tests.receiving_support import Worker

BOUND_S = 15.0


class Running:
    """A front on a port, with a key to read and a channel to pay through."""

    def __init__(self, app: FastAPI, port: int, key: str, worker: Worker) -> None:
        self.app = app
        self.port = port
        self.headers = {"authorization": f"Bearer {key}"}
        self.worker = worker
        self.payer = Payer()
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=BOUND_S)

    async def pay(self, spent: int, **params: Any) -> None:
        command = {"command": "pay", "params": {"signed_package": self.payer.package(spent, 1), **params}}
        response = await self.http.post("/post", json=command)
        assert "error" not in response.json(), response.text

    async def raise_alarm(self, subject: str) -> None:
        async with self.worker.database.transaction() as conn:
            await alarms.put(conn, AlarmKind.HUB_AWAY, subject, {})

    @contextlib.asynccontextmanager
    async def follow(self, headers: dict[str, str] | None = None, **query: str) -> AsyncIterator[Frames]:
        sent = self.headers | (headers or {})
        async with self.http.stream("GET", "/v1/events", headers=sent, params=query) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield Frames(response)


class Frames:
    """Reads as a browser does: fields up to an empty line."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def raw(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(BOUND_S):
            async for line in self._lines:
                if not line:
                    self.last_id = fields.get("id", self.last_id)
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        raise EOFError

    async def next(self) -> dict[str, Any]:
        """The next event that a page would be given."""
        while "data" not in (fields := await self.raw()):
            pass
        told: dict[str, Any] = json.loads(fields["data"])
        assert fields["event"] == told.get("type", "end")
        assert fields.get("id") == told.get("id")
        return told


@pytest.fixture
async def running(settings: Settings, worker: Worker) -> AsyncIterator[Running]:
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - the server rings no bell
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    front = Running(app, port, await worker.make_key(Scope.READ), worker)
    await worker.open(front.payer)
    yield front
    app.state.feed.end()
    await front.http.aclose()
    server.should_exit = True
    await serving


async def test_payments_arrive_with_what_the_payer_said(running: Running) -> None:
    async with running.follow() as frames:
        assert (await frames.next())["type"] == "aa_channels_ready"
        await running.pay(1, message={"request": "a\nb"})
        told = await frames.next()
    assert told["type"] == "payment_received"
    assert told["aa_address"] == running.payer.channel
    assert told["data"]["message"] == {"request": "a\nb"}
    assert told["data"]["amount"] == 1


async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(running: Running) -> None:
    async with running.follow() as frames:
        await frames.next()
        await running.pay(1)
        first = await frames.next()
        last_id = frames.last_id
    for spent in (2, 3):
        await running.pay(spent)
    async with running.follow({"last-event-id": last_id}) as frames:
        ready = await frames.next()
        again = [await frames.next() for _ in range(2)]
    assert ready["id"] == first["id"]
    assert [event["data"]["amount_spent"] for event in again] == [2, 3]
    async with running.follow(after=again[0]["id"]) as frames:
        await frames.next()
        assert await frames.next() == again[1]


async def test_the_first_message_is_a_place_to_come_back_to(running: Running) -> None:
    async with running.follow() as frames:
        ready = await frames.next()
    await running.pay(1)
    async with running.follow({"last-event-id": ready["id"]}) as frames:
        await frames.next()
        assert (await frames.next())["type"] == "payment_received"


async def test_a_refusal_of_what_the_payer_signed_is_told_without_his_package(running: Running) -> None:
    async with running.follow() as frames:
        await frames.next()
        package = running.payer.package(2_000_000, 1)
        answer = await running.http.post("/post", json={"command": "pay", "params": {"signed_package": package}})
        told = await frames.next()
    assert told["type"] == "payment_refused"
    assert told["data"]["code"] == answer.json()["code"]
    assert package["authors"][0]["authentifiers"]["r"] not in json.dumps(told)


async def test_only_what_is_asked_for_is_sent(running: Running) -> None:
    other = Payer(salt="another")
    await running.worker.open(other)
    async with (
        running.follow(types="alarm_raised,alarm_cleared") as of_alarms,
        running.follow(aa_address=other.channel) as of_other,
    ):
        await of_alarms.next()
        await of_other.next()
        await running.pay(1)
        await running.raise_alarm("hub")
        running.payer = other
        await running.pay(1)
        assert (await of_alarms.next())["type"] == "alarm_raised"
        assert (await of_other.next())["aa_address"] == other.channel


async def test_in_silence_the_reader_hears_that_the_connection_lives(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HEARTBEAT_S", 0.2)
    async with running.follow(types="alarm_raised") as frames:
        ready = await frames.next()
        await running.pay(1)
        async with asyncio.timeout(BOUND_S):
            while frames.last_id == ready["id"]:
                assert "data" not in await frames.raw(), "what was not asked for moves the place, in silence"


async def test_a_revoked_key_ends_its_streams_and_sockets_at_once(running: Running, database_url: str) -> None:
    at, key = f"ws://127.0.0.1:{running.port}", running.headers
    await asyncio.wait_for(running.app.state.api_keys.news.until_current(), BOUND_S)
    async with (
        running.follow() as frames,
        connect(f"{at}/v1/events", additional_headers=key) as events_socket,
        connect(f"{at}/rpc", additional_headers=key) as rpc_socket,
    ):
        await frames.next()
        await events_socket.recv()
        async with administrator(database_url) as owner:
            await owner.execute("UPDATE api_keys SET revoked_at = now()")
        async with asyncio.timeout(authentication.RECHECK_S / 2):
            assert await frames.next() == {"code": "unauthorized"}
            for socket in (events_socket, rpc_socket):
                await socket.wait_closed()
                assert (socket.close_code, socket.close_reason) == (1008, "unauthorized")
        with pytest.raises(EOFError):
            await frames.next()


async def test_a_stream_goes_on_while_its_key_cannot_be_looked_at(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running.follow() as frames:
        await frames.next()
        asked = asyncio.Event()

        async def away(*_: Any) -> Any:
            asked.set()
            raise UnavailableError("database_unavailable", "away")

        monkeypatch.setattr(running.app.state.api_keys, "_checked", away)
        running.app.state.api_keys.forget(None)
        await asyncio.wait_for(asked.wait(), BOUND_S)
        for spent in range(1, 11):
            await running.pay(spent)
        told = [(await frames.next())["data"]["amount_spent"] for _ in range(10)]
    assert told == list(range(1, 11))


async def test_a_server_that_stops_ends_its_streams_in_order(running: Running) -> None:
    async with running.follow() as frames:
        await frames.next()
        running.app.state.feed.end()
        with pytest.raises(EOFError):
            await frames.next()
    response = await running.http.get("/v1/events", headers=running.headers)
    assert (response.status_code, response.json()["code"]) == (503, "stream_ended")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"after": "nonsense"}, 422, "invalid_cursor"),
        ({"after": "00000000-0"}, 410, "expired_cursor"),
        ({"types": "payment_received,nonsense"}, 422, "unknown_event_type"),
        ({"aa_address": "nonsense"}, 422, "invalid_aa_address"),
        ({"typos": "alarm_raised"}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_followed_is_refused(
    running: Running, query: dict[str, str], status: int, code: str
) -> None:
    response = await running.http.get("/v1/events", headers=running.headers, params=query)
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_the_stream_is_for_keys_with_the_scope_read(running: Running, worker: Worker) -> None:
    assert (await running.http.get("/v1/events")).status_code == 401
    headers = {"authorization": f"Bearer {await worker.make_key(Scope.RECEIVE)}"}
    assert (await running.http.get("/v1/events", headers=headers)).status_code == 403


async def test_a_reader_that_takes_nothing_is_cut_off_and_finds_everything_when_it_comes_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SEND_S", 0.3)
    async with running.follow() as frames:
        start = (await frames.next())["id"]
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1_024)
    key = running.headers["authorization"]
    writer.write(f"GET /v1/events?after={start} HTTP/1.1\r\nhost: front\r\nauthorization: {key}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    data = {"text": "x" * 60_000}
    for _ in range(20):
        async with running.worker.database.transaction() as conn:
            await events.add(conn, *[events.NewEvent(events.EventKind.CHANNEL_REFILLED, None, data)] * 10)
    async with asyncio.timeout(BOUND_S):
        while running.app.state.feed._followers:  # noqa: ASYNC110 - the front rings no bell
            await asyncio.sleep(0.02)
    writer.transport.abort()
    async with running.follow({"last-event-id": start}) as frames:
        await frames.next()
        told = [await frames.next() for _ in range(200)]
    assert all(event["data"] == data for event in told)


async def test_the_same_stream_over_a_websocket(running: Running) -> None:
    url = f"ws://127.0.0.1:{running.port}/v1/events"
    async with connect(url, additional_headers=running.headers) as socket:
        ready = json.loads(await socket.recv())
        assert ready["type"] == "aa_channels_ready"
        await socket.send("whatever a client says is not listened to")
        await running.pay(1)
        paid = json.loads(await asyncio.wait_for(socket.recv(), BOUND_S))
        assert paid["type"] == "payment_received"
    async with connect(f"{url}?after={ready['id']}", additional_headers=running.headers) as socket:
        await socket.recv()
        assert json.loads(await asyncio.wait_for(socket.recv(), BOUND_S)) == paid
        running.app.state.feed.end()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), BOUND_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "stream_ended")


@pytest.mark.parametrize(
    ("query", "with_key", "status"), [("", False, 401), ("?after=00000000-0", True, 410), ("?types=x", True, 422)]
)
async def test_a_websocket_is_refused_with_the_same_problems(
    running: Running, query: str, *, with_key: bool, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            f"ws://127.0.0.1:{running.port}/v1/events{query}",
            additional_headers=running.headers if with_key else {},
        ):
            pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"{}")["status"] == status
