"""The synchronous webhook: whatever the application's server does, the payment stands and the payer has his receipt."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from front.app import create_app
from front.server import FrontServer
from shared.receiving import answers_over_http
from shared.receiving.answers import Answers, ReceivedPayment
from shared.receiving.answers_over_http import AnswersOverHttp, answer_server
from shared.settings import Settings, SettingsError
from shared.webhooks.errors import CallTimeoutError, ForbiddenAddressError, UnknownHostError, UnreachableError
from shared.webhooks.signing import Secret
from tests.http_servers import LOOPBACK, Asked, http_server, reply
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

SECRET = Secret(b"s" * 32)
DEFAULT = "received payment for 600 base"


@pytest.fixture
async def payer(worker: Worker) -> Payer:
    somebody = Payer()
    await worker.open(somebody)
    return somebody


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "answer.secret"
    file.write_text(f"{SECRET.text}\n")
    return file


@pytest.fixture
def alone(secret_file: Path) -> Callable[..., Settings]:
    """Settings with an application at a URL, for tests without a front."""

    def settings(url: str, **more: Any) -> Settings:
        given = {"answer_url": url, "answer_secret_file": secret_file, "webhook_allowed_networks": LOOPBACK} | more
        return Settings(**given)

    return settings


@pytest.fixture
def asking(database_url: str, alone: Callable[..., Settings]) -> Callable[..., Settings]:
    """The same for a front."""

    def settings(url: str, **more: Any) -> Settings:
        return alone(url, database_url=database_url, funding_wait_s=0.3, **more)

    return settings


def _question(payment_id: int = 1, amount: int = 600) -> ReceivedPayment:
    return ReceivedPayment(payment_id, amount, "base", "A" * 32, 1, amount, "B" * 32)


async def test_the_application_is_asked_over_http_and_its_answer_is_the_response(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    said = reply(b'{"goods": [1, 2.5, null, "\xc3\xa9"]}')
    async with http_server(said) as server, running_front(asking(server.url)) as front:
        answer = await front.pay(payer.package(1000, 600), message={"order": 7})
    assert answer == {"response": {"goods": [1, 2.5, None, "\u00e9"]}, "receipt": answer["receipt"]}
    [asked] = server.asked
    assert asked.line == "POST /answer HTTP/1.1"
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {
        "type": "answer_wanted",
        "data": {
            "payment_id": answer["receipt"]["payment_id"],
            "amount": 600,
            "asset": "base",
            "aa_address": payer.channel,
            "period": 1,
            "amount_spent": 1000,
            "payer_address": payer.address,
            "message": {"order": 7},
        },
    }


async def test_the_question_is_signed_with_the_payments_id_each_time(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    async with http_server(reply(b"no", 500)) as server, running_front(asking(server.url)) as front:
        paid = await front.pay(payer.package(1000, 600))
        await front.pay(payer.package(1000, 600))
    assert [asked.headers["webhook-id"] for asked in server.asked] == [f"payment_{paid['receipt']['payment_id']}"] * 2
    for asked in server.asked:
        standardwebhooks.Webhook(SECRET.text).verify(asked.body, asked.headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(Secret(b"x" * 32).text).verify(asked.body, asked.headers)


async def test_b04_a_failure_leaves_the_payment_credited_and_the_payer_with_a_receipt(
    asking: Callable[..., Settings], payer: Payer, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    async with http_server(reply(b'"never"', 500)) as server, running_front(asking(server.url)) as front:
        answer = await front.pay(payer.package(1000, 600))
    assert (answer["response"], answer["code"], answer["receipt"]["amount"]) == (DEFAULT, "application_failed", 600)
    assert "error" not in answer
    assert (await worker.read(payer)).spent_by_peer == 1000
    assert len(server.asked) == 1
    assert "application_failed" in caplog.text


async def test_a_slow_application_costs_the_payer_the_time_limit_and_no_more(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    async def slow(_: Asked) -> bytes:
        await asyncio.sleep(3600)
        return reply()

    async with http_server(slow) as server, running_front(asking(server.url, answer_timeout_s=0.2)) as front:
        began_s = time.monotonic()
        answer = await front.pay(payer.package(1000, 600))
    assert answer["code"] == "application_failed"
    assert 0.2 <= time.monotonic() - began_s < 3


async def test_an_application_with_nothing_to_say_lets_the_default_text_be_said_and_is_not_asked_again(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    async with http_server(b"HTTP/1.1 204 No Content\r\n\r\n") as server, running_front(asking(server.url)) as front:
        first = await front.pay(payer.package(1000, 600))
        second = await front.pay(payer.package(1000, 600))
    assert first == {"response": DEFAULT, "receipt": first["receipt"]}
    assert second["response"] == DEFAULT
    assert len(server.asked) == 1


async def test_b04_a_retry_asks_again_only_because_no_answer_was_kept(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    answers = [reply(b"", 503), reply(b'"at last"'), reply(b'"never given"')]

    async def answer(_: Asked) -> bytes:
        return answers.pop(0)

    async with http_server(answer) as server, running_front(asking(server.url)) as front:
        failed = await front.pay(payer.package(1000, 600), message="first message")
        second = await front.pay(payer.package(1000, 600), message="second message")
        third = await front.pay(payer.package(1000, 600))
    assert second == {"response": "at last", "receipt": {**failed["receipt"], "duplicate": True}}
    assert third == second
    assert [json.loads(asked.body)["data"]["message"] for asked in server.asked] == ["first message"] * 2


async def test_retries_at_once_ask_once_and_the_same_connection_is_used_again(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    release = asyncio.Event()

    async def answer(_: Asked) -> bytes:
        await release.wait()
        return reply(b'"once"')

    async with http_server(answer) as server, running_front(asking(server.url)) as front:
        both = [asyncio.create_task(front.pay(payer.package(10, 10))) for _ in range(3)]
        await asyncio.wait(both, timeout=0.3)
        release.set()
        assert {(await paid)["response"] for paid in both} == {"once"}
        assert len(server.asked) == 1
        await front.pay(payer.package(20, 10))
    assert (len(server.asked), server.connections) == (2, 1)


async def test_of_two_fronts_that_ask_at_once_the_first_answer_kept_is_what_both_payers_get(
    asking: Callable[..., Settings], payer: Payer
) -> None:
    both_asked, number = asyncio.Event(), 0

    async def answer(_: Asked) -> bytes:
        nonlocal number
        number += 1
        mine = number
        if mine == 2:
            both_asked.set()
        await both_asked.wait()
        return reply(str(mine).encode())

    async with http_server(answer) as server:
        settings = asking(server.url)
        async with running_front(settings) as front, running_front(settings) as other:
            answers = await asyncio.gather(*(one.pay(payer.package(10, 10)) for one in (front, other)))
            again = await front.pay(payer.package(10, 10))
    assert len(server.asked) == 2
    assert answers[0]["response"] == answers[1]["response"] == again["response"]
    assert again["response"] in {1, 2}


async def test_a_front_that_dies_between_payment_and_answer_leaves_the_question_to_the_next_one(
    asking: Callable[..., Settings], payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_server(reply(b'"the goods"')) as server:
        async with running_front(asking(server.url)) as front:
            monkeypatch.setattr(Answers, "answer", _hangs)
            paying = asyncio.create_task(front.pay(payer.package(1000, 600), message="mine"))
            await _until_paid(front, payer)
            paying.cancel()
            await asyncio.gather(paying, return_exceptions=True)
            monkeypatch.undo()
        assert server.asked == []
        async with running_front(asking(server.url)) as other:
            answer = await other.pay(payer.package(1000, 600))
    assert (answer["response"], answer["receipt"]["duplicate"]) == ("the goods", True)
    assert json.loads(server.asked[0].body)["data"]["message"] == "mine"


async def _hangs(*_: object) -> None:
    await asyncio.sleep(3600)


async def _until_paid(front: Front, payer: Payer) -> None:
    async with asyncio.timeout(10):
        while True:
            async with front.app.state.database.connection() as conn:
                if await conn.fetchval("SELECT count(*) FROM payments WHERE aa_address = $1", payer.channel):
                    return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)])
async def test_an_application_at_a_forbidden_address_is_never_connected_to(
    asking: Callable[..., Settings], payer: Payer, networks: tuple[str, ...]
) -> None:
    async with http_server(reply()) as server:
        url = server.url.replace("http", "https").replace("127.0.0.1", "localhost")
        async with running_front(asking(url, webhook_allowed_networks=networks)) as front:
            answer = await front.pay(payer.package(1000, 600))
    assert answer["code"] == "application_failed"
    assert server.connections == 0


async def test_a_name_that_changes_between_attempts_is_checked_each_time(
    asking: Callable[..., Settings], database_url: str, worker: Worker, payer: Payer
) -> None:
    leads_to = ["127.0.0.1"]

    async def resolve(_: str) -> list[str]:
        return list(leads_to)

    closing = reply(b"", 503, "connection: close")
    async with http_server(closing) as server:
        settings = asking(f"http://shop.example:{server.port}/")
        target = answer_server(settings, resolve)
        assert target is not None
        application = AnswersOverHttp(target)
        without = Settings(database_url=database_url)
        async with running_front(without, on_payment=application.ask) as front:
            for address in ["127.0.0.1", "169.254.169.254", "127.0.0.1"]:
                leads_to[:] = [address]
                assert (await front.pay(payer.package(1000, 600)))["code"] == "application_failed"
        await application.close()
    assert server.connections == 2


# ------------------------------------------------------------------------------------------- when it is away or busy


def _over_http(settings: Settings, now_s: list[float], **bounds: int) -> AnswersOverHttp:
    server = answer_server(settings)
    assert server is not None
    return AnswersOverHttp(server, monotonic=lambda: now_s[0], **bounds)


async def _outcome(application: AnswersOverHttp, payment_id: int = 1) -> Any:
    try:
        return await application.ask(_question(payment_id))
    except Exception as error:  # noqa: BLE001 - its code is what is looked at
        return error.code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (reply(b'"never"', 500), "bad_status"),
        (reply(b'"never"', 404), "bad_status"),
        (reply(b'"never"', 429), "bad_status"),
        (reply(b"", 304), "bad_status"),
        (reply(b'"never"', 302, "location: /other"), "bad_status"),
        (reply(b""), "bad_answer"),
        (reply(b"thanks"), "bad_answer"),
        (reply(b"<html>"), "bad_answer"),
        (reply(b'{"a": 1, "a": 2}'), "bad_answer"),
        (reply(b"NaN"), "bad_answer"),
        (reply(b"[" * 40), "bad_answer"),
        (reply(b'"\\ud800"'), "bad_answer"),
        (reply(b'"' + b"x" * 70_000 + b'"'), "answer_too_large"),
        (reply(b'"x"' + b" " * 70_000), "answer_too_large"),
        (b"", "unreachable"),
        (b"nothing of the kind\r\n\r\n", "unreachable"),
    ],
)
async def test_what_is_no_answer(alone: Callable[..., Settings], said: bytes, code: str) -> None:
    async with http_server(said) as server:
        application = _over_http(alone(server.url), [0.0])
        assert await _outcome(application) == code
        await application.close()
    assert len(server.asked) == 1


async def test_an_application_that_is_away_is_left_alone_for_a_while_and_then_asked_by_one(
    alone: Callable[..., Settings],
) -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    now_s = [0.0]
    application = _over_http(alone(f"http://127.0.0.1:{port}/"), now_s)
    outcomes = [await _outcome(application) for _ in range(7)]
    assert outcomes == ["unreachable"] * 5 + ["application_away"] * 2
    now_s[0] = 1.0
    assert [await _outcome(application) for _ in range(2)] == ["unreachable", "application_away"]
    now_s[0] = 2.9
    assert await _outcome(application) == "application_away"
    await application.close()


async def test_payers_do_not_wait_for_an_application_that_is_away(alone: Callable[..., Settings]) -> None:
    async def never(_: Asked) -> bytes:
        await asyncio.sleep(3600)
        return reply()

    async with http_server(never) as server:
        application = _over_http(alone(server.url, answer_timeout_s=1), [0.0], max_asked=5)
        began_s = time.monotonic()
        outcomes = await asyncio.gather(*(_outcome(application, number) for number in range(200)))
        took_s = time.monotonic() - began_s
        await application.close()
    assert len(server.asked) <= 5
    assert outcomes.count("timeout") == 5
    assert set(outcomes) == {"timeout", "too_many_questions"}
    assert took_s < 3


async def test_while_one_question_tries_whether_it_is_back_the_others_are_told_at_once(
    alone: Callable[..., Settings],
) -> None:
    says, trying = [b""] * 5, asyncio.Event()

    async def answer(_: Asked) -> bytes:
        if not says:
            trying.set()
            await asyncio.sleep(3600)
        return says.pop()

    now_s = [0.0]
    async with http_server(answer) as server:
        application = _over_http(alone(server.url, answer_timeout_s=8), now_s, max_asked=1)
        assert [await _outcome(application) for _ in range(5)] == ["unreachable"] * 5
        now_s[0] = 1.0
        one = asyncio.create_task(_outcome(application))
        await asyncio.wait_for(trying.wait(), 5)
        assert await asyncio.wait_for(_outcome(application), 2) == "application_away"
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        await application.close()


async def test_an_answer_brings_it_back(alone: Callable[..., Settings]) -> None:
    says = [b""] * 5 + [reply(b"1")] * 3

    async def answer(_: Asked) -> bytes:
        return says.pop(0)

    now_s = [0.0]
    async with http_server(answer) as server:
        application = _over_http(alone(server.url), now_s)
        assert [await _outcome(application) for _ in range(6)] == ["unreachable"] * 5 + ["application_away"]
        now_s[0] = 1.0
        assert [await _outcome(application) for _ in range(3)] == [1, 1, 1]
        await application.close()


async def test_an_application_that_refuses_is_not_away(alone: Callable[..., Settings]) -> None:
    async with http_server(reply(b"", 500)) as server:
        application = _over_http(alone(server.url), [0.0])
        assert [await _outcome(application) for _ in range(20)] == ["bad_status"] * 20
        await application.close()


async def test_questions_wait_their_turn_and_too_many_are_told_at_once(alone: Callable[..., Settings]) -> None:
    release, most, now = asyncio.Event(), 0, 0

    async def answer(_: Asked) -> bytes:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1
        return reply(b"1")

    async with http_server(answer) as server:
        application = _over_http(alone(server.url), [0.0], max_asked=2, max_waiting=3)
        tasks = [asyncio.create_task(_outcome(application, number)) for number in range(9)]
        done, _ = await asyncio.wait(tasks, timeout=0.3)
        assert [task.result() for task in done] == ["too_many_questions"] * 4
        release.set()
        outcomes = await asyncio.gather(*tasks)
        await application.close()
    assert sorted(map(str, outcomes)) == ["1"] * 5 + ["too_many_questions"] * 4
    assert most == 2


async def test_a_question_whose_turn_comes_when_its_time_is_nearly_over_is_not_asked(
    alone: Callable[..., Settings],
) -> None:
    async def late(_: Asked) -> bytes:
        await asyncio.sleep(0.93)
        return reply(b"1")

    async with http_server(late) as server:
        application = _over_http(alone(server.url, answer_timeout_s=1), [0.0], max_asked=1)
        _, second = await asyncio.gather(*(_outcome(application, number) for number in range(2)))
        await application.close()
    assert second == "too_many_questions"
    assert len(server.asked) == 1


# -------------------------------------------------------------------------------------------------------- the settings


@pytest.mark.parametrize(
    ("url", "networks", "fault"),
    [
        ("http://shop.example/", (), "SLUICE_ANSWER_URL: must start with https://"),
        ("https://shop.example:25/", (), "SLUICE_ANSWER_URL: must have the port"),
        ("https://shop.example/#x", (), "SLUICE_ANSWER_URL: must not have a fragment"),
        ("http://127.1/", LOOPBACK, "SLUICE_ANSWER_URL: must write an IP address with four numbers"),
    ],
)
def test_a_url_that_can_never_be_asked_stops_the_start(
    alone: Callable[..., Settings], url: str, networks: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        answer_server(alone(url, webhook_allowed_networks=networks))
    assert str(refused.value).startswith(fault)


@pytest.mark.parametrize("content", [None, b"", b"password\n", b"whsec_c2hvcnQ=\n", b"\xff\xfe", b"a\n" * 2000])
def test_a_secret_that_is_none_stops_the_start_and_is_not_shown(
    alone: Callable[..., Settings], secret_file: Path, content: bytes | None
) -> None:
    secret_file.unlink() if content is None else secret_file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        answer_server(alone("https://shop.example/"))
    assert str(refused.value).startswith(f"SLUICE_ANSWER_SECRET_FILE: {secret_file}")
    assert "password" not in str(refused.value)


def test_while_a_secret_is_replaced_both_sign(alone: Callable[..., Settings], secret_file: Path) -> None:
    other = Secret(b"o" * 32)
    secret_file.write_text(f"{SECRET.text}\n{other.text}\n")
    server = answer_server(alone("https://shop.example/"))
    assert server is not None
    assert server.secrets == (SECRET, other)
    assert SECRET.text not in repr(server)


def test_two_applications_that_would_answer_stop_the_start(alone: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match="on_payment"):
        create_app(alone("https://shop.example/"), on_payment=lambda _: "thanks")
    with pytest.raises(SettingsError, match="SLUICE_ANSWER_URL"):
        FrontServer(alone("http://shop.example/", webhook_allowed_networks=()), {})


def test_without_the_setting_nobody_is_asked() -> None:
    assert answer_server(Settings()) is None


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_shows_the_question_as_it_is_and_every_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "answers.md").read_text()
    [shown] = re.findall(r'(\{"type": "answer_wanted".*?\}\}\})\n', page, flags=re.DOTALL)
    question = json.loads(shown)
    assert list(question["data"]) == [field.name for field in fields(ReceivedPayment)]
    source = Path(answers_over_http.__file__).read_text()
    codes = set(re.findall(r'NoAnswerError\(\s*"(\w+)"', source))
    codes |= {kind.code for kind in (CallTimeoutError, UnreachableError, UnknownHostError, ForbiddenAddressError)}
    assert len(codes) == 9
    assert codes == set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
