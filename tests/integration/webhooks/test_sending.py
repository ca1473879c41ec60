"""Events on their way to servers of all kinds: real sockets, a real database, and a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.sealing import seal
from shared.store import webhooks
from shared.store.errors import DatabaseBusyError, LeaseLostError
from shared.store.events import EventKind
from shared.store.webhook_deliveries import DeliveryState
from shared.store.webhooks import DisabledReason, WebhookState
from shared.webhooks import managing
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.attempts import MAX_ATTEMPTS, PAUSES_S
from shared.webhooks.calling import Caller, Limits
from shared.webhooks.errors import SignatureError
from shared.webhooks.managing import Change
from shared.webhooks.signing import Secret
from tests.integration.webhooks.support import CHANNELS, Answer, Office, Receiver, Request, guard_of, hours, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.store.webhooks import Signing
    from worker.webhooks.recording import Result
    from worker.webhooks.sending import Sending

A, B, _ = CHANNELS


async def test_an_event_arrives_signed_under_its_own_id(office: Office, receiver: Receiver) -> None:
    webhook, secret = await office.add(receiver.url)
    await office.happen(7)
    assert await office.work() == 1
    [request] = receiver.requests
    assert office.verified(request, secret) == request.id == request.event["id"]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-timestamp"] == str(int(office.now_s))
    assert request.event["type"] == "channel_refilled"
    assert request.event["data"] == {"amount": 7}
    assert request.event["timestamp"] == request.event["time"]
    [delivery] = await office.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)
    [attempt] = await office.attempts(delivery)
    assert (attempt.status, attempt.error, attempt.excerpt) == (200, None, "ok")
    assert await office.later(hours(1)) == 0


async def test_only_events_of_the_wanted_types_are_sent_and_none_from_before(
    office: Office, receiver: Receiver
) -> None:
    await office.happen(1)
    webhook, _ = await office.add(receiver.url, types=("alarm_raised",))
    await office.happen(2)
    assert await office.work() == 0
    assert (await office.of(webhook)).position > 0
    everything, _ = await office.add(receiver.url)
    await office.happen(3)
    await office.work()
    assert receiver.events == [(A, 3)]
    assert len(await office.deliveries(everything)) == 1


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (Answer(status=500, body=b"oh\x1b[31m no\r\nsorry"), "bad_status", 500),
        (Answer(status=404), "bad_status", 404),
        (Answer(status=302, headers={"location": "http://127.0.0.1:1/"}), "redirected", 302),
        (Answer(stalls=True), "timeout", None),
        (Answer(hangs_up=True), "unreachable", None),
        (Answer(body=b"x" * 3_000_000, pause_s=0.3), None, 200),
    ],
    ids=["500", "404", "redirect", "hangs", "hangs up", "huge and slow"],
)
async def test_what_became_of_an_attempt_is_on_record(
    office: Office, receiver: Receiver, answer: Answer, error: str | None, status: int | None
) -> None:
    receiver.answer = answer
    webhook, _ = await office.add(receiver.url)
    await office.happen(1)
    await office.work()
    [delivery] = await office.deliveries(webhook)
    [attempt] = await office.attempts(delivery)
    assert (attempt.error, attempt.status) == (error, status)
    assert delivery.state is (DeliveryState.DELIVERED if error is None else DeliveryState.PENDING)
    assert len(receiver.requests) == 1  # no redirect is followed
    if status == 500:
        assert attempt.excerpt == "oh [31m no sorry"
    if error is None:
        assert attempt.excerpt is not None
        assert len(attempt.excerpt) == 1_024


async def test_a_server_at_an_address_that_must_not_be_called_is_not_called(
    office: Office,
) -> None:
    webhook, _ = await office.add("https://127.0.0.1:8443/hook")
    await office.happen(1)
    async with Caller(AddressGuard()) as strict:
        office.sending = office.sender(strict)
        await office.work()
    [delivery] = await office.deliveries(webhook)
    [attempt] = await office.attempts(delivery)
    assert attempt.error == "forbidden_address"


async def test_a_failing_server_is_tried_for_a_day_under_one_id_and_then_it_is_told(
    office: Office, receiver: Receiver
) -> None:
    receiver.answer = Answer(status=500)
    webhook, secret = await office.add(receiver.url)
    await office.happen(1)
    began_s = office.now_s
    await office.work()
    for pause_s in PAUSES_S:
        assert await office.later(pause_s - 1) == 0
        assert await office.later(1) == 1
        office.verified(receiver.requests[-1], secret)
    assert 23 < (office.now_s - began_s) / 3_600 < 25
    assert len(receiver.requests) == MAX_ATTEMPTS == 11
    assert len({request.id for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 11
    [delivery] = await office.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 11)
    assert len(await office.attempts(delivery)) == 11
    [told] = await office.told(EventKind.WEBHOOK_FAILING)
    assert (told["webhook_id"], told["delivery"], told["status"]) == (webhook, receiver.requests[0].id, 500)
    assert (await office.of(webhook)).state is WebhookState.ACTIVE


async def test_a_webhook_that_fails_for_days_is_disabled_and_goes_on_when_it_is_resumed(
    office: Office, receiver: Receiver
) -> None:
    receiver.answer = Answer(status=500)
    webhook, _ = await office.add(receiver.url, types=("channel_refilled",))
    for day in range(4):
        await office.happen(day, channel=CHANNELS[day % 3])
        await office.work()
        for pause_s in PAUSES_S:
            await office.later(pause_s)
    found = await office.of(webhook)
    assert (found.state, found.reason) == (WebhookState.DISABLED, DisabledReason.FAILING)
    [told] = await office.told(EventKind.WEBHOOK_DISABLED)
    assert (told["webhook_id"], told["reason"]) == (webhook, "failing")
    assert len(await office.told(EventKind.WEBHOOK_FAILING)) == 3

    await office.happen(5)
    receiver.answer = Answer()
    assert await office.later(hours(1)) == 0
    await office.set_state(webhook, WebhookState.ACTIVE)
    assert await office.work() == 1
    assert receiver.events == [(A, 5)]
    assert (await office.of(webhook)).failing_since is None


async def test_410_disables_at_once_and_what_was_to_be_sent_waits(office: Office, receiver: Receiver) -> None:
    receiver.answer = Answer(status=410)
    webhook, _ = await office.add(receiver.url, types=("channel_refilled",))
    await office.happen(1, 2)
    assert await office.work() == 1
    found = await office.of(webhook)
    assert (found.state, found.reason, found.pending) == (WebhookState.DISABLED, DisabledReason.GONE, 2)
    [told] = await office.told(EventKind.WEBHOOK_DISABLED)
    assert told["reason"] == "gone"
    receiver.answer = Answer()
    await office.set_state(webhook, WebhookState.ACTIVE)
    assert await office.work() == 2
    assert receiver.events == [(A, 1), (A, 2)]


async def test_a_server_may_ask_for_a_longer_pause_but_not_for_a_very_long_one(
    office: Office, receiver: Receiver
) -> None:
    receiver.answer = Answer(status=429, headers={"retry-after": "60"})
    await office.add(receiver.url)
    await office.happen(1)
    await office.work()
    assert await office.later(59) == 0
    receiver.answer = Answer(status=503, headers={"retry-after": "999999"})
    assert await office.later(1) == 1
    assert await office.later(3_599) == 0
    assert await office.later(1) == 1


async def test_what_fails_holds_back_its_own_channel_only(office: Office, receiver: Receiver) -> None:
    def answer(request: Request) -> Answer:
        return Answer(status=500 if request.event["data"]["amount"] == 1 and len(receiver.requests) <= 6 else 200)

    receiver.answer = answer
    await office.add(receiver.url)
    await office.happen(1, 2, channel=A)
    await office.happen(3, 4, channel=B)
    await office.happen(5, 6, channel=None)
    await office.work()
    assert sorted(receiver.events, key=str) == sorted([(B, 3), (B, 4), (None, 5), (None, 6)], key=str)
    await office.later(5)
    assert [event for event in receiver.events if event[0] == A] == []
    await office.later(30)
    for channel, numbers in ((A, [1, 2]), (B, [3, 4]), (None, [5, 6])):
        assert [number for of, number in receiver.events if of == channel] == numbers


async def test_a_slow_webhook_leaves_room_for_the_others(office: Office, receiver: Receiver, caller: Caller) -> None:
    patient = Office(office.database, caller, office.guard, limits=Limits())
    async with Receiver(Answer(stalls=True)).listening() as slow:
        await office.add(slow.url)
        await office.add(receiver.url)
        for number in range(20):
            await office.happen(number, channel=f"{number:A>32}")
        await office.planning.round()
        sending = asyncio.create_task(patient.sending.run())
        # Before the slow one's time is over: its part of the room is all that it gets.
        await until(lambda: len(receiver.requests) == 20 and slow.most_at_once == 16)
        assert len(slow.requests) == office.terms.parallel == 16
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_while_a_secret_is_replaced_both_sign(office: Office, receiver: Receiver) -> None:
    webhook, old = await office.add(receiver.url)
    new = Secret(b"n" * 32)
    async with office.database.transaction() as conn:
        await webhooks.lock(conn, webhook)
        await webhooks.rotate(conn, webhook, seal(new.text, office.terms.reader.public_key), overlap_s=600)
    await office.happen(1)
    await office.work()
    assert len(receiver.requests[0].headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        office.verified(receiver.requests[0], secret)
    async with office.database.transaction() as conn:
        await conn.execute("UPDATE webhook_secrets SET ends_at = now() WHERE ends_at IS NOT NULL")
    await office.happen(2)
    await office.work()
    office.verified(receiver.requests[1], new)
    with pytest.raises(SignatureError):
        office.verified(receiver.requests[1], old)


async def test_what_happens_in_a_pause_is_sent_after_it(office: Office, receiver: Receiver) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.set_state(webhook, WebhookState.PAUSED)
    await office.happen(1, 2)
    assert await office.later(hours(1)) == 0
    await office.set_state(webhook, WebhookState.ACTIVE)
    assert await office.work() == 2
    assert receiver.events == [(A, 1), (A, 2)]


async def test_two_senders_at_once_send_each_event_once_and_in_order(
    office: Office, receiver: Receiver, caller: Caller
) -> None:
    await office.add(receiver.url)
    for number in range(8):
        for channel in CHANNELS:
            await office.happen(number, channel=channel)
    await office.planning.round()
    other = office.sender(caller)

    async def work(sending: Sending) -> None:
        for _ in range(40):
            await sending.once()

    await asyncio.gather(work(office.sending), work(other))
    assert len(receiver.requests) == 24
    for channel in CHANNELS:
        assert [number for of, number in receiver.events if of == channel] == list(range(8))


async def test_what_a_dead_sender_had_taken_is_sent_again_by_the_next_holder_of_the_lease(
    office: Office, receiver: Receiver, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.add(receiver.url)
    await office.happen(1, 2)

    async def dies(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(office.sending, "_settle", dies)
        await office.work()
    assert await office.work() == 0  # it was sent, and nobody has said so

    after = Office(office.database, caller, await guard_of(office.database, "another"))
    running = asyncio.create_task(after.sending.run())
    await until(lambda: len(receiver.requests) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert receiver.events == [(A, 1), (A, 1), (A, 2)]
    assert receiver.requests[0].id == receiver.requests[1].id
    await office.happen(3)
    with pytest.raises(LeaseLostError):
        await office.planning.round()


async def test_the_outcome_of_a_claim_that_has_ended_is_not_taken(office: Office, receiver: Receiver) -> None:
    """A sender that was frozen for longer than its claim finds that somebody else has sent the event meanwhile."""
    webhook, _ = await office.add(receiver.url)
    await office.happen(1)

    def answer(_: Request) -> Answer:
        if len(receiver.requests) == 1:
            office.now_s += office.terms.pace.claim_s + 1
            return Answer(status=500)
        return Answer()

    receiver.answer = answer
    await office.planning.round()
    held = asyncio.Event()
    settle = office.sending._settle

    said: list[Signing | None] = []

    async def late(result: Result) -> Signing | None:
        await held.wait()
        said.append(await settle(result))
        return said[0]

    office.sending._settle = late  # type: ignore[method-assign]
    first = asyncio.create_task(office.sending.once())
    await until(lambda: receiver.requests)
    office.sending._settle = settle  # type: ignore[method-assign]
    assert await office.sending.once() == 1
    held.set()
    await first
    assert said == [None]
    [delivery] = await office.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)


async def test_an_event_that_was_forgotten_before_it_could_be_sent_is_given_up(
    office: Office, receiver: Receiver
) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(1)
    await office.planning.round()
    async with office.database.transaction() as conn:
        await conn.execute("DELETE FROM events")
    await office.happen(2)
    await office.work()
    assert receiver.events == [(A, 2)]
    gone, sent = await office.deliveries(webhook)
    assert (gone.state, gone.attempts, sent.state) == (DeliveryState.GIVEN_UP, 0, DeliveryState.DELIVERED)


async def test_what_failed_is_sent_at_once_to_another_address(office: Office, receiver: Receiver) -> None:
    receiver.answer = Answer(status=500)
    webhook, _ = await office.add(receiver.url)
    await office.happen(1)
    await office.work()
    await office.later(5)
    assert await office.later(1) == 0
    async with Receiver().listening() as other:
        async with office.database.transaction() as conn:
            await managing.change(conn, webhook, Change(url=other.url))
        assert await office.work() == 1
        assert other.events == [(A, 1)]
    [delivery] = await office.deliveries(webhook)
    assert (delivery.attempts, delivery.tries) == (3, 1)


async def test_outcomes_that_wait_share_a_transaction_and_no_channel_goes_on_before_its_own_is_on_record(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.add(receiver.url)
    for number in (1, 2):
        for channel in CHANNELS:
            await office.happen(number, channel=channel)
    await office.planning.round()
    commit, held = office.sending._recording._commit, asyncio.Event()
    together: list[int] = []

    async def slow(webhook_id: int, results: Sequence[Result]) -> tuple[Signing | None, set[Result]]:
        together.append(len(results))
        await held.wait()
        return await commit(webhook_id, results)

    monkeypatch.setattr(office.sending._recording, "_commit", slow)
    sending = asyncio.create_task(office.sending.once())
    await until(lambda: sum(together) + sum(map(len, office.sending._recording._waiting.values())) == 3)
    assert len(together) == 1
    assert [number for _, number in receiver.events] == [1, 1, 1]
    held.set()
    assert await sending == 6
    assert len(together) < sum(together) == 6
    for channel in CHANNELS:
        assert [number for of, number in receiver.events if of == channel] == [1, 2]


async def test_a_crash_between_two_events_of_a_claim_repeats_none_that_is_on_record(
    office: Office, receiver: Receiver, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.add(receiver.url)
    await office.happen(1, 2, 3, 4)
    settle = office.sending._settle

    async def dies_at_the_third(result: Result) -> Signing | None:
        if len(receiver.requests) == 3:
            raise asyncio.CancelledError
        return await settle(result)

    monkeypatch.setattr(office.sending, "_settle", dies_at_the_third)
    await office.work()
    after = Office(office.database, caller, await guard_of(office.database, "another"))
    running = asyncio.create_task(after.sending.run())
    await until(lambda: len(receiver.requests) == 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert receiver.events == [(A, 1), (A, 2), (A, 3), (A, 3), (A, 4)]


async def test_a_pause_between_two_events_of_a_claim_holds_the_rest_back(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = await office.add(receiver.url)
    await office.happen(1, 2, 3)
    settle = office.sending._settle

    async def paused_meanwhile(result: Result) -> Signing | None:
        await office.set_state(webhook, WebhookState.PAUSED)
        return await settle(result)

    with monkeypatch.context() as patch:
        patch.setattr(office.sending, "_settle", paused_meanwhile)
        assert await office.work() == 1
    await office.set_state(webhook, WebhookState.ACTIVE)
    assert await office.work() == 2
    assert receiver.events == [(A, 1), (A, 2), (A, 3)]


async def test_a_secret_that_is_replaced_between_two_events_of_a_claim_signs_the_second(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, old = await office.add(receiver.url)
    new = Secret(b"n" * 32)
    await office.happen(1, 2)
    settle = office.sending._settle

    async def replaced_meanwhile(result: Result) -> Signing | None:
        async with office.database.transaction() as conn:
            await webhooks.lock(conn, webhook)
            await webhooks.rotate(conn, webhook, seal(new.text, office.terms.reader.public_key), overlap_s=0)
        monkeypatch.undo()
        return await settle(result)

    monkeypatch.setattr(office.sending, "_settle", replaced_meanwhile)
    assert await office.work() == 2
    office.verified(receiver.requests[0], old)
    office.verified(receiver.requests[1], new)
    with pytest.raises(SignatureError):
        office.verified(receiver.requests[1], old)


async def test_who_was_frozen_between_two_events_of_a_claim_sends_no_more_of_them(
    office: Office, receiver: Receiver, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.add(receiver.url)
    await office.happen(1, 2, 3)
    settle, other = office.sending._settle, office.sender(caller)

    async def frozen_afterwards(result: Result) -> Signing | None:
        signing = await settle(result)
        office.now_s += office.terms.pace.claim_s
        assert await other.once() == 2
        return signing

    monkeypatch.setattr(office.sending, "_settle", frozen_afterwards)
    assert await office.work() == 1
    assert receiver.events == [(A, 1), (A, 2), (A, 3)]


async def test_a_delivery_that_cannot_be_settled_holds_up_no_other(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.add(receiver.url)
    await office.happen(1, channel=A)
    await office.happen(2, channel=B)
    settle = office.sending._settle

    async def busy_for_one(result: Result) -> Signing | None:
        if result.claim.delivery.aa_address == A:
            raise DatabaseBusyError("busy")
        return await settle(result)

    monkeypatch.setattr(office.sending, "_settle", busy_for_one)
    assert await office.work() == 2
    monkeypatch.undo()
    assert await office.later(office.terms.pace.claim_s) == 1
    assert sorted(receiver.events) == [(A, 1), (A, 1), (B, 2)]
