from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from shared.interledger.btp.frames import (
    ContentType,
    Entry,
    Error,
    Message,
    Response,
    Transfer,
    decode_frame,
    encode_frame,
)
from shared.interledger.btp.login import login_entries
from shared.interledger.btp_plugin import BtpPlugin, Surroundings
from shared.interledger.btp_plugin.link import FrameTooLargeError, Link
from shared.interledger.btp_plugin.workers import Workers
from shared.interledger.plugin.errors import (
    BtpError,
    InvalidFieldsError,
    NotAcceptedError,
    NotConnectedError,
    UnreachableError,
    WrongTypeError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import ServerConnection

SECRET = "shh_its_a_secret"
LISTENER = {"port": 0, "secret": SECRET}


class Waits:
    """What a client sleeps before it dials again; each sleep ends at once, or when a test says so."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        await asyncio.sleep(0)
        await self.goes_on.wait()


def surroundings(waits: Waits | None = None) -> Surroundings:
    return Surroundings(sleep=(waits or Waits()).sleep, random=lambda: 0.0)


def listener(**opts: Any) -> BtpPlugin:
    return BtpPlugin({"listener": LISTENER, "waitForPeer": False, **opts})


def client(port: int | None, token: str = SECRET, waits: Waits | None = None, **opts: Any) -> BtpPlugin:
    return BtpPlugin({"server": f"btp+ws://alice:{token}@127.0.0.1:{port}", **opts}, surroundings=surroundings(waits))


def events_of(plugin: BtpPlugin) -> list[str]:
    told: list[str] = []
    plugin.on("connect", lambda: told.append(f"connect {plugin.is_connected()}"))
    plugin.on("disconnect", lambda: told.append(f"disconnect {plugin.is_connected()}"))
    return told


async def happens(plugin: BtpPlugin, event: Any) -> None:
    told = asyncio.Event()
    plugin.once(event, told.set)
    await asyncio.wait_for(told.wait(), 5)


@asynccontextmanager
async def pair(**opts: Any) -> AsyncIterator[tuple[BtpPlugin, BtpPlugin]]:
    async with listener(**opts) as server, client(server.port) as dialler:
        yield server, dialler


@asynccontextmanager
async def fake_server(handle: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[int]:
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def stranger(port: int | None) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
        yield socket


def login(token: str = SECRET) -> bytes:
    return encode_frame(Message(7, login_entries("alice", token)))


async def echo(data: bytes) -> bytes:
    return b"re:" + data


# Options


@pytest.mark.parametrize(
    "opts",
    [
        {"server": "ws://localhost:1"},
        {"server": "btp+ws://a:b@localhost:1", "btpToken": "x"},
        {"server": "btp+::::"},
        {"server": 7},
        {"btpAuthFlags": ["x"]},
        {"btpAuthFlags": {"auth_token": "mine"}},
        {"btpAuthFlags": {"flag": object()}},
        {"listener": 7},
        {"listener": {"port": 1}},
        {"listener": {"port": 1, "secret": ""}},
        {"listener": {"port": True, "secret": "s"}},
        {"listener": {"port": 65_536, "secret": "s"}},
        {"listener": {"port": 1, "secret": "s", "allow": "10.0.0.0/8"}},
        {"listener": {"port": 1, "secret": "s", "ssl": "yes"}},
        {"responseTimeout": "35000"},
        {"responseTimeout": -1},
        {"responseTimeout": float("nan")},
        {"responseTimeout": True},
        {"reconnectIntervals": []},
        {"reconnectIntervals": [0, "x"]},
        {"waitForPeer": 0},
        {"waitForPeer": False, "wait_for_peer": True},
        {"maxStrangers": 0},
    ],
)
def test_options_that_are_wrong_are_refused_at_once_and_not_shown(opts: dict[str, Any]) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        BtpPlugin(opts)
    assert "localhost" not in str(refused.value)


def test_options_that_the_javascript_plugin_takes_are_taken() -> None:
    wsopts = {"port": 1, "host": "127.0.0.1"}
    BtpPlugin({"listener": {"port": 1, "secret": "s", "wsOpts": wsopts}, "server": "btp+ws://:x@localhost:1"})
    BtpPlugin({"reconnectInterval": 100, "response_timeout": 1, "_store": None, "anything": "else"})
    assert "hidden" not in repr(BtpPlugin({"server": "btp+ws://a:hidden@h:1"})._options)
    with pytest.raises(TypeError):
        BtpPlugin(None)  # type: ignore[arg-type]


async def test_without_server_and_listener_connecting_is_refused() -> None:
    with pytest.raises(InvalidFieldsError):
        await BtpPlugin({}).connect()


# Data


async def test_data_goes_both_ways_by_many_requests_at_once_in_both_spellings() -> None:
    async with pair() as (server, dialler):
        server.register_data_handler(echo)
        dialler.registerDataHandler(echo)  # type: ignore[attr-defined]
        asked = [plugin.send_data(b"%d" % number) for plugin in (server, dialler) for number in range(100)]
        assert await asyncio.gather(*asked) == [b"re:%d" % number for number in range(100)] * 2  # LPI-21, LPI-22
        assert await dialler.sendData(b"x") == b"re:x"  # type: ignore[attr-defined]
        assert server.isConnected()  # type: ignore[attr-defined]


async def test_a_handler_may_ask_back_over_the_same_plugin() -> None:
    async with pair() as (server, dialler):

        async def ask_back(data: bytes) -> bytes:
            return await server.send_data(data)

        server.register_data_handler(ask_back)
        dialler.register_data_handler(echo)
        assert await dialler.send_data(b"x") == b"re:x"  # LPI-22


async def test_what_no_handler_answers_is_refused_by_name() -> None:
    async with pair() as (server, dialler):
        with pytest.raises(BtpError) as refused:
            await dialler.send_data(b"x")  # LPI-11
        assert (refused.value.code, refused.value.name) == ("F00", "NotAcceptedError")

        async def refuse(_: bytes) -> bytes:
            raise UnreachableError("later")

        server.register_data_handler(refuse)
        with pytest.raises(BtpError) as refused:
            await dialler.send_data(b"x")
        assert (refused.value.code, refused.value.name) == ("T00", "UnreachableError")
        assert "later" in str(refused.value)


async def test_what_goes_wrong_in_a_handler_is_told_to_nobody() -> None:
    async with pair() as (server, dialler):

        async def break_down(_: bytes) -> bytes:
            raise RuntimeError("the password is swordfish")

        server.register_data_handler(break_down)
        with pytest.raises(BtpError) as refused:
            await dialler.send_data(b"x")
        assert "swordfish" not in str(refused.value)


async def test_a_reply_that_fits_into_no_frame_is_a_refusal() -> None:
    async with pair() as (server, dialler):

        async def long(_: bytes) -> bytes:
            return bytes(70_000)

        server.register_data_handler(long)
        with pytest.raises(BtpError):
            await dialler.send_data(b"x")
        with pytest.raises(FrameTooLargeError):
            await dialler.send_data(bytes(70_000))
        assert server.is_connected()


async def test_money_that_nothing_proves_is_refused_whoever_would_take_it() -> None:
    async with pair() as (server, dialler):
        taken: list[int] = []

        async def take(amount: int) -> None:
            taken.append(amount)

        server.register_money_handler(take)
        with pytest.raises(BtpError) as refused:
            await dialler.send_money(5)
        assert refused.value.code == "F00"
        assert taken == []


async def test_an_answer_that_does_not_come_in_time_is_given_up() -> None:
    async with listener() as server, client(server.port, responseTimeout=30) as dialler:
        going_on = asyncio.Event()

        async def wait(_: bytes) -> bytes:
            await going_on.wait()
            return b"late"

        server.register_data_handler(wait)
        with pytest.raises(UnreachableError, match="in time"):
            await dialler.send_data(b"x")  # BTP-19
        going_on.set()
        server.deregister_data_handler()
        server.register_data_handler(echo)
        assert await dialler.send_data(b"y") == b"re:y"  # the late one was ignored, LPI-26


async def test_the_peer_cannot_have_more_answered_at_a_time_than_the_bound_by_any_number_of_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pair() as (server, dialler):
        monkeypatch.setattr(server._workers, "_most", 2)
        going_on, begun = asyncio.Event(), asyncio.Queue[None]()

        async def wait(_: bytes) -> bytes:
            begun.put_nowait(None)
            await going_on.wait()
            return b""

        server.register_data_handler(wait)
        first = [asyncio.create_task(dialler.send_data(b"x")) for _ in range(2)]
        for _ in first:
            await begun.get()
        with pytest.raises(BtpError) as refused:
            await dialler.send_data(b"y")
        assert refused.value.code == "T00"  # LPI-22
        going_on.set()
        assert await asyncio.gather(*first) == [b"", b""]


# Coming and going


async def test_connecting_and_disconnecting_are_told_in_turn_and_can_be_repeated() -> None:
    async with listener() as server:
        dialler = client(server.port)
        told = events_of(dialler)
        for _ in range(2):
            await dialler.connect()
            await dialler.disconnect()
            with pytest.raises(NotConnectedError):
                await dialler.send_data(b"x")  # LPI-25
        assert told == ["connect True", "disconnect False"] * 2  # LPI-5, LPI-17


async def test_a_listener_waits_for_its_peer_unless_it_is_told_not_to() -> None:
    async with listener() as free:
        port = free.port
        assert not free.is_connected()  # LPI-20: listening is not being connected
        await free.connect()  # and listening already is no fault
    waiting = BtpPlugin({"listener": {**LISTENER, "port": port}})
    coming = asyncio.create_task(waiting.connect())
    # While there is no peer the client dials again and again; the listener is not ready before that succeeds.
    async with client(port) as dialler:
        await coming  # LPI-19
        assert waiting.is_connected()
        assert dialler.is_connected()
        await waiting.disconnect()


async def test_a_listener_without_a_peer_says_so_after_the_time_that_it_was_given() -> None:
    plugin = BtpPlugin({"listener": LISTENER})
    with pytest.raises(UnreachableError):
        await plugin.connect({"timeout": 20})
    assert plugin.port is None


async def test_a_port_that_is_taken_is_an_error_of_connecting_and_leaves_nothing_behind() -> None:
    async with listener() as first:
        second = listener(listener={**LISTENER, "port": first.port})
        with pytest.raises(UnreachableError):
            await second.connect()
        assert second.port is None
    await second.connect()  # it is free now
    await second.disconnect()


async def test_a_listener_can_be_stopped_while_it_waits_and_started_again() -> None:
    plugin = listener()
    for _ in range(2):
        await plugin.connect()
        assert plugin.port
        await plugin.disconnect()
        assert plugin.port is None


async def test_wrong_credentials_are_raised_at_once_and_nobody_dials_again() -> None:
    waits = Waits()
    async with listener() as server:
        told = events_of(server)
        dialler = client(server.port, "wrong", waits)
        with pytest.raises(NotAcceptedError):
            await dialler.connect()  # LPI-19
        assert waits.waits == []
        assert told == []


async def test_a_server_that_says_nothing_to_a_login_is_given_up() -> None:
    async def mute(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with fake_server(mute) as port:
        with pytest.raises(UnreachableError):
            await client(port, responseTimeout=30).connect()  # BTP-13


async def test_a_server_that_only_closes_has_refused_but_not_one_that_goes_away() -> None:
    codes = iter((1001, 1008))

    async def close(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close(next(codes))

    waits = Waits()
    async with fake_server(close) as port:
        with pytest.raises(NotAcceptedError):
            await client(port, waits=waits).connect()
    assert len(waits.waits) == 1


async def test_a_login_refused_for_now_is_tried_again() -> None:
    answers = iter((Error(0, "T00", "UnreachableError", Surroundings().utc(), "later"), Response(0)))

    async def answer(socket: ServerConnection) -> None:
        request_id = decode_frame(bytes(await socket.recv())).request_id  # type: ignore[arg-type]
        await socket.send(encode_frame(type(found := next(answers))(request_id, *_rest(found))))
        await socket.wait_closed()

    waits = Waits()
    async with fake_server(answer) as port, client(port, waits=waits, responseTimeout=1_000):
        assert len(waits.waits) == 1


def _rest(frame: Any) -> tuple[Any, ...]:
    return (frame.code, frame.name, frame.triggered_at, frame.data) if isinstance(frame, Error) else ()


async def test_a_redirect_does_not_get_our_token() -> None:
    got: list[bytes] = []

    async def take(connected: ServerConnection) -> None:
        got.append(bytes(await connected.recv()))  # type: ignore[arg-type]

    async with fake_server(take) as port:

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % port)
            await writer.drain()
            writer.close()

        http = await asyncio.start_server(redirect, "127.0.0.1", 0)
        with pytest.raises(UnreachableError):
            await client(http.sockets[0].getsockname()[1], waits=_Endless()).connect({"timeout": 50})
        http.close()
        await http.wait_closed()
    assert got == []


class _Endless(Waits):
    async def sleep(self, wait_s: float) -> None:
        await asyncio.Event().wait()


async def test_a_lost_connection_is_made_again_with_waits_that_grow_and_what_was_asked_fails() -> None:
    waits = Waits()
    waits.goes_on.clear()
    server = listener()
    await server.connect()
    port = server.port

    server.register_data_handler(_never)
    async with client(port, waits=waits) as dialler:
        told = events_of(dialler)
        asked = asyncio.create_task(dialler.send_data(b"x"))
        await asyncio.sleep(0)
        lost = asyncio.create_task(happens(dialler, "disconnect"))
        await asyncio.sleep(0)
        await server.disconnect()
        await lost
        with pytest.raises(UnreachableError):
            await asked
        assert not dialler.is_connected()
        waits.goes_on.set()
        while len(waits.waits) < 4:  # noqa: ASYNC110 - these sleeps end at once
            await asyncio.sleep(0)
        again = BtpPlugin({"listener": {**LISTENER, "port": port}})
        await again.connect()
        await dialler.connect()
        again.register_data_handler(echo)
        assert await dialler.send_data(b"y") == b"re:y"
        await again.disconnect()
    assert waits.waits[:4] == [0.0, 0.1, 0.5, 1.0]
    assert told[:2] == ["disconnect False", "connect True"]


async def test_the_newest_connection_of_a_peer_is_used_and_the_one_before_closed() -> None:
    async with listener() as server, stranger(server.port) as old, stranger(server.port) as new:
        told = events_of(server)
        await old.send(login())
        await old.recv()
        asked = asyncio.create_task(server.send_data(b"x"))
        await old.recv()
        await new.send(login())
        assert decode_frame(bytes(await new.recv())) == Response(7)  # type: ignore[arg-type]
        with pytest.raises(UnreachableError):
            await asked
        with pytest.raises(ConnectionClosed):
            await old.recv()
        assert old.close_code == 4001  # BTP-12
        assert told == ["connect True"]
        asked = asyncio.create_task(server.send_data(b"y"))
        frame = decode_frame(bytes(await new.recv()))  # type: ignore[arg-type]
        await new.send(encode_frame(Response(frame.request_id, (Entry("ilp", ContentType.OCTETS, b"z"),))))
        assert await asked == b"z"


async def test_client_and_listener_in_one_use_the_connection_that_the_client_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.interledger.plugin.connecting.GRACE_S", 0.01)
    async with listener() as elsewhere:
        elsewhere.register_data_handler(echo)
        both = BtpPlugin(
            {"listener": LISTENER, "server": f"btp+ws://:{SECRET}@127.0.0.1:{elsewhere.port}"},
            surroundings=surroundings(_Endless()),
        )
        async with both, client(both.port) as guest:
            guest.register_data_handler(lambda _: _later(b"guest"))
            assert await both.send_data(b"x") == b"re:x"
            told = events_of(both)
            elsewhere.deregister_data_handler()
            elsewhere.register_data_handler(_never)
            asked = asyncio.create_task(both.send_data(b"x"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            both._link().socket.transport.abort()
            with pytest.raises(UnreachableError):
                await asked
            while both._dialled:  # noqa: ASYNC110 - nobody is told, which is what is tested
                await asyncio.sleep(0)
            assert await both.send_data(b"x") == b"guest"
            assert told == []


async def _never(_: bytes) -> bytes:
    await asyncio.Event().wait()
    return b""


async def _later(data: bytes) -> bytes:
    return data


# Strangers, and peers that misbehave


async def test_strangers_disturb_nobody() -> None:
    async with pair() as (server, dialler):
        told = events_of(server)
        server.register_data_handler(echo)
        for bad in (login("wrong"), b"\x06nonsense", encode_frame(Transfer(1, 5)), "text"):
            async with stranger(server.port) as socket:
                await socket.send(bad)
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await socket.recv()
                assert socket.close_code in (1002, 1003, 1008)
        assert await dialler.send_data(b"x") == b"re:x"  # BTP-10
        assert told == []


async def test_a_stranger_that_says_nothing_is_closed() -> None:
    async with listener(loginTimeout=20) as server, stranger(server.port) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1008  # BTP-8


async def test_one_stranger_too_many_is_cut_off_and_who_has_logged_in_is_no_stranger() -> None:
    async with listener(maxStrangers=2) as server, client(server.port) as dialler:
        server.register_data_handler(echo)
        async with stranger(server.port), contextlib.AsyncExitStack() as stack:
            mute = await stack.enter_async_context(_tcp(server.port))
            with pytest.raises(OSError):  # noqa: PT011 - a reset, or an end of file before the handshake
                await _refused(server.port)
            assert await dialler.send_data(b"x") == b"re:x"
            mute.close()
            await mute.wait_closed()
            await _until_room(server.port)


async def test_strangers_of_one_address_are_fewer() -> None:
    async with listener(maxStrangersPerAddress=1) as server, stranger(server.port):
        with pytest.raises(OSError):  # noqa: PT011 - as above
            await _refused(server.port)


@asynccontextmanager
async def _tcp(port: int | None) -> AsyncIterator[asyncio.StreamWriter]:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    yield writer
    writer.close()


async def _refused(port: int | None) -> None:
    try:
        async with stranger(port):
            pass
    except OSError:
        raise
    except Exception as error:
        raise OSError from error


async def _until_room(port: int | None) -> None:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(OSError):
                return await _refused(port)
            await asyncio.sleep(0.001)


async def test_bad_frames_end_a_connection_and_the_client_comes_back() -> None:
    async def speak_nonsense(socket: ServerConnection) -> None:
        request_id = decode_frame(bytes(await socket.recv())).request_id  # type: ignore[arg-type]
        await socket.send(encode_frame(Response(request_id)))
        await socket.send(b"\x03\x00")
        await socket.wait_closed()
        codes.append(socket.close_code)

    codes: list[int | None] = []
    waits = _Endless()
    async with fake_server(speak_nonsense) as port:
        dialler = client(port, waits=waits)
        told = asyncio.create_task(happens(dialler, "disconnect"))
        await dialler.connect()
        await told
        await dialler.disconnect()
    assert codes == [1002]  # BTP-16


async def test_a_peer_that_answers_no_ping_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.interledger.btp_plugin.sockets.CLOSE_S", 0.01)
    async with listener(pingInterval=10) as server:
        raw = socket.create_connection(("127.0.0.1", server.port or 0))
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        lines = (
            "GET / HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "",
            "",
        )
        await loop.sock_sendall(raw, "\r\n".join(lines).encode())
        frame = login()
        lost = asyncio.create_task(happens(server, "disconnect"))
        await loop.sock_sendall(raw, bytes((0x82, 0x80 | len(frame), 0, 0, 0, 0)) + frame)
        await lost  # BTP-2
        raw.close()


async def test_a_peer_that_takes_nothing_is_cut_off() -> None:
    class Stuck:
        close_code = None

        def __init__(self) -> None:
            self.transport = self
            self.is_aborted = False

        async def send(self, _: bytes) -> None:
            await asyncio.Event().wait()

        def abort(self) -> None:
            self.is_aborted = True

    plugin = client(1, responseTimeout=10)
    stuck = Stuck()
    link = Link("client", stuck, plugin._owner)  # type: ignore[arg-type]
    await link.log_in(username="", token="", flags={})
    assert stuck.is_aborted


async def test_neither_tokens_nor_packets_reach_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listener() as server:
        server.register_data_handler(echo)
        with pytest.raises(NotAcceptedError):
            await client(server.port, "a_wrong_token").connect()
        async with client(server.port) as dialler:
            await dialler.send_data(b"a_packet")
    # The library would show the end of a long frame, and there the token is.
    for secret in (SECRET, "a_wrong_token", "a_packet", SECRET.encode()[-4:].hex(" ")):
        assert secret not in caplog.text  # LPI-14


async def test_ending_waits_for_a_reply_that_is_owed_but_stops_what_nobody_waits_for() -> None:
    async with listener() as server:
        dialler = client(server.port)
        await dialler.connect()
        begun, going_on = asyncio.Event(), asyncio.Event()

        async def wait(_: bytes) -> bytes:
            begun.set()
            await going_on.wait()
            return b"owed"

        dialler.register_data_handler(wait)
        asked = asyncio.create_task(server.send_data(b"x"))
        await begun.wait()
        ending = asyncio.create_task(dialler.disconnect())
        await asyncio.sleep(0)
        going_on.set()
        assert await asked == b"owed"  # LPI-27
        await ending


async def test_ending_gives_up_what_a_handler_does_not_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.interledger.plugin.connecting.GRACE_S", 0.01)
    begun, given_up = asyncio.Event(), asyncio.Event()

    async def work(_: bytes) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return b""

    async with pair() as (server, dialler):
        dialler.register_data_handler(work)
        asked = asyncio.create_task(server.send_data(b"x"))
        await begun.wait()
        await dialler.disconnect()
        assert given_up.is_set()  # LPI-27
        with pytest.raises(UnreachableError):
            await asked


async def test_who_is_cancelled_waits_no_longer_and_takes_up_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.interledger.plugin.connecting.GRACE_S", 0.01)
    async with pair() as (server, dialler):
        server.register_data_handler(_never)
        asked = asyncio.create_task(dialler.send_data(b"x"))
        while not server._workers._tasks:  # noqa: ASYNC110 - until the server has it
            await asyncio.sleep(0)
        assert dialler._link()._connection.next_deadline_s is not None
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        while dialler._link()._answers:  # noqa: ASYNC110 - until the request is over, too
            await asyncio.sleep(0)
        assert dialler._link()._connection.next_deadline_s is None  # LPI-26


async def test_workers_stop_whatever_they_do() -> None:
    workers = Workers(1)
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    workers.start(work())
    await begun.wait()
    assert not workers.has_room
    await workers.stop()
    assert workers.has_room


async def test_the_time_for_connecting_is_checked_for_listeners_too() -> None:
    with pytest.raises(WrongTypeError):
        await listener().connect({"timeout": "soon"})
