"""What the application says (the reference's B4: an application's error made the payer believe his money was lost)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from shared.receiving import receiver
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, all_rows, payer_key

if TYPE_CHECKING:
    from shared.receiving.answers import ReceivedPayment
    from shared.settings import Settings
    from tests.receiving_support import Worker


@pytest.fixture
async def payer(worker: Worker) -> Payer:
    somebody = Payer()
    await worker.open(somebody)
    return somebody


class Application:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[ReceivedPayment] = []
        self._answers = list(answers)

    async def __call__(self, payment: ReceivedPayment) -> Any:
        self.asked.append(payment)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_the_application_is_asked_and_its_answer_is_the_response(settings: Settings, payer: Payer) -> None:
    application = Application({"goods": [1, 2.5, None, "\u00e9"]})
    async with running_front(settings, on_payment=application) as front:
        answer = await front.pay(payer.package(1000, 600), message={"order": 7})
    assert answer["response"] == {"goods": [1, 2.5, None, "\u00e9"]}
    [asked] = application.asked
    assert (asked.payment_id, asked.amount, asked.asset) == (answer["receipt"]["payment_id"], 600, "base")
    assert (asked.aa_address, asked.period, asked.amount_spent) == (payer.channel, 1, 1000)
    assert asked.payer_address == payer.address
    assert asked.message == {"order": 7}


async def test_a_retry_gets_the_first_answer_and_the_application_is_not_asked_again(
    settings: Settings, payer: Payer
) -> None:
    application = Application("first", "second")
    async with running_front(settings, on_payment=application) as front:
        first = await front.pay(payer.package(1000, 600))
        second = await front.pay(payer.package(1000, 600), message="other")
    assert second == {"response": "first", "receipt": {**first["receipt"], "duplicate": True}}
    assert len(application.asked) == 1


async def test_another_front_gives_the_first_answer_too(settings: Settings, payer: Payer) -> None:
    async with running_front(settings, on_payment=Application("first")) as front:
        await front.pay(payer.package(1000, 600))
    async with running_front(settings) as other:
        assert (await other.pay(payer.package(1000, 600)))["response"] == "first"


async def test_b04_a_failing_application_leaves_the_payment_credited_and_the_payer_with_a_receipt(
    settings: Settings, payer: Payer, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    application = Application(RuntimeError("no stock"))
    async with running_front(settings, on_payment=application) as front:
        answer = await front.pay(payer.package(1000, 600))
    assert "error" not in answer
    assert answer["response"] == "received payment for 600 base"
    assert answer["receipt"]["amount"] == 600
    assert answer["code"] == "application_failed"
    assert (await worker.read(payer)).spent_by_peer == 1000
    assert "application_failed" in caplog.text


async def test_b04_a_retry_asks_again_only_because_no_answer_was_kept(settings: Settings, payer: Payer) -> None:
    application = Application(RuntimeError("no stock"), "at last", "never given")
    async with running_front(settings, on_payment=application) as front:
        failed = await front.pay(payer.package(1000, 600), message="first message")
        second = await front.pay(payer.package(1000, 600), message="second message")
        third = await front.pay(payer.package(1000, 600))
    assert second == {"response": "at last", "receipt": {**failed["receipt"], "duplicate": True}}
    assert third == second
    assert [asked.message for asked in application.asked] == ["first message", "first message"]


@pytest.mark.parametrize(
    "answer", [float("nan"), {1, 2}, "\ud800", "x" * 70_000], ids=["NaN", "set", "surrogate", "huge"]
)
async def test_b04_an_answer_that_is_no_answer_is_a_failure(settings: Settings, payer: Payer, answer: Any) -> None:
    async with running_front(settings, on_payment=Application(answer)) as front:
        assert (await front.pay(payer.package(1000, 600)))["code"] == "application_failed"


async def test_no_payer_waits_longer_than_the_edge_and_an_answer_that_comes_later_is_kept_for_him(
    settings: Settings, payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "LONGEST_WAIT_S", 0.2)
    begun, thought = asyncio.Event(), asyncio.Event()

    async def application(_: ReceivedPayment) -> str:
        begun.set()
        await thought.wait()
        return "goods"

    async with running_front(settings, on_payment=application) as front:
        first = await asyncio.wait_for(front.pay(payer.package(1000, 600)), 5)
        assert begun.is_set()
        assert (first["code"], first["receipt"]["amount"]) == ("application_failed", 600)
        thought.set()
        second = await front.pay(payer.package(1000, 600))
    assert second == {"response": "goods", "receipt": {**first["receipt"], "duplicate": True}}


async def test_the_wait_for_the_funding_counts(
    settings: Settings, worker: Worker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has waited for his funding until the end gets his receipt at once, and the answer when he asks again."""
    monkeypatch.setattr(receiver, "LONGEST_WAIT_S", 0.001)
    thought = asyncio.Event()

    async def application(_: ReceivedPayment) -> str:
        await thought.wait()
        return "goods"

    stranger = Payer(payer_key(2))
    async with running_front(settings.model_copy(update={"funding_wait_s": 8.0}), on_payment=application) as front:
        paying = asyncio.create_task(front.pay(stranger.first_package(1000, 600)))
        async with asyncio.timeout(5):
            while not any(stranger.channel in row for row in (await all_rows(database_url))["channels"]):  # noqa: ASYNC110 - rows ring no bell
                await asyncio.sleep(0.01)
        await worker.open(stranger)
        paid = await asyncio.wait_for(paying, 5)
        assert (paid["code"], paid["receipt"]["amount"]) == ("application_failed", 600)
        thought.set()
        assert (await front.pay(stranger.package(1000, 600)))["response"] == "goods"


async def test_a_plain_function_may_block_without_holding_up_the_others(settings: Settings, payer: Payer) -> None:
    release = threading.Event()

    def application(payment: ReceivedPayment) -> str:
        if payment.amount == 1:
            assert release.wait(10)
        return f"got {payment.amount}"

    async with running_front(settings, on_payment=application) as front:
        slow = asyncio.create_task(front.pay(payer.package(1, 1)))
        try:
            quick = await asyncio.wait_for(front.pay(payer.package(3, 2)), 5)
        finally:
            release.set()
        assert quick["response"] == "got 2"
        assert (await asyncio.wait_for(slow, 5))["response"] == "got 1"


async def test_two_retries_at_once_ask_the_application_once(settings: Settings, payer: Payer) -> None:
    release = asyncio.Event()
    asked = 0

    async def application(_: ReceivedPayment) -> str:
        nonlocal asked
        asked += 1
        await release.wait()
        return "once"

    async with running_front(settings, on_payment=application) as front:
        both = [asyncio.create_task(front.pay(payer.package(10, 10))) for _ in range(2)]
        await asyncio.wait(both, timeout=0.3)
        release.set()
        answers = await asyncio.gather(*both)
    assert [answer["response"] for answer in answers] == ["once", "once"]
    assert asked == 1


async def test_a_payer_who_hangs_up_does_not_interrupt_the_application(
    settings: Settings, payer: Payer, database_url: str
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def application(_: ReceivedPayment) -> str:
        started.set()
        await release.wait()
        return "delivered"

    async with running_front(settings, on_payment=application) as front:
        paying = asyncio.create_task(front.pay(payer.package(10, 10)))
        await asyncio.wait_for(started.wait(), 5)
        paying.cancel()
        await asyncio.gather(paying, return_exceptions=True)
        release.set()
    assert any("delivered" in row for row in (await all_rows(database_url))["payments"])
