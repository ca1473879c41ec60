"""nginx on our templates before fronts of the test's own: what passes, what is changed on the way, what is repeated."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from infra.topology import EdgeError, Hands, Nginx, free_ports, render
from sluice.machine.account import Account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("needs_nginx")

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BOUND_S = 20


@dataclass
class StandIn:
    """A front that keeps what it was asked, and the connection unless it is asked to close it.

    `dies_at`: the path whose requests it takes, to hang up on them.
    """

    dies_at: str = ""
    heads: list[str] = field(default_factory=list)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-l")]
                await reader.readexactly(int(length[0]) if length else 0)
                if self.dies_at and f" {self.dies_at} " in head:
                    return
                writer.write(ANSWER)
                await writer.drain()
                if "close" in self.headers("connection"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def headers(self, name: str) -> list[str]:
        lines = [line.partition(": ") for line in self.heads[-1].splitlines()]
        return [value for key, _, value in lines if key.lower() == name]


@asynccontextmanager
async def edge(directory: Path, *fronts: StandIn, variables: Mapping[str, str] | None = None) -> AsyncIterator[Nginx]:
    servers = [await asyncio.start_server(front.serve, "127.0.0.1", 0) for front in fronts]
    for front, server in zip(fronts, servers, strict=True):
        front.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    hands, ports = Hands(), free_ports()
    addresses = [front.address for front in fronts] or [f"127.0.0.1:{next(ports)}"]
    nginx = Nginx(directory / "nginx", (next(ports), next(ports)), addresses, Account(), hands, variables=variables)
    try:
        await nginx.start()
        yield nginx
    finally:
        await nginx.stop()
        hands.close()
        for server in servers:
            server.close()


@asynccontextmanager
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=BOUND_S) as http:
        yield http


async def test_what_a_stranger_claims_about_his_address_ends_here(tmp_path: Path) -> None:
    front = StandIn()
    claims = {"X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
    async with edge(tmp_path, front) as nginx, client() as http:
        assert (await http.get(f"{nginx.url}v1/terms", headers=claims)).text == "ok"

    assert front.headers("x-forwarded-for") == ["127.0.0.1"]
    assert front.headers("x-real-ip") == ["127.0.0.1"]
    assert front.headers("forwarded") == []


async def test_a_payment_in_mid_request_is_passed_to_the_next_front(tmp_path: Path) -> None:
    for path in ("/post", "/v1/packages/verify"):
        fronts = StandIn(dies_at=path), StandIn(dies_at=path), StandIn()
        async with edge(tmp_path, *fronts) as nginx, client() as http:
            answers = [await http.post(f"{nginx.url}{path[1:]}", content=b"{}") for _ in range(3)]
        assert [answer.text for answer in answers] == ["ok"] * 3


async def test_an_order_in_mid_request_is_never_repeated(tmp_path: Path) -> None:
    path = "/v1/channels"
    fronts = StandIn(dies_at=path), StandIn(dies_at=path), StandIn(dies_at=path)
    async with edge(tmp_path, *fronts) as nginx, client() as http:
        answer = await http.post(f"{nginx.url}v1/channels", content=b"{}")

    assert sum(len(front.heads) for front in fronts) == 1
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "front_unavailable"


async def test_an_order_is_passed_to_another_front_when_this_one_does_not_listen(tmp_path: Path) -> None:
    front, ports = StandIn(), free_ports()
    dead = " ".join(f"server 127.0.0.1:{next(ports)};" for _ in range(2))
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0)
    lives = f"server 127.0.0.1:{server.sockets[0].getsockname()[1]};"
    async with edge(tmp_path, variables={"EDGE_FRONTS": f"{dead} {lives}"}) as nginx, client() as http:
        assert (await http.post(f"{nginx.url}v1/channels", content=b"{}")).text == "ok"
    server.close()


async def test_without_any_front_the_answer_is_a_problem_that_says_when_to_come_back(tmp_path: Path) -> None:
    async with edge(tmp_path) as nginx, client() as http:
        answer = await http.post(f"{nginx.url}post", content=b"{}")

    assert (answer.status_code, answer.json()["code"]) == (503, "front_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_no_front_sees_a_body_that_is_too_large(tmp_path: Path) -> None:
    front = StandIn()
    async with edge(tmp_path, front) as nginx, client() as http:
        assert (await http.post(f"{nginx.url}post", content=b"x" * 65_536)).text == "ok"
        answer = await http.post(f"{nginx.url}post", content=b"x" * 65_537)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert len(front.heads) == 1


@pytest.mark.parametrize("door", ["metrics", "healthz", "readyz"])
async def test_private_doors_are_shut_however_they_are_spelt(tmp_path: Path, door: str) -> None:
    front = StandIn()
    spellings = [
        door,
        f"/{door}",
        f"./{door}",
        f"v1/../{door}",
        f"%{ord(door[0]):02x}{door[1:]}",
        f"{door}/",
        f"{door}?a",
    ]
    async with edge(tmp_path, front) as nginx:
        port = int(nginx.url.rpartition(":")[2].strip("/"))
        for spelling in spellings:
            assert (await _status(port, f"/{spelling}")) == 404, spelling

    assert front.heads == []


async def test_who_asks_too_often_is_told_so(tmp_path: Path) -> None:
    strict = {"EDGE_REQUESTS_PER_S": "1", "EDGE_BURST": "2"}
    async with edge(tmp_path, StandIn(), variables=strict) as nginx, client() as http:
        answers = [await http.get(f"{nginx.url}v1/terms") for _ in range(6)]

    assert {answer.status_code for answer in answers[:2]} == {200}
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "rate_limited")
    assert answers[-1].headers["retry-after"] == "1"


async def test_the_log_tells_the_way_of_a_request_and_no_secret(tmp_path: Path) -> None:
    front = StandIn()
    secret = "sluice_a-key"
    async with edge(tmp_path, front) as nginx, client() as http:
        headers = {"Authorization": f"Bearer {secret}", "Referer": f"https://shop/{secret}", "User-Agent": secret}
        await http.post(f"{nginx.url}v1/channels?key={secret}", content=secret.encode(), headers=headers)
        await nginx.stop()
        logged = nginx.access_log.read_text()

    told = json.loads(logged)
    assert (told["method"], told["path"], told["status"], told["front"]) == ("POST", "/v1/channels", 200, front.address)
    assert secret not in logged


async def test_an_upgrade_reaches_the_front_and_nothing_else_of_the_connection_does(tmp_path: Path) -> None:
    front = StandIn()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with edge(tmp_path, front) as nginx, client() as http:
        for path in ("v1/events", "rpc", "moneysocket", "btp"):
            await http.get(f"{nginx.url}{path}", headers=upgrade)
            assert (front.headers("upgrade"), front.headers("connection")) == (["websocket"], ["upgrade"])
        await http.get(f"{nginx.url}v1/payments", headers=upgrade)
        assert (front.headers("upgrade"), front.headers("connection")) == ([], [])


async def test_connections_to_fronts_are_kept(tmp_path: Path) -> None:
    front, connections = StandIn(), 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await front.serve(reader, writer)

    server = await asyncio.start_server(counted, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    one = {"EDGE_FRONTS": f"server {address};"}
    async with edge(tmp_path, variables=one) as nginx, client() as http:
        for _ in range(20):
            await http.post(f"{nginx.url}post", content=b"{}")
    server.close()

    assert len(front.heads) == 20
    assert connections <= 4  # one for each process of nginx


async def test_tls_serves_the_same_doors_and_takes_no_weak_cipher(tmp_path: Path) -> None:
    async with edge(tmp_path, StandIn()) as nginx:
        trusted = ssl.create_default_context(cafile=str(nginx.certificate))
        trusted.check_hostname = False
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as http:
            answer = await http.get(f"{nginx.tls_url}v1/terms")
            assert (await http.get(f"{nginx.tls_url}healthz")).status_code == 404
        assert answer.text == "ok"
        assert answer.headers["strict-transport-security"].startswith("max-age=")

        trusted.maximum_version = ssl.TLSVersion.TLSv1_2
        trusted.set_ciphers("ECDHE-ECDSA-AES128-SHA256")  # without authenticated encryption
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"{nginx.tls_url}v1/terms")


async def test_without_tls_the_edge_of_production_only_says_where_to_go(tmp_path: Path) -> None:
    front = StandIn()
    async with edge(tmp_path, front, variables={"EDGE_HTTP_SERVES": "redirect"}) as nginx, client() as http:
        answer = await http.post(f"{nginx.url}post?a=b", content=b"{}")

    assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/post?a=b")
    assert front.heads == []


def test_a_variable_that_nobody_gave_is_told() -> None:
    with pytest.raises(EdgeError, match="needs EDGE_"):
        render({})


async def _status(port: int, target: str) -> int:
    """Ask for exactly this target: clients tidy paths up before they send them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])
