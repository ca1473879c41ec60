"""What locust's users are made of: bounds, payers that never pay twice for one answer, lines that never try twice."""

from __future__ import annotations

import asyncio
import random
import select
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from load_tests.crowd.books import Door, compare
from load_tests.crowd.crowd import Crowd, payers_of
from load_tests.crowd.line import Line
from load_tests.crowd.profiles import PROFILES, RefusedError, check_bounds, check_loopback, profile_named
from load_tests.faults.wire import Answer, Kind
from shared.channels.errors import InsufficientFundsError
from shared.obyte.keys import KeyPair
from tests.http_servers import Asked, http_server, reply

if TYPE_CHECKING:
    from load_tests.faults.payers import LoadChannel, Package

RECEIVER = KeyPair(bytes(31) + b"\x07").address
STEADY = PROFILES["steady"]


def crowd_of(payers: int, *, deposit: int = STEADY.deposit) -> Crowd:
    return Crowd(STEADY, payers_of(1, payers, RECEIVER, deposit, "1.2"), random.Random(1))


def taken(crowd: Crowd) -> LoadChannel:
    channel = crowd.take()
    assert channel is not None
    return channel


def receipt(package: Package, payment_id: int = 1, *, duplicate: bool = False) -> Answer:
    terms = {"aa_address": package.channel.aa_address, "period": package.period, "amount_spent": package.amount_spent}
    return Answer(
        Kind.RECEIPT, "", {**terms, "amount": package.amount, "payment_id": payment_id, "duplicate": duplicate}
    )


@pytest.mark.parametrize("host", ["127.0.0.1:6800", "127.9.9.9", "localhost:6800", "[::1]:6800"])
def test_this_machine_may_be_loaded(host: str) -> None:
    assert check_loopback(f"http://{host}", "http") == f"http://{host}"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://pay.example",
            "http://10.1.2.3:6800",
            "http://0.0.0.0:6800",
            "http://[::]:6800",
            "http://169.254.1.1",
        ),
        *("http://localhost.pay.example", "http://127.0.0.1.pay.example", "http://127.0.0.1@pay.example/", "http://"),
        *("https://127.0.0.1", "127.0.0.1:6800", "", None),
    ],
)
def test_no_other_machine_may(url: str | None) -> None:
    with pytest.raises(RefusedError):
        check_loopback(url, "http")


@pytest.mark.parametrize(("payers", "seconds", "rate"), [(501, 60, 20), (0, 60, 20), (5, 3_601, 20), (5, 60, 101)])
def test_no_run_is_larger_than_allowed(payers: int, seconds: int, rate: int) -> None:
    with pytest.raises(RefusedError, match=r"from 1 to \d+ are allowed"):
        check_bounds(payers, seconds, rate)


def test_every_profile_is_within_the_bounds_and_its_payers_do_not_run_dry() -> None:
    for profile in PROFILES.values():
        check_bounds(profile.payers, profile.seconds, profile.spawn_rate)
        # Far more payments than a payer gets through in that time, and still less than half of his deposit.
        assert profile.amount[1] * profile.seconds * 300 < profile.deposit / 2
    with pytest.raises(RefusedError, match="steady, burst, many, few"):
        profile_named("endless")


def test_a_burst_is_a_few_payers_and_then_all() -> None:
    burst = PROFILES["burst"]
    assert [burst.payers_at(now_s, 60) for now_s in (0, 9.9, 10, 14.9, 15, 25)] == [6, 6, 60, 60, 6, 60]
    assert burst.payers_at(0, 3) == 1
    assert STEADY.payers_at(7, 20) == 20


def test_both_programs_of_a_run_know_the_same_payers_and_another_run_has_others() -> None:
    def addresses(seed: int) -> list[str]:
        return [
            channel.aa_address for payer in payers_of(seed, 3, RECEIVER, 10**8, "1.2") for channel in payer.channels
        ]

    assert addresses(1) == addresses(1)
    assert len({*addresses(1), *addresses(2)}) == 6


def test_a_payer_pays_for_one_user_at_a_time() -> None:
    crowd = crowd_of(2)
    first, second = taken(crowd), taken(crowd)
    assert first.payer is not second.payer
    assert crowd.take() is None
    crowd.give_back(first)
    assert crowd.take() is first


def test_nothing_new_is_signed_before_the_last_payment_is_known() -> None:
    crowd = crowd_of(1)
    channel = taken(crowd)
    package, is_new = crowd.next_package(channel)
    assert is_new
    crowd.heard(package, Answer(Kind.SILENT))
    crowd.give_back(channel)
    assert crowd.next_package(taken(crowd)) == (package, False)
    assert crowd.uncertain == [package]

    crowd.heard(package, receipt(package))
    following, is_new = crowd.next_package(channel)
    assert is_new
    assert following.amount_spent > package.amount_spent
    assert crowd.faults == []


