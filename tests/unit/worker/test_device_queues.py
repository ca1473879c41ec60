from __future__ import annotations

import asyncio

import pytest

from shared.obyte.device_messages import DeviceMessage
from shared.peers.errors import PeerUnreachableError
from worker.devices.inbox import Inbox, RateLimit
from worker.devices.pending import PendingRequests


def message(sender: str, number: int = 1) -> DeviceMessage:
    return DeviceMessage(f"{sender}{number}", sender, "key", None, "object", {}, b"{}", "key")


async def test_senders_take_turns_and_each_ones_messages_follow_each_other() -> None:
    inbox = Inbox()
    for item in (message("a", 1), message("a", 2), message("b", 1)):
        assert inbox.take(item)
    first, second = await inbox.next(), await inbox.next()
    assert (first, second) == (message("a", 1), message("b", 1))
    third = asyncio.create_task(inbox.next())
    await asyncio.sleep(0)
    assert not third.done(), "the second of a waits for the first"
    inbox.done(first)
    assert await third == message("a", 2)
    inbox.done(second)
    inbox.done(message("a", 2))
    assert inbox.is_empty


async def test_the_inbox_is_bounded_and_knows_what_it_holds() -> None:
    inbox = Inbox(limit=2)
    assert inbox.take(message("a", 1))
    assert inbox.take(message("a", 1)), "the same message again changes nothing"
    assert inbox.take(message("b", 1))
    assert not inbox.take(message("c", 1))
    inbox.done(await inbox.next())
    assert inbox.take(message("c", 1))
    assert not inbox.is_empty


def test_a_rate_is_limited_at_once_and_in_the_long_run() -> None:
    now_s = [0.0]
    rate = RateLimit(2, 0.5, lambda: now_s[0])
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]
    assert rate.allows("b")
    now_s[0] = 2.0
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    now_s[0] = 1_000.0
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]


def test_rates_of_only_so_many_are_remembered() -> None:
    rate = RateLimit(1, 0, lambda: 0.0, limit=2)
    assert [rate.allows(who) for who in "abca"] == [True, True, True, True]
    assert not rate.allows("c")


async def test_an_answer_belongs_to_a_device_and_a_tag() -> None:
    pending = PendingRequests()
    with pending.expect("device", "tag") as answer:
        for device, body in [("other", {"tag": "tag"}), ("device", {"tag": "other"}), ("device", {}), ("device", [])]:
            assert not pending.answer(device, body)
        assert not answer.done()
        assert pending.answer("device", {"tag": "tag", "response": 1})
        assert pending.answer("device", {"tag": "tag", "response": 2}), "a second answer changes nothing"
        assert await answer == {"tag": "tag", "response": 1}
    assert not pending.answer("device", {"tag": "tag"})


async def test_only_so_many_requests_wait() -> None:
    pending = PendingRequests(limit=1)
    with pending.expect("device", "1"), pytest.raises(PeerUnreachableError), pending.expect("device", "2"):
        pass
    with pending.expect("device", "2"):
        pass
