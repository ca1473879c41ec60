"""What makes the watcher look: the hub's news, after every connection anew, and the clock where there are no news."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.channels.model import Status
from tests.integration.worker.support import FAST, eventually
from worker.watcher import WatcherPace

if TYPE_CHECKING:
    from tests.integration.worker.support import World

PATIENT = replace(FAST, watcher=WatcherPace(idle_s=300, gather_s=0.005, everything_s=300))
"""Only news make it look."""


async def test_after_a_connection_was_cut_everything_is_watched_again(world: World) -> None:
    async with world.running(pace=PATIENT):
        peer = await world.peer()
        await world.open(peer)
        world.devnet.drop_connections()

        async def is_connected() -> bool:
            return len(world.devnet.hub._connections) == 1

        await eventually(is_connected, "another connection")
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
        peer.close(admits=0)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")


async def test_a_channel_is_watched_from_the_moment_that_a_front_has_opened_it(world: World) -> None:
    async with world.running(pace=PATIENT):
        await eventually(world.is_awake, "a heartbeat")
        peer = await world.stranger()
        await world.add_channel(peer)

        async def is_watched() -> bool:
            return peer.channel in world.devnet.hub.watches._by_address

        await eventually(is_watched, "the hub to watch the channel")
        world.devnet.pause()
        peer.deposit(80_000, publish=True)
        await world.until_units(peer, bool)  # told of by a joint
        world.devnet.resume()
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")  # told of by have_updates


@pytest.mark.parametrize("subjects", [{"light/have_updates"}, {"joint", "light/have_updates"}])
async def test_a_hub_that_tells_no_news_is_asked_all_the_same(world: World, subjects: set[str]) -> None:
    world.devnet.faults.muted = subjects
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")


async def test_news_that_make_no_sense_change_nothing(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        hub = world.devnet.hub
        for subject in ("joint", "light/have_updates", "light/sequence_became_bad", "info", "error", "exchange_rates"):
            for body in (None, 7, "x", [7, None], {"unit": 7}, {"unit": {"authors": 7, "messages": {}}}):
                hub.say(subject, body)
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")


async def test_system_variables_that_make_no_sense_are_a_lie_and_a_vote_is_none(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.running() as runtime:
        peer = await world.peer()
        await world.open(peer)
        session = runtime._vault._session  # type: ignore[union-attr]
        world.devnet.ledger.vote("threshold_size", 12_345)

        async def is_known() -> bool:
            return session.threshold_size() == 12_345

        await eventually(is_known, "the vote")
        world.devnet.hub.say("system_vars", {"threshold_size": "large"})
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
    said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert "bad_answer" in {event.get("reason") for event in said if event.get("kind") == "hub_lies"}


async def test_an_upgrade_that_the_hub_requires_is_told_and_another_hub_serves(
    world: World, caplog: pytest.LogCaptureFixture, expected_errors: set[str]
) -> None:
    expected_errors.add("hub_upgrade_required")
    other = await world.devnet.add_hub()
    async with world.running(hub_url=f"{world.devnet.url},{other.url}"):
        peer = await world.peer()
        await world.open(peer)
        world.devnet.hub.say("upgrade_required")
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")

        async def is_told() -> bool:
            said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
            return any(event.get("kind") == "hub_upgrade_required" for event in said)

        await eventually(is_told, "an alarm")


async def test_no_hub_for_too_long_is_a_reason_for_alarm_until_there_is_one(
    world: World, caplog: pytest.LogCaptureFixture, expected_errors: set[str]
) -> None:
    expected_errors.add("hub_away")
    caplog.set_level("INFO")
    await world.devnet.doors[0].stop()

    def said(event: str) -> bool:
        known = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        return any(told.get("event") == event and told.get("kind") == "hub_away" for told in known)

    async def is_raised() -> bool:
        return said("alarm_raised")

    async def is_cleared() -> bool:
        return said("alarm_cleared")

    async with world.running(pace=replace(FAST, hub=replace(FAST.hub, away_s=0.3))):
        await eventually(is_raised, "an alarm")
        await world.devnet.doors[0].start()
        await eventually(is_cleared, "no alarm any more")