def test_a_refusal_ends_a_payers_payments_and_is_a_fault() -> None:
    crowd = crowd_of(1)
    channel = taken(crowd)
    package, _ = crowd.next_package(channel)
    crowd.heard(package, Answer(Kind.REFUSED, "over_credit"))
    crowd.give_back(channel)
    assert crowd.take() is None
    assert crowd.uncertain == []
    assert "over_credit" in crowd.faults[0]


def test_two_receipts_for_one_payment_are_a_fault() -> None:
    crowd = crowd_of(1)
    package, _ = crowd.next_package(taken(crowd))
    crowd.heard(package, receipt(package, 1))
    crowd.heard(package, receipt(package, 1, duplicate=True))
    assert crowd.faults == []
    crowd.heard(package, receipt(package, 2, duplicate=True))
    assert "two receipts, 1 and 2" in crowd.faults[0]


def test_a_payer_stops_when_he_has_nothing_left() -> None:
    crowd = crowd_of(1, deposit=1)
    channel = taken(crowd)
    with pytest.raises(InsufficientFundsError):
        crowd.next_package(channel)
    assert crowd.uncertain == []


async def asked_of(line: Line, times: int) -> list[Kind]:
    return [(await asyncio.to_thread(line.ask, b'{"n":1}'))[0].kind for _ in range(times)]


async def test_a_lost_answer_is_told_and_nothing_is_sent_a_second_time() -> None:
    answers = [reply(b'{"receipt":{}}'), b"", reply(b'{"receipt":{}}')]

    async def answer(asked: Asked) -> bytes:
        return answers[len(server.asked) - 1]

    async with http_server(answer) as server:
        with closing(Line(server.url)) as line:
            assert await asked_of(line, 3) == [Kind.RECEIPT, Kind.CUT, Kind.RECEIPT]
    assert len(server.asked) == 3


async def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    async def answer(asked: Asked) -> bytes:
        asked.writer.write(reply(b'{"receipt":{}}'))
        return b""

    async with http_server(answer) as server:
        with closing(Line(server.url)) as line:
            assert await asked_of(line, 1) == [Kind.RECEIPT]
            assert line._socket is not None
            assert await asyncio.to_thread(select.select, [line._socket], [], [], 5)
            assert await asked_of(line, 1) == [Kind.RECEIPT]
    assert server.connections == 2


async def test_what_is_not_answered_is_silence_and_where_nobody_listens_is_nothing() -> None:
    async def answer(asked: Asked) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async with http_server(answer) as server:
        assert await asked_of(Line(server.url, answer_s=0.05), 1) == [Kind.SILENT]
    assert await asked_of(Line(server.url), 1) == [Kind.UNREACHABLE]


class Told(Door):
    """A receiver that says what it is told to."""

    def __init__(self, rows: list[dict[str, str]], shown: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.rows, self.shown = rows, shown

    def payments(self, channel: str) -> list[dict[str, str]]:
        return self.rows

    def channel(self, address: str) -> dict[str, Any]:
        return self.shown


def paid(payments: int) -> tuple[Crowd, list[dict[str, str]], dict[str, Any]]:
    """A payer with so many receipts, and the receiver's honest books."""
    crowd = crowd_of(1)
    channel, rows = taken(crowd), []
    for number in range(1, payments + 1):
        package, _ = crowd.next_package(channel)
        crowd.heard(package, receipt(package, number))
        spent = {"period": "1", "amount_spent": str(package.amount_spent), "amount": str(package.amount)}
        rows.append({"id": str(number), **spent})
    return crowd, rows, {"spent_by_peer": channel.paid, "credit": 0}


def test_honest_books_agree() -> None:
    crowd, rows, shown = paid(3)
    books = compare(Told(rows, shown), crowd.channels)
    assert (books.receipts, books.receipts_found, books.faults) == (3, 3, [])
    assert books.paid == books.credited == crowd.channels[0].paid


def test_a_receipt_without_a_payment_is_found() -> None:
    crowd, rows, shown = paid(3)
    books = compare(Told(rows[:2], shown), crowd.channels)
    assert books.receipts_found == 2
    assert "receipt 3, payment None" in books.faults[0]


def test_a_payment_under_another_number_is_not_that_of_the_receipt() -> None:
    crowd, rows, shown = paid(1)
    assert compare(Told([{**rows[0], "id": "9"}], shown), crowd.channels).receipts_found == 0


def test_what_was_credited_twice_or_never_signed_is_found() -> None:
    crowd, rows, shown = paid(1)
    assert "credited 2 times" in compare(Told([*rows, rows[0]], shown), crowd.channels).faults[0]
    invented = {**rows[0], "amount_spent": "999999", "id": "2"}
    assert "nobody has signed" in compare(Told([*rows, invented], shown), crowd.channels).faults[0]


def test_a_channel_that_says_another_sum_is_found() -> None:
    crowd, rows, shown = paid(2)
    assert "the channel says" in compare(Told(rows, {**shown, "credit": 1}), crowd.channels).faults[0]
