"""The benchmark's client and its meters, against a server of a few lines."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from load_tests.bench.channels import _scattered
from load_tests.bench.client import Client, ClientError, Job, _Sending, request
from load_tests.bench.cpu import CpuMeter
from load_tests.bench.floors import Floors
from load_tests.bench.payers import BenchPayer, badly_signed
from shared.obyte.networks import DEVNET
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import verify_payment_package
from shared.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
ANSWERS = {b"good": [GOOD], b"busy": [BUSY], b"slow": [GOOD[:20], GOOD[20:]], b"gone": []}


class Server:
    """Answers each request by what its body asks for; `gone` hangs up."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heads: list[bytes] = []

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65_536):
                head, _, body = data.partition(b"\r\n\r\n")
                self.heads.append(head)
                if not (parts := ANSWERS[body]):
                    return
                for part in parts:
                    connection.sendall(part)
                    time.sleep(0.002 if len(parts) > 1 else 0)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve, daemon=True)
    thread.start()
    yield found
    found.listener.shutdown(socket.SHUT_RDWR)
    found.listener.close()
    thread.join(5)


def send(server: Server, bodies: list[bytes], **options: Any) -> Any:
    given = {"connections": 2, "expect": b"good", **options}
    sending = _Sending(Job([server.port], [request(body) for body in bodies], **given))
    try:
        return sending.run()
    finally:
        sending.close()


def test_each_answer_is_counted_once_by_what_it_was(server: Server) -> None:
    answers = send(server, [b"good", b"busy", b"slow", b"gone", b"good"])

    assert len(answers.good) == 3
    assert {status: len(found) for status, found in answers.other.items()} == {503: 1, 0: 1}
    assert answers.count == 5
    assert all(latency > 0 for latency in answers.good)


def test_an_answer_that_begins_with_something_else_is_not_a_good_one(server: Server) -> None:
    answers = send(server, [b"good"], expect=b"bad")

    assert len(answers.other[200]) == 1
    assert answers.example == b"good"


def test_requests_go_on_from_the_beginning_until_the_time_is_over(server: Server) -> None:
    answers = send(server, [b"good"], repeat=True, stop_after_s=0.05)

    assert answers.count > 2
    assert 0.05 <= answers.seconds < 2


def test_a_steady_pace_is_kept_and_what_is_late_counts_from_when_it_was_due(server: Server) -> None:
    answers = send(server, [b"good"] * 6, connections=1, pace_s=0.02)

    assert answers.seconds >= 5 * 0.02
    assert answers.count == 6


def test_a_request_says_for_whom_it_comes(server: Server) -> None:
    sending = _Sending(Job([server.port], [request(b"good", origin="198.51.100.7")], 1, b"good"))
    sending.run()
    sending.close()

    assert b"X-Forwarded-For: 198.51.100.7" in server.heads[0]


def test_a_client_without_a_server_says_so_and_takes_the_next_job(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = nobody.getsockname()[1]
    with Client() as client:
        with pytest.raises(ClientError, match="ConnectionRefusedError"):
            client.start(Job([closed], [request(b"good")], 1, b"good"))
        client.start(Job([server.port], [request(b"good")] * 3, 2, b"good"))
        client.go()
        assert client.finish().count == 3


def _spin(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@pytest.mark.parametrize("burn", [
    lambda: _spin(0.05),
    lambda: subprocess.run([sys.executable, "-I", "-S", "-c", "sum(range(3_000_000))"], check=True),
], ids=["living", "dead"])  # fmt: skip
def test_the_meter_counts_the_living_and_the_dead(burn: Callable[[], object]) -> None:
    meter = CpuMeter(os.getpid())
    before = meter.seconds()

    burn()

    assert 0.02 < meter.seconds() - before < 5


def test_payers_are_scattered_over_the_whole_table() -> None:
    payers = [BenchPayer(number) for number in range(3)]

    rows = list(_scattered(payers, 200, random.Random(4)))

    addresses = [row[0] for row in rows]
    places = [addresses.index(payer.aa_address) for payer in payers]
    assert len(set(addresses)) == 200
    assert all(len(row[0]) == len(row[2]) == 32 for row in rows)
    assert max(places) - min(places) > 20


def test_a_bad_signature_is_well_formed_and_does_not_hold() -> None:
    body = BenchPayer(1).next_body()
    asked: Any = decode(badly_signed(body))

    with pytest.raises(PackageRefused) as refused:
        verify_payment_package(asked["params"]["signed_package"], DEVNET)

    assert refused.value.code == "bad_signature"


def test_an_overdrawn_package_is_well_signed_and_adds_less_than_it_pays() -> None:
    payer = BenchPayer(1)
    payer.next_body()
    asked: Any = decode(payer.overdrawn_body())

    terms = verify_payment_package(asked["params"]["signed_package"], DEVNET).terms

    assert terms.amount_spent == 2
    assert terms.payment_amount > terms.amount_spent


def test_floors_take_time() -> None:
    assert all(figure > 0 for figure in Floors().measure(3).values())
