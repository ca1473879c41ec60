from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from shared.webhooks.addresses import AddressGuard
from shared.webhooks.calling import Caller, Limits
from shared.webhooks.errors import (
    CallTimeoutError,
    ForbiddenAddressError,
    InvalidUrlError,
    UnknownHostError,
    UnreachableError,
)
from tests.http_servers import LOOPBACK, Asked, certificate, http_server, reply

if TYPE_CHECKING:
    from pathlib import Path

    from shared.webhooks.calling import Reply

NAME = "shop.example"


class Names:
    """A resolver that says what a test tells it, and counts how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def __call__(self, _: str) -> list[str]:
        self.asked += 1
        return list(self.addresses)


async def _post(url: str, *, networks: tuple[str, ...] = LOOPBACK, **limits: float) -> Reply:
    async with Caller(AddressGuard(networks)) as caller:
        return await caller.post(url, b"{}", {}, Limits(**limits))  # type: ignore[arg-type]


async def test_a_call_says_what_it_was_given_and_returns_the_answer() -> None:
    async with http_server(reply(b"done", 201, "X-Mood: fine")) as server, Caller(AddressGuard(LOOPBACK)) as caller:
        answer = await caller.post(f"{server.url}?a=b", b"[1]", {"content-type": "application/json"})
    [asked] = server.asked
    assert (asked.line, asked.body) == ("POST /answer?a=b HTTP/1.1", b"[1]")
    assert (asked.headers["host"], asked.headers["content-type"]) == (f"127.0.0.1:{server.port}", "application/json")
    assert (answer.status, answer.body, answer.headers["x-mood"]) == (201, b"done", "fine")
    assert answer.is_success
    assert not answer.is_cut


async def test_without_the_setting_loopback_is_never_connected_to(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate(tmp_path, "localhost"))
    async with http_server(reply(), context) as server:
        for host in ["127.0.0.1", "localhost", "[::1]"]:
            with pytest.raises(ForbiddenAddressError):
                await _post(f"https://{host}:{server.port}/", networks=())
    assert server.connections == 0
    with pytest.raises(InvalidUrlError):
        await _post(server.url, networks=())


async def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_asked_once() -> None:
    names = Names("127.0.0.1")
    async with http_server(reply()) as server, Caller(AddressGuard(LOOPBACK, names)) as caller:
        await caller.post(f"http://{NAME}:{server.port}/", b"", {})
    assert names.asked == 1
    assert server.asked[0].headers["host"] == f"{NAME}:{server.port}"


async def test_a_name_that_leads_elsewhere_a_moment_later_is_refused_there() -> None:
    names = Names("127.0.0.1")
    closing = reply(b"", 200, "connection: close")
    async with http_server(closing) as server, Caller(AddressGuard(("127.0.0.1/32",), names)) as caller:
        url = f"http://{NAME}:{server.port}/"
        assert (await caller.post(url, b"", {})).status == 200
        for address in ["127.0.0.2", "169.254.169.254", "::ffff:127.0.0.2"]:
            names.addresses = ["127.0.0.1", address]
            with pytest.raises(ForbiddenAddressError):
                await caller.post(url, b"", {})
        names.addresses = []
        with pytest.raises(UnknownHostError):
            await caller.post(url, b"", {})
    assert server.connections == 1


async def test_a_connection_is_kept_for_the_next_call() -> None:
    names = Names("127.0.0.1")
    async with http_server(reply()) as server, Caller(AddressGuard(LOOPBACK, names)) as caller:
        for _ in range(3):
            await caller.post(f"http://{NAME}:{server.port}/", b"", {})
    assert (server.connections, names.asked) == (1, 1)


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with http_server(reply()) as server:
        guard = AddressGuard(LOOPBACK, Names("127.0.0.77", "127.0.0.1"))
        async with Caller(guard) as caller:
            assert (await caller.post(f"http://{NAME}:{server.port}/", b"", {})).status == 200


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with http_server(reply(b"")) as other, http_server(reply(b"", 307, f"location: {other.url}")) as server:
        assert (await _post(server.url)).status == 307
    assert other.connections == 0


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_server(reply(b"proxy")) as proxy, http_server(reply(b"direct")) as server:
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await _post(server.url)).body == b"direct"
    assert proxy.connections == 0


async def test_a_long_answer_is_cut_and_its_rest_is_not_read() -> None:
    async def endless(_: Asked) -> bytes:
        return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"

    async with http_server(endless) as server:
        answer = await _post(server.url, max_bytes=100)
    assert (answer.body, answer.is_cut) == (b"x" * 100, True)


async def test_what_is_packed_is_not_unpacked() -> None:
    async with http_server(reply(b"\x1f\x8b", 200, "content-encoding: gzip")) as server:
        assert (await _post(server.url)).body == b"\x1f\x8b"
    assert "accept-encoding" not in server.asked[0].headers


async def test_an_answer_that_comes_drop_by_drop_ends_with_the_time() -> None:
    async def dripping(asked: Asked) -> bytes:
        asked.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            asked.writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)

    async with http_server(dripping) as server:
        with pytest.raises(CallTimeoutError):
            await _post(server.url, total_s=0.2, read_s=3600)


async def test_silence_ends_with_the_time_for_reading() -> None:
    async def silent(_: Asked) -> bytes:
        await asyncio.sleep(3600)
        return reply()

    async with http_server(silent) as server:
        with pytest.raises(CallTimeoutError):
            await _post(server.url, total_s=3600, read_s=0.05)


async def test_looking_a_name_up_is_part_of_the_time() -> None:
    async def never(_: str) -> list[str]:
        await asyncio.sleep(3600)
        return []

    async with Caller(AddressGuard(LOOPBACK, never)) as caller:
        with pytest.raises(CallTimeoutError):
            await caller.post(f"https://{NAME}/", b"", {}, Limits(connect_s=0.05, total_s=3600))


@pytest.mark.parametrize("said", [b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
async def test_what_is_no_http_is_no_answer(said: bytes) -> None:
    async with http_server(said) as server:
        with pytest.raises(UnreachableError):
            await _post(server.url)


async def test_an_endless_head_is_no_answer() -> None:
    async def endless(asked: Asked) -> bytes:
        asked.writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            asked.writer.write(b"x-more: " + b"x" * 4_000 + b"\r\n")
            await asked.writer.drain()

    async with http_server(endless) as server:
        with pytest.raises(UnreachableError):
            await _post(server.url, total_s=3_600)


async def test_answers_that_only_say_to_wait_are_not_the_answer() -> None:
    waiting = b"HTTP/1.1 103 Early Hints\r\nx-early: yes\r\n\r\n"
    async with http_server(waiting * 2 + reply(b"done", 201)) as server:
        answer = await _post(server.url)
    assert (answer.status, answer.body) == (201, b"done")
    assert "x-early" not in answer.headers


@pytest.mark.parametrize(
    ("head", "is_whole"), [(b"", True), (b"content-length: 10\r\n", False), (b"transfer-encoding: chunked\r\n", False)]
)
async def test_an_answer_ends_with_the_connection_only_if_nothing_else_says_where_it_ends(
    head: bytes, *, is_whole: bool
) -> None:
    async def hangs_up(asked: Asked) -> bytes:
        asked.writer.write(
            b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"abc" if b"chunked" not in head else b"3\r\nabc")
        )
        return b""

    async with http_server(hangs_up) as server:
        if is_whole:
            assert (await _post(server.url)).body == b"abc"
        else:
            with pytest.raises(UnreachableError):
                await _post(server.url)


async def test_what_comes_unasked_is_no_answer_to_the_next_call() -> None:
    async with http_server(reply(b"one") + reply(b"two")) as server, Caller(AddressGuard(LOOPBACK)) as caller:
        for _ in range(2):
            assert (await caller.post(server.url, b"", {})).body == b"one"
    assert server.connections == 2


async def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    async def hangs_up(asked: Asked) -> bytes:
        asked.writer.write(reply(b"done"))
        return b""

    async with http_server(hangs_up) as server, Caller(AddressGuard(LOOPBACK)) as caller:
        for _ in range(5):
            assert (await caller.post(server.url, b"", {})).status == 200
    assert server.connections == 5


async def test_no_more_calls_at_once_than_connections_and_the_others_wait_for_their_turn() -> None:
    async with http_server(reply()) as server, Caller(AddressGuard(LOOPBACK), max_connections=2) as caller:
        await asyncio.gather(*(caller.post(server.url, b"", {}) for _ in range(10)))
    assert server.connections == 2


async def test_a_header_is_one_line() -> None:
    async with Caller(AddressGuard(LOOPBACK)) as caller:
        with pytest.raises(ValueError, match="one line"):
            await caller.post("http://127.0.0.1:1024/", b"", {"a": "b\r\nc: d"})


async def test_a_port_where_nobody_listens_is_no_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnreachableError):
        await _post(f"http://127.0.0.1:{port}/")


async def test_the_certificate_must_be_for_the_name_although_the_address_is_dialled(tmp_path: Path) -> None:
    file = certificate(tmp_path, NAME)
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=file)
    serving.load_cert_chain(file)
    asked_for: list[str | None] = []
    serving.sni_callback = lambda _connection, name, _context: asked_for.append(name)
    guard = AddressGuard(LOOPBACK, Names("127.0.0.1"))
    async with http_server(reply(), serving) as server:
        async with Caller(guard, ssl_context=trusting) as caller:
            assert (await caller.post(f"https://{NAME}:{server.port}/", b"", {})).status == 200
            with pytest.raises(UnreachableError):
                await caller.post(f"https://other.example:{server.port}/", b"", {})
        async with Caller(guard) as stranger:
            with pytest.raises(UnreachableError):
                await stranger.post(f"https://{NAME}:{server.port}/", b"", {})
    assert asked_for == [NAME, "other.example", NAME]
